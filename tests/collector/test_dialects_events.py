"""Message events of all eras, on spans and as logs."""

import json

import pytest

from collector.sessions import Sessions
from contracts.span import Event, LogEvent, Span, Value
from tests.span_cases import ARGUMENTS, TEXT, One, calls_of, event, log, spans_of


def test_message_events_of_the_old_convention_as_span_events() -> None:
    choice: dict[str, Value] = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": json.dumps(
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "refund", "arguments": TEXT},
                    }
                ],
            }
        ),
    }
    chats = [
        One(
            "chat m",
            {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
            events=(
                event("gen_ai.user.message", content="Refund it."),
                Event("gen_ai.choice", 0, choice),
            ),
        ),
        One(
            "chat m",
            {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
            events=(
                event(
                    "gen_ai.tool.message", id="c1", content="Tool refund was rejected by the user"
                ),
            ),
        ),
    ]
    (call,) = calls_of(spans_of(chats))
    assert (call.tool, call.arguments, call.outcome) == ("refund", ARGUMENTS, "denied")


def test_message_events_with_their_content_as_json() -> None:
    body = {
        "message": {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": TEXT}}
            ],
        }
    }
    chat = One(
        "chat m",
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
        events=(Event("gen_ai.choice", 0, {"gen_ai.event.content": json.dumps(body)}),),
    )
    (call,) = calls_of(spans_of([chat]))
    assert (call.tool, call.call_id) == ("refund", "c1")


@pytest.mark.parametrize("order", ["span first", "log first"])
def test_message_events_as_logs_in_any_order(order: str) -> None:
    spans = spans_of(
        [One("chat m", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})]
    )
    tool_calls: list[Value] = [
        {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": TEXT}}
    ]
    logs = [
        log(
            "gen_ai.choice",
            spans[0],
            {"index": 0, "message": {"role": "assistant", "tool_calls": tool_calls}},
        )
    ]
    sessions = Sessions()
    batches: list[tuple[list[Span], list[LogEvent]]] = [(spans, []), ([], logs)]
    for one, other in batches if order == "span first" else batches[::-1]:
        sessions.add(one, other)
        sessions.assemble(0)
    (trajectory,) = sessions.assemble(2**62, everything_due=True).due
    (call,) = trajectory.calls
    assert (call.tool, call.model, call.span_id) == ("refund", "m", spans[0].span_id)
