"""What a span of kind chat or agent says: asks, answers, request, offered tools, history."""

from collections.abc import Callable

from collector import identity
from collector.dialects import Field
from collector.facts import TEXT_CHARACTERS
from collector.message_events import listed_events, span_events
from collector.messages import NOTHING, Messages, joined, read
from collector.reading import Reading
from collector.tool_definitions import Offered, offered, offered_in_text
from collector.values import decode, text_of
from contracts.span import STATUS_ERROR, Value


def chat_fields(reading: Reading) -> dict[str, object]:
    """Fields of `Fact` for a model call. Only what the model said here is an ask; what it was told
    repeats the past.
    """
    heard = reading.messages(Field.HEARD)
    asked = reading.messages(Field.ASKED)
    if not heard.answers:
        heard = joined(heard, _first(reading.values(Field.INPUT), _tells))
    asked = _with_ids(asked, lambda: _first(reading.values(Field.OUTPUT), _asks))
    listed = reading.attributes.get("events")
    if listed is not None:
        spoken, told = listed_events(listed)
        asked, heard = joined(asked, spoken), joined(heard, told)
    if reading.span.events:
        spoken, told = span_events(reading.span.events)
        asked = asked if asked.asks else joined(asked, spoken)
        heard = joined(heard, told)
    return {
        "asks": asked.asks,
        "answers": asked.answers + heard.answers,
        "offered": _offered(reading),
        "request": heard.request,
        "label": identity.from_prompt(_system(reading, heard)),
    }


def agent_fields(reading: Reading) -> dict[str, object]:
    """Fields of `Fact` for an agent's run. What it tells of messages is a history."""
    history = _history(reading, (Field.HISTORY, Field.OUTPUT, Field.INPUT))
    request = reading.text(Field.REQUEST) or history.request or _plain_input(reading)
    return {
        "history": history.asks,
        "answers": history.answers,
        "request": request[:TEXT_CHARACTERS],
        "offered": _offered(reading),
        **step_fields(reading),
    }


def requested_model(reading: Reading) -> str:
    """The model that a model call's recorded request names, or Genkit's action; "" if none."""
    for name in ("llm.invocation_parameters", "genkit:name"):
        value = decode(reading.attributes.get(name))
        named = value if isinstance(value, str) else _model_in(value)
        if named:
            return named
    for raw in reading.values(Field.INPUT):
        named = _model_in(decode(raw))
        if named:
            return named
    return ""


def _model_in(value: Value) -> str:
    if not isinstance(value, dict):
        return ""
    for key in ("model", "model_name", "model_id", "modelId"):
        named = text_of(value.get(key))
        if named:
            return named
    inner = value.get("kwargs")
    return _model_in(inner) if isinstance(inner, dict) else ""


def step_fields(reading: Reading) -> dict[str, object]:
    """Fields of `Fact` for a framework's step: how it failed, and any history told outright."""
    span = reading.span
    taken: dict[str, object] = {
        "failed": span.status_code == STATUS_ERROR,
        "error": span.status_message[:TEXT_CHARACTERS],
    }
    if reading.kind == "chain":
        taken["label"] = _acting(reading)
    if Field.HISTORY in reading.by_field and reading.kind == "chain":
        history = _history(reading, (Field.HISTORY,))
        taken["history"] = history.asks
        taken["answers"] = history.answers
        taken["label"] = identity.from_prompt(history.system) or taken["label"]
    return taken


def _acting(reading: Reading) -> str:
    for one in (Field.OUTPUT, Field.INPUT):
        for raw in reading.values(one):
            found = identity.from_payload(raw) if isinstance(raw, str) else ""
            if found:
                return found
    return ""


def _history(reading: Reading, sources: tuple[Field, ...]) -> Messages:
    history = NOTHING
    for one in sources:
        for raw in reading.values(one):
            found = read(raw)
            history = Messages(
                history.asks or found.asks,
                history.answers or found.answers,
                history.request or found.request,
                history.system or found.system,
            )
    return history


def _plain_input(reading: Reading) -> str:
    for raw in reading.values(Field.INPUT):
        value = decode(raw)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, dict):
            for key in ("task", "input", "query", "question", "prompt", "request", "message"):
                told = value.get(key)
                if isinstance(told, str) and told.strip():
                    return told
    return ""


def _first(values: list[Value], good: Callable[[Messages], bool]) -> Messages:
    for raw in values:
        messages = read(raw)
        if good(messages):
            return messages
    return NOTHING


def _tells(messages: Messages) -> bool:
    return bool(messages.answers or messages.request or messages.system)


def _asks(messages: Messages) -> bool:
    return bool(messages.asks)


def _with_ids(asked: Messages, output: Callable[[], Messages]) -> Messages:
    """`asked`, with what the span's raw output adds: all asks if there are none, else their ids."""
    if asked.asks and all(ask.call_id for ask in asked.asks):
        return asked
    more = output()
    if not asked.asks:
        return joined(asked, more)
    if [ask.tool for ask in more.asks] == [ask.tool for ask in asked.asks]:
        named = tuple(
            one._replace(call_id=one.call_id or other.call_id)
            for one, other in zip(asked.asks, more.asks, strict=True)
        )
        return asked._replace(asks=named)
    return asked


def _system(reading: Reading, heard: Messages) -> str:
    if heard.system:
        return heard.system
    for name in ("gen_ai.system_instructions", "lk.instructions"):
        value = reading.attributes.get(name)
        if value is not None:
            return read([{"role": "system", "content": decode(value)}]).system
    return ""


def _offered(reading: Reading) -> Offered:
    for _, value in reading.whole(Field.OFFERED):
        tools = offered_in_text(value) if isinstance(value, str) else offered(value)
        if tools:
            return tools
    return ()
