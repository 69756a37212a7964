"""What a span of kind tool, part or handoff says."""

import re
from dataclasses import dataclass

from collector import identity
from collector.dialects import Field
from collector.facts import TEXT_CHARACTERS
from collector.kinds import HANDOFF
from collector.reading import Reading
from collector.results import result
from collector.tool_definitions import required
from collector.values import (
    arguments,
    decode,
    from_validation_error,
    is_schema,
    text_of,
)
from contracts.span import STATUS_ERROR, Event, Value
from contracts.trajectory import ArgumentsState

BUILT_IN = (("command", "full_command"), ("file_path", "file_path"))
"""Arguments of Claude Code's own tools: parameter and the attribute that has it."""

RESULT_CHARACTERS = 65_536
"""Kept of a result that is text; the span in the store has it whole."""

_EMBEDDED_ID = re.compile(
    r'\\*["\'](?:tool_call_id|toolCallId|tool_use_id)\\*["\']\s*:\s*\\*["\']([\w.:/|+=-]+)'
)
_APART = re.compile(r"^.*?(?:arguments?|args|input|params|parameters)\.")
_REFUSED = re.compile(r"den(?:y|ied)|reject|block|refus|forbid", re.I)
_DELEGATES = ("subagent_type", "coworker", "agent_name", "agent", "to_agent", "target_agent")


def repeats_failure(reading: Reading) -> bool:
    """Whether this is the second span that CrewAI writes about a failed call."""
    event = reading.attributes.get("crewai.event_name")
    return isinstance(event, str) and event.endswith("failure_detected")


def tool_fields(reading: Reading) -> dict[str, object]:
    """Fields of `Fact` for a tool span; `tool` as written."""
    span = reading.span
    name = reading.text(Field.TOOL) or identity.tool_from_span_name(span.name)
    given, state, loose = _arguments(reading)
    events = _tool_events(span.events)
    results = [*reading.values(Field.RESULT), *reading.values(Field.OUTPUT), *events.results]
    raw_result = next((one for one in results if one != ""), "" if results else None)
    failed, error, error_type = _failure(reading, events)
    if state == "absent" and failed:
        given, state = from_validation_error(error)
    return {
        "tool": name,
        "call_id": _call_id(reading),
        "arguments": given,
        "arguments_state": state,
        "arguments_loose": loose,
        "result": _cut(result(raw_result)),
        "has_result": raw_result is not None,
        "failed": failed,
        "required": _required(reading) if failed else (),
        "error": error[:TEXT_CHARACTERS],
        "error_type": error_type,
        "decision": reading.text(Field.DECISION) or _status(reading),
        "description": reading.text(Field.DESCRIPTION)[:500],
        "target": reading.text(Field.TARGET) or _delegate(given),
    }


def _arguments(reading: Reading) -> tuple[Value, ArgumentsState, bool]:
    """(value, state, whether it is only the span's input)."""
    declared = reading.values(Field.ARGUMENTS)
    declared += [
        event.attributes.get("content") or event.attributes.get("gen_ai.tool.call.arguments")
        for event in reading.span.events
        if event.name == "gen_ai.tool.message"
    ]
    best: tuple[Value, ArgumentsState, bool] = (None, "absent", False)
    for loose, candidates in ((False, declared), (True, reading.values(Field.INPUT))):
        for raw in candidates:
            value, state = arguments(raw)
            if state == "object" and not is_schema(value):
                return value, state, loose
            if best[1] == "absent" and state != "object":
                best = value, state, loose
    if best[1] != "absent":
        return best
    apart: dict[str, Value] = {
        _APART.sub("", name): decode(reading.attributes[name])
        for name in reading.names(Field.ARGUMENT)
    }
    if apart:
        return apart, "object", False
    value, state = arguments(reading.attributes.get("tool.parameters"))
    if state == "object" and value and not is_schema(value):
        return value, state, False
    built_in: dict[str, Value] = {
        key: text for key, name in BUILT_IN if (text := text_of(reading.attributes.get(name)))
    }
    return (built_in, "object", False) if built_in else best


def _call_id(reading: Reading) -> str:
    own = reading.text(Field.CALL_ID)
    if own:
        return own
    for one in (Field.INPUT, Field.OUTPUT):
        for raw in reading.values(one):
            if isinstance(raw, str) and ("call_id" in raw or "CallId" in raw or "use_id" in raw):
                found = _EMBEDDED_ID.search(raw)
                if found:
                    return found.group(1)
    return ""


def _failure(reading: Reading, events: "_ToolEvents") -> tuple[bool, str, str]:
    """(failed, text, type) of a tool span's failure."""
    span, attributes = reading.span, reading.attributes
    failed = span.status_code == STATUS_ERROR or says_error(reading) or _blob_fails(reading)
    error_type = events.error_type
    typed = attributes.get("error.type")
    if isinstance(typed, str) and typed:
        failed = True
        error_type = f"{typed} {error_type}".strip()
    stage = attributes.get("pydantic_ai.tool.failure_stage")
    if stage is not None:
        error_type = f"{text_of(stage)} {error_type}".strip()
    texts = [text for raw in reading.values(Field.ERROR_TEXT) if (text := text_of(raw))]
    told = events.error or span.status_message or " ".join(texts)
    if not told and failed:
        told = next((text for raw in reading.values(Field.OUTPUT) if (text := text_of(raw))), "")
    return failed, told, error_type


_FAILED_BLOB = re.compile(r'\\*"is_?[eE]rror\\*"\s*:\s*true')


def _blob_fails(reading: Reading) -> bool:
    """Whether the recorded output says of itself that it is an error."""
    for one in (Field.RESULT, Field.OUTPUT):
        for raw in reading.values(one):
            if isinstance(raw, str) and "rror" in raw and _FAILED_BLOB.search(raw):
                return True
            if isinstance(raw, dict) and (
                raw.get("is_error") is True or raw.get("isError") is True
            ):
                return True
    return False


def says_error(reading: Reading) -> bool:
    """Whether an attribute says that the span failed."""
    return any(_is_error(name, reading.attributes[name]) for name in reading.names(Field.ERROR))


def _is_error(name: str, value: Value) -> bool:
    about_success = name.endswith("success")
    if isinstance(value, bool):
        return value is not about_success
    if isinstance(value, str):
        lowered = value.strip('"').lower()
        if about_success:
            return lowered == "false"
        return lowered in ("error", "failed", "failure", "fatal", "true")
    return False


def _status(reading: Reading) -> str:
    """A status that is a refusal, "" for any other."""
    told = reading.text(Field.ERROR)
    return told if _REFUSED.search(told) else ""


def _cut(value: Value) -> Value:
    return value[:RESULT_CHARACTERS] if isinstance(value, str) else value


def _required(reading: Reading) -> tuple[str, ...]:
    for name in ("tool.parameters", "tool.json_schema", "gen_ai.tool.json_schema"):
        needed = required(reading.attributes.get(name))
        if needed:
            return needed
    return ()


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
            taken.results += _recorded(event, "message", "content")[:1]
        elif event.name in ("tool.output", "tool.result", "gen_ai.tool.result"):
            taken.results += _recorded(event, "output", "result", "content")
    return taken


def _recorded(event: Event, *names: str) -> list[Value]:
    found = [event.attributes.get(name) for name in names]
    return [value for value in found if value is not None]


def part_fields(reading: Reading) -> dict[str, object]:
    """Fields of `Fact` for a span that reports about the tool span above it."""
    span = reading.span
    return {
        "call_id": reading.text(Field.CALL_ID),
        "failed": span.status_code == STATUS_ERROR or says_error(reading),
        "error": (reading.text(Field.ERROR_TEXT) or span.status_message)[:TEXT_CHARACTERS],
        "error_type": text_of(reading.attributes.get("error.type")),
        "decision": reading.text(Field.DECISION),
    }


def handoff_fields(reading: Reading) -> dict[str, object]:
    """Fields of `Fact` for a span that hands control to another agent."""
    target = reading.text(Field.TARGET)
    if not target:
        found = HANDOFF.match(reading.span.name)
        if found:
            target = (found.group(1) or found.group(3) or "").removesuffix(".handoff")
    return {"target": target, "handed_by": reading.text(Field.HANDED_BY)}
