"""What kind of span a span is: by its dialect's own word, else by the shape of its attributes."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from collector.dialects import GENERIC, SHAPE_RANK, Field, Kind, kind_of, roles
from contracts.span import Span

Found = dict[Field, list[tuple[int, str, str]]]
"""Per field: (rank, attribute, dialect), best first."""


class Plan(NamedTuple):
    """What the attributes of these names can tell.

    `names`: attributes per field, best first. `known`: a known dialect names a span's kind.
    `hints`: a known dialect names a conversation or a user.
    """

    found: Found
    names: Mapping[Field, tuple[str, ...]]
    known: bool
    hints: bool


NO_PLAN = Plan({}, {}, False, False)


def make_plan(attributes: tuple[str, ...]) -> Plan:
    """The plan for a span with attributes of these names."""
    found: Found = {}
    for name in attributes:
        for one, rank, dialect in roles(name):
            found.setdefault(one, []).append((rank, name, dialect))
    if not found:
        return NO_PLAN
    for entries in found.values():
        entries.sort()
    return Plan(
        found,
        {one: tuple(name for _, name, _ in entries) for one, entries in found.items()},
        exact(found.get(Field.KIND)),
        exact(found.get(Field.CONVERSATION)) or exact(found.get(Field.USER)),
    )


remembered_plan = lru_cache(maxsize=4_096)(make_plan)
"""`make_plan`, remembered: an instrumentation writes the same names on span after span."""


_DROPPED_SPAN = re.compile(r"^MCP send ")
HANDOFF = re.compile(
    r"^(?:agent_)?hand_?off(?:\s+to)?\s+(.+)$|^(.+?)\s*(?:→|->)\s*(.+?)(?:\.handoff)?$|\.handoff$",
    re.I,
)
NAMED_TOOL = re.compile(r"^(?:execute_tool |langchain4j\.tools\.)\S")
"""Span names that alone say what they stand for."""

_TOLD = (Field.ARGUMENTS, Field.RESULT, Field.CALL_ID)
_AGENT_SPAN = re.compile(r"^(?:invoke_agent|agent run|agent_run|run_agent)\b", re.I)


def exact(found: list[tuple[int, str, str]] | None) -> bool:
    """Whether an attribute of a known dialect is among those found, not only a likely shape."""
    return found is not None and any(rank < SHAPE_RANK for rank, _, _ in found)


def kind_of_span(span: Span, plan: Plan) -> tuple[Kind, str]:
    """The kind of a span and the dialect that told it."""
    found = plan.found
    if span.attributes.get("logfire.span_type") == "pending_span":
        return "link", GENERIC  # announces a span that will come whole when it ends
    for _, name, dialect in found.get(Field.KIND, ()):
        value = span.attributes[name]
        kind = kind_of(name, value.strip('"')) if isinstance(value, str) else None
        if kind is None:
            continue
        if kind == "tool" and (_DROPPED_SPAN.match(span.name)):
            return "link", dialect
        if kind in ("tool", "handoff", "chain") and _is_handoff(span, found, kind):
            return "handoff", dialect
        if (
            kind == "agent"
            and dialect == "vercel-ai"
            and "gen_ai.operation.name" in span.attributes
        ):
            return "agent", "otel-genai"
        if kind == "chain" and _is_named_tool(span, found):
            return "tool", dialect
        return kind, dialect
    kind, dialect = _kind_by_shape(span, found)
    if kind == "link" and plan.known:
        # A known dialect speaks, of a kind of span not known: a step of some framework.
        return "chain", found[Field.KIND][0][2]
    return kind, dialect


def _is_named_tool(span: Span, found: Found) -> bool:
    """Whether a framework's step names the one tool it runs and shows what came out."""
    entries = found.get(Field.TOOL)
    if entries is None or (Field.OUTPUT not in found and Field.RESULT not in found):
        return False
    return any(name in ("tool.name", "gen_ai.tool.name") for _, name, _ in entries)


def _is_handoff(span: Span, found: Found, kind: Kind) -> bool:
    if kind == "handoff":
        return True
    named = any("tool" in name.lower() for _, name, _ in found.get(Field.TOOL, ()))
    return not named and bool(HANDOFF.search(span.name))


def _kind_by_shape(span: Span, found: Found) -> tuple[Kind, str]:
    """The kind of a span that no dialect's kind attribute tells."""
    tools = [
        entry
        for entry in found.get(Field.TOOL, ())
        if "tool" in entry[1].lower() or "function" in entry[1].lower()
    ]
    told = [one for one in _TOLD if one in found]
    if tools:
        _, name, dialect = tools[0]
        value = span.attributes[name]
        named = isinstance(value, str) and len(value) > 2 and value in span.name
        if told or named or name.startswith("gen_ai."):
            return ("link", dialect) if _DROPPED_SPAN.match(span.name) else ("tool", dialect)
    if Field.ARGUMENTS in told and len(told) > 1:
        return "tool", found[Field.ARGUMENTS][0][2]
    if _AGENT_SPAN.match(span.name) and (Field.AGENT in found or Field.AGENT_LABEL in found):
        return "agent", "otel-genai"
    model = exact(found.get(Field.MODEL))
    speaks = exact(found.get(Field.ASKED)) or exact(found.get(Field.HEARD))
    asked_model = any(
        name.startswith(("gen_ai.", "llm.")) for _, name, _ in found.get(Field.MODEL, ())
    )
    if (model and speaks) or asked_model:
        return "chat", found[Field.MODEL][0][2]
    if any(event.name.startswith("gen_ai.choice") for event in span.events):
        return "chat", "otel-genai"
    if NAMED_TOOL.match(span.name):
        return "tool", GENERIC
    return "link", GENERIC
