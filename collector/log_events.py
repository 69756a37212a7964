"""Facts out of OTLP log records: GenAI message events and Claude Code's tool events."""

from collections.abc import Mapping

from collector import identity
from collector.dialects import SHAPE_RANK, Field, Kind, roles
from collector.facts import TEXT_CHARACTERS, Fact
from collector.message_events import message_event
from collector.tool_spans import BUILT_IN
from collector.values import Decoded, arguments, decode, text_of
from contracts.span import LogEvent, Value

_WHO = {
    Field.CONVERSATION: "conversation",
    Field.USER: "user",
    Field.MODEL: "model",
    Field.AGENT: "agent",
}


def extract_log(log: LogEvent, default_environment: str) -> Fact | None:
    """The fact in a log record, None if it speaks of no call. Its parent is its span."""
    name = log.name.removeprefix("claude_code.")
    if name.startswith("gen_ai."):
        kind, dialect, taken = _message(log)
    elif name in ("tool_result", "tool_decision"):
        kind, dialect, taken = _tool(name, log.attributes)
    elif name == "user_prompt":
        request = text_of(log.attributes.get("prompt"))[:TEXT_CHARACTERS]
        kind, dialect, taken = "part", "claude-code", {"request": request} if request else {}
    else:
        return None
    if not taken:
        return None
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
        **{**_who(log.attributes), **taken},  # type: ignore[arg-type]  # keys are fields of Fact
    )


def _who(attributes: Mapping[str, Value]) -> dict[str, object]:
    who: dict[str, tuple[int, str]] = {}
    for key, value in attributes.items():
        for one, rank, _ in roles(key):
            if one in _WHO and rank < SHAPE_RANK:
                text = text_of(value)
                if text and (_WHO[one] not in who or rank < who[_WHO[one]][0]):
                    who[_WHO[one]] = (rank, text)
    return {name: text for name, (_, text) in who.items()}


def _message(log: LogEvent) -> tuple[Kind, str, dict[str, object]]:
    spoken, told = message_event(log.name, log.attributes, log.body)
    if not (spoken.asks or told.answers or told.request):
        return "chat", "otel-genai", {}
    return (
        "chat",
        "otel-genai",
        {
            "asks": spoken.asks,
            "answers": spoken.answers + told.answers,
            "request": told.request,
        },
    )


def _tool(name: str, attributes: Mapping[str, Value]) -> tuple[Kind, str, dict[str, object]]:
    call_id = text_of(attributes.get("tool_use_id"))
    if not call_id:
        return "part", "claude-code", {}
    given = arguments(attributes.get("tool_input"))
    if given.state == "absent":
        given = _built_in(attributes.get("tool_parameters"))
    success = attributes.get("success")
    return (
        "part",
        "claude-code",
        {
            "call_id": call_id,
            "tool": _tool_name(attributes),
            "arguments": given.value,
            "arguments_state": given.state,
            "failed": name == "tool_result" and str(success).lower() == "false",
            "error": text_of(attributes.get("error"))[:TEXT_CHARACTERS],
            "decision": text_of(attributes.get("decision")),
            "has_result": name == "tool_result",
        },
    )


def _built_in(raw: Value) -> Decoded:
    """Arguments of a built-in tool out of Claude Code's `tool_parameters`."""
    parameters = decode(raw)
    if not isinstance(parameters, dict):
        return Decoded(None, "absent")
    names = {written: name for name, written in BUILT_IN}
    taken: dict[str, Value] = {
        names.get(key, key): value
        for key, value in parameters.items()
        if not key.startswith("mcp_") and key != "bash_command"
    }
    return Decoded(taken, "object") if taken else Decoded(None, "absent")


def _tool_name(attributes: Mapping[str, Value]) -> str:
    parameters = decode(attributes.get("tool_parameters"))
    if isinstance(parameters, dict):
        inner = text_of(parameters.get("mcp_tool_name"))
        if inner:
            return inner
    return text_of(attributes.get("tool_name"))
