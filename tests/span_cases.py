"""Cases of spans as literals, and the calls that the joiner makes of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collector.sessions import Sessions
from contracts.span import Event, LogEvent, Span, Value
from contracts.testing import Spans
from contracts.trajectory import Call

ARGUMENTS: dict[str, Value] = {"order_id": "ORD-7", "amount": 12.5}
TEXT = json.dumps(ARGUMENTS)


@dataclass(frozen=True)
class One:
    """A span of a case. `under`: position of its parent in the case, -1 for none."""

    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])
    under: int = -1
    events: tuple[Event, ...] = ()
    status_code: int = 0
    scope: str = "test"


def spans_of(case: Sequence[One], trace: int = 1) -> list[Span]:
    maker = Spans(trace)
    made: list[Span] = []
    for one in case:
        made.append(
            maker.span(
                one.name,
                one.attributes,
                parent=made[one.under].span_id if one.under >= 0 else "",
                events=one.events,
                status_code=one.status_code,
                scope=one.scope,
            )
        )
    return made


def calls_of(spans: Sequence[Span], logs: Sequence[LogEvent] = ()) -> list[Call]:
    sessions = Sessions(environment="test")
    sessions.add(spans, logs)
    due = sessions.assemble(2**62, everything_due=True).due
    return [call for trajectory in due for call in trajectory.calls]


def ask(**call: Value) -> str:
    return json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", **call}]}])


def event(name: str, **attributes: Value) -> Event:
    return Event(name, 0, attributes)


def log(name: str, span: Span, body: Value, number: int = 0, **attributes: Value) -> LogEvent:
    return LogEvent(
        name,
        span.trace_id,
        span.span_id,
        span.end_ns,
        "test",
        span.resource,
        attributes,
        body,
        f"{number:032x}",
        "replay",
        span.received_ns,
    )
