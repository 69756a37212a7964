"""Facts: what one span or log record contributes to trajectories, extracted once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import cast

from contracts.span import STATUS_ERROR, Event, LogEvent, Span, Value
from contracts.trajectory import ArgumentsState

from collector import identity
from collector.dialects import GENERIC, SHAPE_RANK, Field, Kind, kind_of, roles
from collector.messages import (
    NOTHING,
    Answer,
    Ask,
    Messages,
    offered,
    offered_in_text,
    read,
    unflatten,
)
from collector.values import (
    Decoded,
    arguments,
    decode,
    from_validation_error,
    is_schema,
    result,
    text_of,
)

TEXT_CHARACTERS = 2_000
"""Kept of error texts."""


@dataclass(slots=True)
class Fact:
    """What one span or log record says. "" and None where it says nothing. Never changed once made;
    not frozen, as a frozen one takes three times as long to make.

    `failed`: the span reports a failure. `has_result`: a result was recorded, even an empty one.
    `agent`: explicit name; `label`: a name drawn from the span's name. `history`: asks and answers
    of a whole run, repeated on an agent's span. `target`: the agent a handoff or delegation names.
    """

    trace_id: str
    span_id: str
    parent_id: str
    digest: str
    kind: Kind
    dialect: str
    name: str
    scope: str
    source: str
    start_ns: int
    end_ns: int
    received_ns: int
    environment: str
    service: str
    version: str
    agent: str = ""
    label: str = ""
    model: str = ""
    conversation: str = ""
    user: str = ""
    tool: str = ""
    call_id: str = ""
    arguments: Value = None
    arguments_state: ArgumentsState = "absent"
    result: Value = None
    has_result: bool = False
    failed: bool = False
    error: str = ""
    error_type: str = ""
    decision: str = ""
    description: str = ""
    target: str = ""
    handed_by: str = ""
    request: str = ""
    asks: tuple[Ask, ...] = ()
    answers: tuple[Answer, ...] = ()
    history: tuple[Ask, ...] = ()
    offered: tuple[tuple[str, str], ...] = ()

    def row(self) -> list[object]:
        """As a JSON list, in field order."""
        row: list[object] = [getattr(self, name) for name in _NAMES]
        for at in _NESTED:
            nested = row[at]
            if nested:
                row[at] = [list(one) for one in cast("tuple[tuple[object, ...], ...]", nested)]
        return row

    @staticmethod
    def from_row(row: list[Value]) -> "Fact":
        """The fact that `row` wrote."""
        taken: dict[str, object] = dict(zip(_NAMES, row, strict=True))
        taken["asks"] = tuple(Ask(*ask) for ask in _rows(taken["asks"]))  # type: ignore[arg-type]
        taken["answers"] = tuple(Answer(*answer) for answer in _rows(taken["answers"]))  # type: ignore[arg-type]
        taken["history"] = tuple(Ask(*ask) for ask in _rows(taken["history"]))  # type: ignore[arg-type]
        taken["offered"] = tuple((str(a), str(b)) for a, b in _rows(taken["offered"]))
        return Fact(**taken)  # type: ignore[arg-type]  # written by `row`


_NAMES = tuple(one.name for one in fields(Fact))
_NESTED = tuple(_NAMES.index(name) for name in ("asks", "answers", "history", "offered"))


def _rows(value: object) -> list[list[Value]]:
    return value if isinstance(value, list) else []


_DROPPED_TOOL = re.compile(r"^\(.*\)$|^final_(?:answer|result)$")
"""Pseudo tools: Google ADK's `(merged tools)`; the answer to the user dressed as a tool."""

_DROPPED_SPAN = re.compile(r"^MCP send ")
_HANDOFF = re.compile(
    r"^(?:agent_)?hand_?off(?:\s+to)?\s+(.+)$|^(.+?)\s*(?:→|->)\s*(.+?)(?:\.handoff)?$|\.handoff$",
    re.I,
)
_EMBEDDED_ID = re.compile(
    r'\\*["\'](?:tool_call_id|toolCallId|tool_use_id)\\*["\']\s*:\s*\\*["\']([\w.:/|+=-]{4,})'
)
_AGENT_SPAN = re.compile(r"^(?:invoke_agent|agent run|agent_run|run_agent)\b", re.I)

Found = dict[Field, list[tuple[int, str, str]]]
"""Per field: (rank, attribute, dialect), in any order."""


def extract(span: Span, default_environment: str) -> Fact | None:
    """The fact in `span`, None for a span that has nothing to say but its place in the tree."""
    attributes = span.attributes
    found: Found = {}
    for name in attributes:
        for one, rank, dialect in roles(name):
            if one in found:
                found[one].append((rank, name, dialect))
            else:
                found[one] = [(rank, name, dialect)]
    if not found:
        return None
    kind, dialect = _kind(span, found)
    if kind == "link" and not (
        _exact(found.get(Field.CONVERSATION)) or _exact(found.get(Field.USER))
    ):
        return None
    return _Reader(span, found, kind, dialect, default_environment).fact()


def _exact(found: list[tuple[int, str, str]] | None) -> bool:
    return found is not None and any(rank < SHAPE_RANK for rank, _, _ in found)


def _kind(span: Span, found: Found) -> tuple[Kind, str]:
    for _, name, dialect in sorted(found.get(Field.KIND, ())):
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
        return kind, dialect
    kind, dialect = _kind_by_shape(span, found)
    if kind == "link" and _exact(found.get(Field.KIND)):
        # A known dialect speaks, of a kind of span not known: a step of some framework.
        return "chain", min(found[Field.KIND])[2]
    return kind, dialect


def _is_handoff(span: Span, found: Found, kind: Kind) -> bool:
    if kind == "handoff":
        return True
    named = any("tool" in name.lower() for _, name, _ in found.get(Field.TOOL, ()))
    return not named and bool(_HANDOFF.search(span.name))


def _kind_by_shape(span: Span, found: Found) -> tuple[Kind, str]:
    """The kind of a span that no dialect's kind attribute tells."""
    tools = [
        entry
        for entry in found.get(Field.TOOL, ())
        if "tool" in entry[1].lower() or "function" in entry[1].lower()
    ]
    if tools:
        _, name, dialect = min(tools)
        told = Field.ARGUMENTS in found or Field.RESULT in found or Field.CALL_ID in found
        known = name.startswith("gen_ai.") or identity.tool_from_span_name(span.name) != span.name
        if told or known:
            return ("link", dialect) if _DROPPED_SPAN.match(span.name) else ("tool", dialect)
    if Field.ARGUMENTS in found and Field.CALL_ID in found:
        return "tool", min(found[Field.ARGUMENTS])[2]
    if _AGENT_SPAN.match(span.name) and (Field.AGENT in found or Field.AGENT_LABEL in found):
        return "agent", "otel-genai"
    model = _exact(found.get(Field.MODEL))
    speaks = _exact(found.get(Field.ASKED)) or _exact(found.get(Field.HEARD))
    asked_model = any(
        name.startswith(("gen_ai.", "llm.")) for _, name, _ in found.get(Field.MODEL, ())
    )
    if (model and speaks) or asked_model:
        return "chat", min(found[Field.MODEL])[2]
    if any(event.name.startswith("gen_ai.choice") for event in span.events):
        return "chat", "otel-genai"
    return "link", GENERIC


class _Reader:
    """Reads the fields of one span."""

    def __init__(
        self, span: Span, found: Found, kind: Kind, dialect: str, default_environment: str
    ) -> None:
        self.span = span
        self.attributes = span.attributes
        self.found = found
        self.kind: Kind = kind
        self.dialect = dialect
        self.default_environment = default_environment

    def values(self, one: Field) -> list[Value]:
        """Values of the field's attributes that are there, best first."""
        entries = self.found.get(one)
        if entries is None:
            return []
        if len(entries) > 1:
            entries.sort()
        return [value for _, name, _ in entries if (value := self.attributes[name]) is not None]

    def text(self, one: Field) -> str:
        """The first non-empty text of the field."""
        entries = self.found.get(one)
        if entries is None:
            return ""
        if len(entries) > 1:
            entries.sort()
        for _, name, _ in entries:
            found = text_of(self.attributes[name])
            if found:
                return found
        return ""

    def fact(self) -> Fact:
        span = self.span
        taken = self._who()
        if self.kind == "tool":
            taken.update(self._tool())
            if _DROPPED_TOOL.match(str(taken["tool"])) or self._repeats_failure():
                self.kind = "link"
            taken["tool"] = identity.tool_name(str(taken["tool"]))
        elif self.kind == "part":
            taken.update(self._part())
        elif self.kind in ("chat", "agent", "chain"):
            taken.update(self._messages())
        elif self.kind == "handoff":
            taken.update(self._handoff())
        resource = span.resource
        version = self.text(Field.VERSION) or text_of(resource.get("service.version"))
        return Fact(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_id=span.parent_span_id,
            digest=span.digest,
            kind=self.kind,
            dialect=self.dialect,
            name=span.name,
            scope=span.scope,
            source=span.source,
            start_ns=span.start_ns,
            end_ns=max(span.end_ns, span.start_ns),
            received_ns=span.received_ns,
            environment=identity.environment_of(
                resource, self.text(Field.ENVIRONMENT), self.default_environment
            ),
            service=identity.service_of(resource),
            version=version,
            **taken,  # type: ignore[arg-type]  # keys are fields of Fact
        )

    def _repeats_failure(self) -> bool:
        """CrewAI writes a second tool span about a failed call; its event's name says so."""
        event = self.attributes.get("crewai.event_name")
        return isinstance(event, str) and event.endswith("failure_detected")

    def _who(self) -> dict[str, object]:
        agent = self.text(Field.AGENT)
        conversation = self.text(Field.CONVERSATION)
        user = self.text(Field.USER)
        if Field.METADATA in self.found and not (agent and conversation and user):
            for raw in self.values(Field.METADATA):
                named = identity.from_metadata(identity.metadata_of(raw))
                agent, conversation, user = (
                    agent or named[0],
                    conversation or named[1],
                    user or named[2],
                )
        model = self.text(Field.MODEL)
        label = ""
        if self.kind == "agent":
            label = self.text(Field.AGENT_LABEL)
            if not identity.is_named(label):
                label = identity.label_of(self.span.name, model)
        return {
            "agent": agent,
            "label": label,
            "model": model,
            "conversation": conversation,
            "user": user,
        }

    def _tool(self) -> dict[str, object]:
        span = self.span
        name = ""
        for entry in sorted(self.found.get(Field.TOOL, ())):
            name = text_of(self.attributes[entry[1]])
            if name:
                break
        name = name or identity.tool_from_span_name(span.name)
        given = self._arguments()
        results = self.values(Field.RESULT) + self.values(Field.OUTPUT)
        events = _tool_events(span.events)
        results += events.results
        raw_result = next((one for one in results if one is not None and one != ""), None)
        failed, error, error_type = self._failure(events)
        if given[1] == "absent" and failed:
            given = from_validation_error(error)
        return {
            "tool": name,
            "call_id": self._call_id(),
            "arguments": given[0],
            "arguments_state": given[1],
            "result": result(raw_result),
            "has_result": raw_result is not None,
            "failed": failed,
            "error": error[:TEXT_CHARACTERS],
            "error_type": error_type,
            "decision": self.text(Field.DECISION),
            "description": self.text(Field.DESCRIPTION)[:500],
            "target": self.text(Field.TARGET) or _delegate(given[0]),
        }

    def _arguments(self) -> tuple[Value, ArgumentsState]:
        candidates = self.values(Field.ARGUMENTS) + self.values(Field.INPUT)
        candidates += [
            event.attributes.get("content") or event.attributes.get("gen_ai.tool.call.arguments")
            for event in self.span.events
            if event.name == "gen_ai.tool.message"
        ]
        best: tuple[Value, ArgumentsState] = (None, "absent")
        for raw in candidates:
            decoded = arguments(raw)
            if decoded.state == "object" and not is_schema(decoded.value):
                return decoded.value, "object"
            if best[1] == "absent" and decoded.state != "object":
                best = (decoded.value, decoded.state)
        if best[1] == "absent":
            parameters = arguments(self.attributes.get("tool.parameters"))
            if (
                parameters.state == "object"
                and parameters.value
                and not is_schema(parameters.value)
            ):
                return parameters.value, "object"
            builtin = {
                key: text for key, name in _BUILT_IN if (text := text_of(self.attributes.get(name)))
            }
            if builtin:
                return builtin, "object"
        return best

    def _call_id(self) -> str:
        own = self.text(Field.CALL_ID)
        if own:
            return own
        for raw in self.values(Field.INPUT) + self.values(Field.OUTPUT):
            if (
                isinstance(raw, str)
                and "call_id" in raw
                or isinstance(raw, str)
                and "CallId" in raw
            ):
                found = _EMBEDDED_ID.search(raw)
                if found:
                    return found.group(1)
        return ""

    def _failure(self, events: "_ToolEvents") -> tuple[bool, str, str]:
        span = self.span
        failed = span.status_code == STATUS_ERROR
        for name in self.found.get(Field.ERROR, ()):
            failed = failed or _says_error(name[1], self.attributes[name[1]])
        texts = [text for raw in self.values(Field.ERROR_TEXT) if (text := text_of(raw))]
        error_type = events.error_type
        typed = self.attributes.get("error.type")
        if isinstance(typed, str) and typed:
            failed = True
            error_type = f"{typed} {error_type}".strip()
        if "pydantic_ai.tool.failure_stage" in self.attributes:
            error_type = (
                f"{text_of(self.attributes['pydantic_ai.tool.failure_stage'])} {error_type}"
            )
        told = events.error or span.status_message or " ".join(texts)
        if not told and failed:
            told = next((one for raw in self.values(Field.OUTPUT) if (one := text_of(raw))), "")
        return failed, told, error_type

    def _part(self) -> dict[str, object]:
        failed = self.span.status_code == STATUS_ERROR
        for name in self.found.get(Field.ERROR, ()):
            failed = failed or _says_error(name[1], self.attributes[name[1]])
        return {
            "call_id": self.text(Field.CALL_ID),
            "failed": failed,
            "error": (self.text(Field.ERROR_TEXT) or self.span.status_message)[:TEXT_CHARACTERS],
            "error_type": text_of(self.attributes.get("error.type")),
            "decision": self.text(Field.DECISION),
        }

    def _handoff(self) -> dict[str, object]:
        target = self.text(Field.TARGET)
        if not target:
            found = _HANDOFF.match(self.span.name)
            if found:
                target = (found.group(1) or found.group(3) or "").removesuffix(".handoff")
        return {"target": target, "handed_by": self.text(Field.HANDED_BY)}

    def _messages(self) -> dict[str, object]:
        taken: dict[str, object] = {}
        if self.kind == "chain":
            taken["failed"] = self.span.status_code == STATUS_ERROR
            taken["error"] = self.span.status_message[:TEXT_CHARACTERS]
            return taken
        heard = self._read(Field.HEARD) if self.kind == "chat" else NOTHING
        asked = self._read(Field.ASKED) if self.kind == "chat" else NOTHING
        if self.kind == "chat":
            heard = _joined(heard, self._input() if not heard.answers else NOTHING)
            asked = _with_ids(asked, self._output)
            spoken, told = _chat_events(self.span.events)
            if not asked.asks:
                asked = _joined(asked, spoken)
            heard = _joined(heard, told)
            taken["asks"] = asked.asks
            taken["answers"] = asked.answers + heard.answers
            taken["offered"] = self._offered()
            taken["request"] = heard.request
            taken["label"] = identity.from_prompt(self._system(heard))
        else:
            history = self._history()
            taken["history"] = history.asks
            taken["answers"] = history.answers
            taken["request"] = self.text(Field.REQUEST) or history.request
            taken["failed"] = self.span.status_code == STATUS_ERROR
            taken["error"] = self.span.status_message[:TEXT_CHARACTERS]
        return taken

    def _system(self, heard: Messages) -> str:
        if heard.system:
            return heard.system
        value = self.attributes.get("gen_ai.system_instructions")
        return read([{"role": "system", "content": decode(value)}]).system if value else ""

    def _read(self, one: Field) -> Messages:
        """Messages in the field's attributes: the first that holds asks or answers."""
        best = NOTHING
        prefixes: set[str] = set()
        for _, name, _ in sorted(self.found.get(one, ())):
            value = self.attributes[name]
            flat = _FLAT_PREFIX.match(name)
            if flat:
                prefix = flat.group(1)
                if prefix in prefixes:
                    continue
                prefixes.add(prefix)
                value = unflatten(self.attributes, prefix)
            if name == "events":
                spoken, told = _pydantic_events(value)
                messages = spoken if one is Field.ASKED else told
            else:
                messages = read(_strings(value), name.rsplit(".", 1)[-1])
            if messages.asks or messages.answers:
                return (
                    messages
                    if messages.request or not best.request
                    else messages._replace(request=best.request)
                )
            if messages.request and not best.request:
                best = messages
        return best

    def _input(self) -> Messages:
        for raw in self.values(Field.INPUT):
            messages = read(raw)
            if messages.answers or messages.request:
                return messages
        return NOTHING

    def _output(self) -> Messages:
        for raw in self.values(Field.OUTPUT):
            messages = read(raw)
            if messages.asks:
                return messages
        return NOTHING

    def _history(self) -> Messages:
        best = NOTHING
        for raw in (
            *self.values(Field.HISTORY),
            *self.values(Field.OUTPUT),
            *self.values(Field.INPUT),
        ):
            messages = read(raw)
            if (
                not messages.request
                and not best.request
                and isinstance(raw, str)
                and raw[:1] not in "[{"
            ):
                messages = (
                    messages._replace(request=raw[:TEXT_CHARACTERS])
                    if raw in self.values(Field.INPUT)
                    else messages
                )
            best = Messages(
                best.asks or messages.asks,
                best.answers or messages.answers,
                best.request or messages.request,
                "",
            )
        return best

    def _offered(self) -> tuple[tuple[str, str], ...]:
        prefixes: set[str] = set()
        for _, name, _ in sorted(self.found.get(Field.OFFERED, ())):
            value = self.attributes[name]
            flat = _FLAT_PREFIX.match(name)
            if flat:
                if flat.group(1) in prefixes:
                    continue
                prefixes.add(flat.group(1))
                value = unflatten(self.attributes, flat.group(1))
            tools = offered_in_text(value) if isinstance(value, str) else offered(value)
            if tools:
                return tools
        return ()


_FLAT_PREFIX = re.compile(r"^(.+?)\.\d+(?:\.|$)")
_BUILT_IN = (("command", "full_command"), ("file_path", "file_path"))


def _strings(value: Value) -> Value:
    """A list of JSON texts (Vercel) as a list of what they say."""
    if isinstance(value, list):
        return [decode(item) if isinstance(item, str) else item for item in value]
    return value


def _with_ids(asked: Messages, output: Callable[[], Messages]) -> Messages:
    """`asked`, with what the span's raw output adds: all asks if there are none, else their ids."""
    if asked.asks and all(ask.call_id for ask in asked.asks):
        return asked
    more = output()
    if not asked.asks:
        return _joined(asked, more)
    if [ask.tool for ask in more.asks] == [ask.tool for ask in asked.asks]:
        named = tuple(
            one._replace(call_id=one.call_id or other.call_id)
            for one, other in zip(asked.asks, more.asks, strict=True)
        )
        return asked._replace(asks=named)
    return asked


def _joined(one: Messages, other: Messages) -> Messages:
    if other is NOTHING:
        return one
    if one is NOTHING:
        return other
    return Messages(
        one.asks + other.asks, one.answers + other.answers, one.request or other.request
    )


def _says_error(name: str, value: Value) -> bool:
    if isinstance(value, bool):
        return value is (not name.endswith("success"))
    if isinstance(value, str):
        lowered = value.lower()
        if name.endswith("success"):
            return lowered == "false"
        return lowered in ("error", "failed", "failure", "fatal", "true")
    return False


_DELEGATES = (
    "subagent_type",
    "coworker",
    "agent_name",
    "agent",
    "to_agent",
    "recipient",
    "target_agent",
)


def _delegate(given: Value) -> str:
    """The agent that a delegating tool's arguments name, "" if none."""
    if isinstance(given, dict):
        for name in _DELEGATES:
            told = given.get(name)
            if isinstance(told, str) and told and len(told) < 100:
                return told
    return ""


@dataclass(slots=True)
class _ToolEvents:
    results: list[Value]
    error: str = ""
    error_type: str = ""


def _tool_events(events: tuple[Event, ...]) -> _ToolEvents:
    taken = _ToolEvents([])
    for event in events:
        if event.name == "exception":
            taken.error = text_of(event.attributes.get("exception.message")) or taken.error
            taken.error_type = text_of(event.attributes.get("exception.type")) or taken.error_type
        elif event.name == "gen_ai.choice":
            taken.results.append(event.attributes.get("message") or event.attributes.get("content"))
        elif event.name in ("tool.output", "tool.result", "gen_ai.tool.result"):
            for key in ("output", "result", "content"):
                if event.attributes.get(key) is not None:
                    taken.results.append(event.attributes[key])
    return taken


_PROMPT_EVENTS = frozenset({"gen_ai.content.prompt"})
_COMPLETION_EVENTS = frozenset({"gen_ai.content.completion"})


def _chat_events(events: tuple[Event, ...]) -> tuple[Messages, Messages]:
    """(what the model said, what it was told) in the message events of a model call."""
    spoken, told = NOTHING, NOTHING
    for event in events:
        if not event.name.startswith("gen_ai."):
            continue
        one, other = message_event(event.name, event.attributes, None)
        spoken, told = _joined(spoken, one), _joined(told, other)
    return spoken, told


def message_event(
    name: str, attributes: Mapping[str, Value], body: Value
) -> tuple[Messages, Messages]:
    """(what the model said, what it was told) in one GenAI message event, span event or log."""
    content: dict[str, Value] = {key: decode(value) for key, value in attributes.items()}
    inner = decode(body)
    if isinstance(inner, dict):
        content.update(inner)
    if name == "gen_ai.choice":
        message = content.get("message", content)
        return read([message, {"tool_calls": content.get("tool_calls")}]), NOTHING
    if name in _COMPLETION_EVENTS:
        return read(content.get("gen_ai.completion")), NOTHING
    if name in _PROMPT_EVENTS:
        return NOTHING, read(content.get("gen_ai.prompt"))
    if name == "gen_ai.client.inference.operation.details":
        return (
            read(content.get("gen_ai.output.messages")),
            read(content.get("gen_ai.input.messages")),
        )
    if name.startswith("gen_ai.") and name.endswith(".message"):
        role = name.split(".")[1]
        if role == "tool" and isinstance(content.get("content"), list):
            return NOTHING, read({"role": "tool", "parts": content["content"], **_ids(content)})
        return NOTHING, read({**content, "role": role, "type": ""})
    return NOTHING, NOTHING


def _ids(content: Mapping[str, Value]) -> dict[str, Value]:
    return {"tool_call_id": content["id"]} if isinstance(content.get("id"), str) else {}


def _pydantic_events(raw: Value) -> tuple[Messages, Messages]:
    """Old Pydantic AI: a list of message events as JSON in one attribute."""
    value = decode(raw)
    spoken, told = NOTHING, NOTHING
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            one, other = message_event(str(item.get("event.name", "")), item, None)
            spoken, told = _joined(spoken, one), _joined(told, other)
    return spoken, told


def extract_log(log: LogEvent, default_environment: str) -> Fact | None:
    """The fact in a log record, None if it speaks of no call. Its parent is its span."""
    attributes = log.attributes
    name = log.name.removeprefix("claude_code.")
    taken: dict[str, object] = {}
    kind: Kind = "chat"
    dialect = "otel-genai"
    if name.startswith("gen_ai."):
        spoken, told = message_event(name, attributes, log.body)
        if not (spoken.asks or told.answers or told.request or told.asks):
            return None
        taken = {
            "asks": spoken.asks,
            "answers": spoken.answers + told.answers,
            "request": told.request,
        }
    elif name in ("tool_result", "tool_decision"):
        kind, dialect = "part", "claude-code"
        call_id = text_of(attributes.get("tool_use_id"))
        if not call_id:
            return None
        given = arguments(attributes.get("tool_input"))
        if given.state == "absent":
            given = _built_in(attributes.get("tool_parameters"))
        success = attributes.get("success")
        failed = name == "tool_result" and success is not None and str(success).lower() == "false"
        taken = {
            "call_id": call_id,
            "tool": _log_tool(attributes),
            "arguments": given.value,
            "arguments_state": given.state,
            "failed": failed,
            "error": text_of(attributes.get("error"))[:TEXT_CHARACTERS],
            "decision": text_of(attributes.get("decision")),
            "has_result": name == "tool_result",
        }
    elif name == "user_prompt":
        kind, dialect = "agent", "claude-code"
        taken = {"request": text_of(attributes.get("prompt"))[:TEXT_CHARACTERS]}
        kind = "part"
    else:
        return None
    who: dict[str, str] = {}
    for key in attributes:
        for one, rank, _ in roles(key):
            if rank < SHAPE_RANK and one in _LOG_FIELDS and _LOG_FIELDS[one] not in who:
                found = text_of(attributes[key])
                if found:
                    who[_LOG_FIELDS[one]] = found
    return Fact(
        trace_id=log.trace_id,
        span_id="log:" + log.digest,
        parent_id=log.span_id,
        digest=log.digest,
        kind=kind,
        dialect=dialect,
        name=log.name,
        scope=log.scope,
        source=log.source,
        start_ns=log.time_ns,
        end_ns=log.time_ns,
        received_ns=log.received_ns,
        environment=identity.environment_of(log.resource, "", default_environment),
        service=identity.service_of(log.resource),
        version=text_of(log.resource.get("service.version")),
        **{**who, **taken},  # type: ignore[arg-type]  # keys are fields of Fact
    )


_LOG_FIELDS = {
    Field.CONVERSATION: "conversation",
    Field.USER: "user",
    Field.MODEL: "model",
    Field.AGENT: "agent",
}


def _built_in(raw: Value) -> Decoded:
    """Arguments of a built-in tool out of Claude Code's `tool_parameters`."""
    parameters = decode(raw)
    if not isinstance(parameters, dict):
        return Decoded(None, "absent")
    names = {written: name for name, written in _BUILT_IN}
    taken: dict[str, Value] = {
        names.get(key, key): value
        for key, value in parameters.items()
        if not key.startswith("mcp_") and key != "bash_command"
    }
    return Decoded(taken, "object") if taken else Decoded(None, "absent")


def _log_tool(attributes: Mapping[str, Value]) -> str:
    parameters = decode(attributes.get("tool_parameters"))
    if isinstance(parameters, dict):
        inner = text_of(parameters.get("mcp_tool_name"))
        if inner:
            return inner
    return text_of(attributes.get("tool_name"))
