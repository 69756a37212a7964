"""GenAI message events, as span events or as log records, of all eras of the convention."""

from collections.abc import Mapping

from collector.messages import NOTHING, Messages, joined, read
from collector.values import decode
from contracts.span import Event, Value

DETAILS = "gen_ai.client.inference.operation.details"


def message_event(
    name: str, attributes: Mapping[str, Value], body: Value
) -> tuple[Messages, Messages]:
    """(what the model said, what it was told) in one event; both empty if it is no message."""
    content: dict[str, Value] = {key: decode(value) for key, value in attributes.items()}
    for written in (body, attributes.get("gen_ai.event.content"), attributes.get("event.body")):
        inner = decode(written)
        if isinstance(inner, dict):
            content.update(inner)
    if name == "gen_ai.choice":
        message = content.get("message", content)
        if isinstance(message, dict):
            message = {"role": "assistant", **message}
        return read([message, {"tool_calls": content.get("tool_calls")}]), NOTHING
    if name == "gen_ai.content.completion":
        return read(content.get("gen_ai.completion", content)), NOTHING
    if name == "gen_ai.content.prompt":
        return NOTHING, read(content.get("gen_ai.prompt", content))
    if name == DETAILS:
        return (
            read(content.get("gen_ai.output.messages", content.get("output_messages"))),
            read(content.get("gen_ai.input.messages", content.get("input_messages"))),
        )
    if name.startswith("gen_ai.") and name.endswith(".message"):
        return NOTHING, _told(name.split(".")[1], content)
    return NOTHING, NOTHING


def _told(role: str, content: dict[str, Value]) -> Messages:
    if role != "tool":
        return read({**content, "role": role, "type": ""})
    named = content.get("id")
    ids: dict[str, Value] = {"tool_call_id": named} if isinstance(named, str) else {}
    if isinstance(content.get("content"), list):
        return read({"role": "tool", "parts": content["content"], **ids})
    return read({**content, **ids, "role": "tool", "type": ""})


def span_events(events: tuple[Event, ...]) -> tuple[Messages, Messages]:
    """(what the model said, what it was told) in all message events of a model call."""
    spoken, told = NOTHING, NOTHING
    for event in events:
        if event.name.startswith("gen_ai."):
            one, other = message_event(event.name, event.attributes, None)
            spoken, told = joined(spoken, one), joined(told, other)
    return spoken, told


def listed_events(raw: Value) -> tuple[Messages, Messages]:
    """The same for a list of message events as JSON in one attribute (old Pydantic AI, Logfire)."""
    value = decode(raw)
    spoken, told = NOTHING, NOTHING
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            one, other = message_event(str(item.get("event.name", "")), item, None)
            spoken, told = joined(spoken, one), joined(told, other)
    return spoken, told
