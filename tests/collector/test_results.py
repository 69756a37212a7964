"""Results: empty ones are told from those that nobody recorded, in every dialect."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from collector.results import tells_more
from collector.sessions import Sessions
from contracts.span import Event, LogEvent, Span, Value
from contracts.testing import Spans
from contracts.trajectory import Call

NOT_RECORDED = object()

TOOL_SPANS: dict[str, tuple[Mapping[str, Value], str]] = {
    "otel-genai": (
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "sh"},
        "gen_ai.tool.call.result",
    ),
    "openinference": ({"openinference.span.kind": "TOOL", "tool.name": "sh"}, "output.value"),
    "traceloop": (
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "sh"},
        "traceloop.entity.output",
    ),
    "vercel-ai": (
        {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "sh"},
        "ai.toolCall.result",
    ),
    "langfuse": ({"langfuse.observation.type": "tool"}, "langfuse.observation.output"),
    "langsmith": (
        {"langsmith.span.kind": "tool", "langsmith.trace.name": "sh"},
        "gen_ai.completion",
    ),
    "mlflow": ({"mlflow.spanType": "TOOL", "mlflow.spanFunctionName": "sh"}, "mlflow.spanOutputs"),
    "livekit": (
        {"gen_ai.operation.name": "execute_tool", "lk.function_tool.name": "sh"},
        "lk.function_tool.output",
    ),
    "mcp": ({"mcp.method.name": "tools/call", "mcp.tool.name": "sh"}, "mcp.tool.result"),
    "of no dialect": ({"span.kind": "tool_call", "tool_name": "sh"}, "tool_output"),
}

SAID: Sequence[tuple[Value, Value]] = (
    ("", ""),
    ('""', ""),
    ("null", ""),
    ("[]", []),
    ("{}", {}),
    ([], []),
    ("done", "done"),
    ("0", 0),
    ("false", False),
    ("__REDACTED__", None),
    ("[REDACTED]", None),
    ("removed", "removed"),
)


def calls(spans: Sequence[Span], logs: Sequence[LogEvent] = ()) -> list[Call]:
    sessions = Sessions()
    sessions.add(spans, logs)
    due = sessions.assemble(2**62, everything_due=True).due
    return [call for trajectory in due for call in trajectory.calls]


@pytest.mark.parametrize("accent", TOOL_SPANS)
@pytest.mark.parametrize(("written", "result"), SAID)
def test_a_result_as_its_span_has_it(accent: str, written: Value, result: Value) -> None:
    attributes, where = TOOL_SPANS[accent]
    (made,) = calls([Spans().span("sh", {**attributes, where: written})])
    assert made.result == result
    assert type(made.result) is type(result)
    assert made.outcome == "ok"


@pytest.mark.parametrize("accent", TOOL_SPANS)
def test_without_one_there_is_none(accent: str) -> None:
    attributes, _ = TOOL_SPANS[accent]
    (made,) = calls([Spans().span("sh", attributes)])
    assert made.result is None


@pytest.mark.parametrize(("name", "key"), [("gen_ai.choice", "message"), ("tool.output", "output")])
@pytest.mark.parametrize(("written", "result"), [("", ""), ("done", "done"), (None, None)])
def test_a_result_as_an_event_has_it(name: str, key: str, written: Value, result: Value) -> None:
    attributes, _ = TOOL_SPANS["otel-genai"]
    told = Event(name, 0, {key: written})
    (made,) = calls([Spans().span("sh", attributes, events=(told,))])
    assert made.result == result


def chats(*answers: Mapping[str, Value]) -> list[Span]:
    """A model that asks for the calls of `answers` and is told them; no span executes them."""
    spans = Spans()
    asks: Value = [
        {"type": "tool_call", "id": one["id"], "name": "sh", "arguments": {}} for one in answers
    ]
    said = json.dumps([{"role": "assistant", "parts": asks}])
    heard = json.dumps([{"role": "tool", "parts": list(answers)}])
    common: dict[str, Value] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    return [
        spans.span("chat", {**common, "gen_ai.output.messages": said}),
        spans.span("chat", {**common, "gen_ai.input.messages": heard}),
    ]


def told(call_id: str, response: object = NOT_RECORDED) -> dict[str, Value]:
    made: dict[str, Value] = {"type": "tool_call_response", "id": call_id}
    if response is not NOT_RECORDED:
        made["response"] = response  # type: ignore[assignment]  # tests give values
    return made


@pytest.mark.parametrize("empty", ["", "null", '""'])
def test_the_model_was_told_of_an_empty_result(empty: str) -> None:
    (made,) = calls(chats(told("a", empty)))
    assert made.result == ""


@pytest.mark.parametrize("left_out", [told("a"), told("a", None)])
def test_an_answer_without_content_is_empty_beside_others_that_have_theirs(
    left_out: dict[str, Value],
) -> None:
    empty, full = calls(chats(left_out, told("b", "done")))
    assert (empty.result, full.result) == ("", "done")


@pytest.mark.parametrize("left_out", [told("a"), told("a", None)])
def test_answers_without_any_content_were_not_recorded(left_out: dict[str, Value]) -> None:
    assert [one.result for one in calls(chats(left_out, told("b")))] == [None, None]


@pytest.mark.parametrize("first", [True, False])
def test_of_two_records_of_a_result_the_one_that_says_more_is_kept(first: bool) -> None:
    attributes, where = TOOL_SPANS["otel-genai"]
    spans = Spans()
    outer = spans.span("sh", {**attributes, **({where: ""} if first else {})})
    inner = spans.span("sh", {**attributes, where: "" if not first else "done"}, outer.span_id)
    (made,) = calls([outer, inner])
    assert made.result == ("done" if first else "")


def test_the_answer_fills_in_for_an_empty_record() -> None:
    attributes, where = TOOL_SPANS["otel-genai"]
    asked, heard = chats(told("a", "12 files"))
    run = Spans(2).span(
        "sh", {**attributes, where: "", "gen_ai.tool.call.id": "a"}, trace_id=asked.trace_id
    )
    (made,) = calls([asked, heard, run])
    assert (made.result, made.outcome) == ("12 files", "ok")


def test_a_silent_command_among_others_was_not_refused() -> None:
    """Its span says that it returned nothing, whatever the model was told in words."""
    attributes, where = TOOL_SPANS["otel-genai"]
    asked, heard = chats(told("a", "Command completed without output."), told("b", "x"))
    spans = Spans(2)
    runs = [
        spans.span("sh", {**attributes, where: result, "gen_ai.tool.call.id": call_id},
                   trace_id=asked.trace_id)
        for call_id, result in (("a", ""), ("b", "x"))
    ]  # fmt: skip
    assert [one.outcome for one in calls([asked, heard, *runs])] == ["ok", "ok"]


def test_a_refusal_is_found_behind_an_empty_record() -> None:
    attributes, where = TOOL_SPANS["otel-genai"]
    asked, heard = chats(told("a", "The call was rejected by the user."))
    run = Spans(2).span(
        "sh", {**attributes, where: "", "gen_ai.tool.call.id": "a"}, trace_id=asked.trace_id
    )
    (made,) = calls([asked, heard, run])
    assert made.outcome == "denied"


def test_the_same_nothing_of_many_tools_is_hidden() -> None:
    """LangSmith writes `{}` for every value that it was told to hide."""
    spans = Spans()
    root = spans.span("invoke_agent a", {"gen_ai.operation.name": "invoke_agent"})
    attributes, where = TOOL_SPANS["otel-genai"]
    runs = [
        spans.span("x", {**attributes, "gen_ai.tool.name": name, where: "{}"}, root.span_id)
        for name in ("sh", "mail", "look")
    ]
    assert [one.result for one in calls([root, *runs])] == [None, None, None]
    said = spans.span("x", {**attributes, where: "done"}, root.span_id)
    assert [one.result for one in calls([root, *runs, said])] == [{}, {}, {}, "done"]


def test_what_says_more() -> None:
    order: list[Value] = [None, "", 0]
    assert all(tells_more(b, a) for a, b in pairwise(order))
    assert not any(tells_more(one, one) for one in order)
    assert not tells_more([], "")
    assert tells_more(False, {})
