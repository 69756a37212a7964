"""The dialects in order of precedence, and what each attribute can tell."""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from collector.dialects.frameworks import (
    GENKIT,
    KINDS,
    LANGFUSE,
    LANGSMITH,
    LIVEKIT,
    LOGFIRE,
    MLFLOW,
    OPENINFERENCE,
    TRACELOOP,
    VERCEL,
)
from collector.dialects.genai import CLAUDE, GENAI, GOOGLE, MCP, PYDANTIC
from collector.dialects.table import Dialect, Field, Kind, Role

DIALECTS: tuple[Dialect, ...] = (
    GENAI,
    VERCEL,
    GOOGLE,
    PYDANTIC,
    LANGFUSE,
    TRACELOOP,
    LANGSMITH,
    MLFLOW,
    LIVEKIT,
    GENKIT,
    OPENINFERENCE,
    CLAUDE,
    MCP,
    LOGFIRE,
)

GENERIC = "generic"
"""Dialect name of what only the shapes of attribute names told."""

SHAPE_RANK = 10_000
"""Rank of fields found by shape: any attribute of a known dialect goes before."""

NO_ROLES: tuple[Role, ...] = ()


def _ranked() -> tuple[Mapping[str, tuple[Role, ...]], Mapping[str, tuple[Role, ...]]]:
    exact: defaultdict[str, list[Role]] = defaultdict(list)
    flat: defaultdict[str, list[Role]] = defaultdict(list)
    for number, dialect in enumerate(DIALECTS):
        for place, name in enumerate(dialect.kinds):
            exact[name].append(Role(Field.KIND, 100 * number + place, dialect.name))
        for one, names in dialect.fields.items():
            for place, name in enumerate(names):
                exact[name].append(Role(one, 100 * number + place, dialect.name))
        for place, (prefix, one) in enumerate(dialect.flat.items()):
            flat[prefix].append(Role(one, 100 * number + 50 + place, dialect.name))
    return (
        {name: tuple(roles) for name, roles in exact.items()},
        {prefix: tuple(roles) for prefix, roles in flat.items()},
    )


ATTRIBUTES, PREFIXES = _ranked()

KIND_VALUES: Mapping[str, Mapping[str, Kind]] = {
    name: values for dialect in DIALECTS for name, values in dialect.kinds.items()
}

_FLAT = re.compile(r"^(.+?)\.\d+(?:\.|$)")
_ARGUMENT = re.compile(
    r"(?:tool|call|request|function)[._](?:call[._]|request[._])?"
    r"(?:arguments?|args|input|params|parameters)\.(?!(?:size|length|chars|truncated|hash|sha256|type|"
    r"original_size_bytes|redacted|count)$)[A-Za-z_]"
)
"""One argument of a call in an attribute of its own, `gen_ai.tool.call.arguments.path`."""

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[._:\-/\s]+")
_SHAPES: tuple[tuple[Field, re.Pattern[str]], ...] = tuple(
    (one, re.compile(shape))
    for one, shape in (
        (
            Field.KIND,
            r"(?:span|observation|run|step|node|event|action|operation|ai|agent|llm|trace)"
            r"_(?:sub)?(?:kind|type)$",
        ),
        (Field.TOOL, r"(?:^|_)(?:tool|function)_(?:(?:call|use|tool|definition|function)_)?name$"),
        (
            Field.CALL_ID,
            r"(?:^|_)(?:tool|function)_(?:call|use|invocation)_id$|(?:^|_)call_id$",
        ),
        (
            Field.ARGUMENTS,
            r"(?:^|_)(?:tool|function)_(?:(?:call|use|function)_)?"
            r"(?:arguments?|args|inputs?|parameters|params|request|payload)(?:_json)?$",
        ),
        (
            Field.RESULT,
            r"(?:^|_)(?:tool|function)_(?:(?:call|use|function)_)?"
            r"(?:results?|outputs?|responses?|return(?:_value)?)(?:_json)?$",
        ),
        (Field.DESCRIPTION, r"(?:^|_)(?:tool|function)_(?:definition_)?description$"),
        (Field.ERROR, r"(?:^|_)(?:tool|function)_(?:call_)?(?:status|success|is_error)$"),
        (Field.ERROR_TEXT, r"(?:^|_)(?:tool|function)_(?:call_)?error(?:_message)?$"),
        (Field.OFFERED, r"(?:^|_)(?:available_tools|tool_definitions|tools|toolset)$"),
        (Field.ASKED, r"(?:^|_)(?:output_messages|completions?|response_messages|tool_calls)$"),
        (Field.HEARD, r"(?:^|_)(?:input_messages|prompt_messages|messages|prompts?)$"),
        (Field.HISTORY, r"(?:^|_)(?:all_messages|message_history|chat_history|tasks_output)$"),
        (Field.AGENT, r"(?:^|_)agent_name$"),
        (Field.MODEL, r"(?:^|_)(?:model|model_name|model_id)$"),
        # `thread.id` is OpenTelemetry's OS thread, `mcp.session.id` the session of a transport.
        (
            Field.CONVERSATION,
            r"(?:(?:^|_)conversation|(?<!mcp)_session|^session|_thread|_chat)_id$",
        ),
        (Field.USER, r"(?:^|_)(?:user|end_?user|customer)_id$"),
        (
            Field.DECISION,
            r"(?:disposition|approval(?:_status|_decision|_state)?|permission_decision)$",
        ),
        (Field.INPUT, r"(?:^|_)(?:inputs?|request)(?:_value|_json|_data)?$"),
        (Field.OUTPUT, r"(?:^|_)(?:outputs?|response|result)(?:_value|_json|_data)?$"),
    )
)


@lru_cache(maxsize=16_384)
def roles(attribute: str) -> tuple[Role, ...]:
    """What the attribute of this name can tell, () for nothing. Flattened names by their prefix."""
    known = ATTRIBUTES.get(attribute)
    if known is not None:
        return known
    if len(attribute) > 200:
        return NO_ROLES
    indexed = _FLAT.match(attribute)
    if indexed:
        return PREFIXES.get(indexed.group(1), NO_ROLES)
    if _ARGUMENT.search(attribute):
        return (Role(Field.ARGUMENT, SHAPE_RANK, GENERIC),)
    words = _WORDS.sub("_", attribute).lower()
    return tuple(
        Role(one, SHAPE_RANK + place, GENERIC)
        for place, (one, shape) in enumerate(_SHAPES)
        if shape.search(words)
    )


def kind_of(attribute: str, value: str) -> Kind | None:
    """The kind that `value` of a kind attribute stands for, None if it says nothing."""
    lowered = value.lower()
    values = KIND_VALUES.get(attribute)
    found: Kind | None = values.get(lowered) if values is not None else None
    if found is None and (values is not None or lowered in SAFE_KINDS):
        found = KINDS.get(lowered)
    if found is None and len(value) < 60:
        found = next((kind for kind, said in _SAID if said.search(lowered)), None)
    return found


_SAID: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("handoff", re.compile(r"(?:^|[_. ])hand_?off|agent_?transfer")),
    (
        "tool",
        re.compile(
            r"^(?:ai\.)?tool_?call|(?:execute|call|invoke|run)[_. ]?(?:tool|function)$|"
            r"^(?:tool|function)[_. ]?(?:execution|execute|call|invocation|run|use)$"
        ),
    ),
    (
        "agent",
        re.compile(
            r"^(?:invoke|run|execute)[_. ]?agent$|"
            r"^agent[_. ]?(?:run|invoke|invocation|execution|execute)$"
        ),
    ),
)
"""Kinds by the pattern of a kind attribute's value, where no table has it."""

SAFE_KINDS = frozenset(KINDS) - {
    "span",
    "event",
    "model",
    "prompt",
    "memory",
    "task",
    "chain",
    "flow",
}
"""Kind words that a span without any known dialect may use; the others are everyday words."""

__all__ = [
    "DIALECTS",
    "GENERIC",
    "KIND_VALUES",
    "NO_ROLES",
    "SHAPE_RANK",
    "Dialect",
    "Field",
    "Kind",
    "Role",
    "kind_of",
    "roles",
]
