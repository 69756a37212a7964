"""Reading back gives what was written, for every value a span may contain."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.labels import Action, Labels
from contracts.ports import Changes
from contracts.record import DeadLetter, Gap, Partition, Position
from contracts.span import Event, LogEvent, Span, Value
from contracts.testing import ManualClock, Spans, call
from contracts.trajectory import Call, Subject, Trajectory
from contracts.verdict import Alert, Verdict
from storage.documents import from_json, to_json
from storage.store import Store

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TIMES = st.integers(0, 2**63 - 1)
KEYS = st.one_of(st.sampled_from(["$bytes", "$float", "$int", "$dict", "a"]), TEXTS)
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(2**200), 2**200),
        st.floats(allow_nan=False),
        TEXTS,
        st.binary(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=4)
HEX = st.text("0123456789abcdef", min_size=4, max_size=4)
EVENTS = st.builds(Event, TEXTS, TIMES, MAPPINGS)
SPANS = st.builds(
    Span,
    trace_id=HEX,
    span_id=HEX,
    parent_span_id=HEX,
    name=TEXTS,
    kind=st.integers(0, 5),
    start_ns=TIMES,
    end_ns=TIMES,
    status_code=st.integers(0, 2),
    status_message=TEXTS,
    scope=TEXTS,
    resource=MAPPINGS,
    attributes=MAPPINGS,
    events=st.lists(EVENTS, max_size=2).map(tuple),
    dropped=st.integers(0, 2**32),
    flags=st.lists(TEXTS, max_size=2).map(tuple),
    digest=HEX,
    source=TEXTS,
    received_ns=TIMES,
)
LOGS = st.builds(
    LogEvent,
    name=TEXTS,
    trace_id=HEX,
    span_id=HEX,
    time_ns=TIMES,
    scope=TEXTS,
    resource=MAPPINGS,
    attributes=MAPPINGS,
    body=VALUES,
    digest=HEX,
    source=TEXTS,
    received_ns=TIMES,
)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    name = draw(st.uuids()).hex
    calls = tuple(
        call(
            draw(TEXTS),
            draw(VALUES),
            step=step,
            trajectory_id=name,
            result=draw(VALUES),
            outcome=draw(st.sampled_from(["ok", "error", "denied"])),
            started_ns=draw(TIMES),
            duration_ns=draw(TIMES),
            tools_offered=tuple(draw(st.lists(TEXTS, max_size=2))),
            error=draw(TEXTS),
        )
        for step in range(draw(st.integers(0, 3)))
    )
    return trajectory(name, calls, ended_ns=draw(TIMES), request=draw(TEXTS))


def trajectory(
    name: str, calls: tuple[Call, ...] = (), ended_ns: int = 2, request: str = ""
) -> Trajectory:
    return Trajectory(
        name,
        "trace",
        "test",
        "svc",
        "agent",
        "1",
        "model",
        "",
        "",
        1,
        ended_ns,
        3,
        "complete",
        request,
        (name[:4],),
        len(calls),
        calls,
    )


@pytest.fixture(scope="module")
def shared_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), ManualClock())
        yield store
        store.close()


@given(VALUES)
def test_documents_round_trip(value: Value) -> None:
    assert from_json(to_json(value)) == value


def test_documents_keep_what_json_has_not() -> None:
    value: Value = {"nan": math.nan, "inf": -math.inf, "bytes": b"\xff", "big": 2**64, "n": None}
    back = from_json(to_json(value))
    assert isinstance(back, dict)
    nan = back.pop("nan")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert back == {"inf": -math.inf, "bytes": b"\xff", "big": 2**64, "n": None}


def test_integers_that_cpython_will_not_print_are_described() -> None:
    assert from_json(to_json([10**6000])) == ["about 10^6000"]


def nested(depth: int) -> Value:
    value: Value = 1
    for _ in range(depth):
        value = [value]
    return value


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(SPANS, max_size=4, unique_by=lambda s: (s.trace_id, s.span_id)),
    st.lists(LOGS, max_size=3),
    st.lists(trajectories(), max_size=3),
)
def test_spans_logs_and_trajectories_round_trip(
    shared_store: Store,
    spans: list[Span],
    logs: list[LogEvent],
    made: list[Trajectory],
) -> None:
    before = shared_store.restore_traces(
        frozenset({s.trace_id for s in spans} | {log.trace_id for log in logs})
    )
    shared_store.commit(Changes(spans=spans, logs=logs, trajectories=made))
    after = shared_store.restore_traces(
        frozenset({s.trace_id for s in spans} | {log.trace_id for log in logs})
    )
    assert _sorted(after.spans) == _sorted((*before.spans, *spans))
    assert _sorted(after.logs) == _sorted((*before.logs, *logs))
    names = "', '".join(t.trajectory_id for t in made)
    read = list(shared_store.trajectories(f"trajectory_id IN ('{names}')"))
    assert read == sorted(made, key=lambda t: (t.ended_ns, t.trajectory_id))


def _sorted(items: tuple[object, ...]) -> list[str]:
    return sorted(map(repr, items))


def test_values_that_neither_arrow_nor_duckdb_take_cannot_make_a_commit_fail(store: Store) -> None:
    odd: dict[str, Value] = {
        "nul": "a\0b",
        "surrogate": "\ud800",
        "\udfff": 1,
        "deep": nested(400),
        "huge": 10**400,
        "nan": math.nan,
        "bytes": b"\xff\xfe",
    }
    span = Spans().span("a\0\ud800b", odd, resource=odd)
    span = replace(
        span, kind=2**80, start_ns=-5, end_ns=2**70, dropped=2**64, status_message="\ud800"
    )
    step = call("t\ud800", odd, trajectory_id="odd", result=odd, duration_ns=2**90, error="\0")
    log = LogEvent("\ud800", span.trace_id, "", 2**64, "", odd, odd, odd, "", "", -1)
    letter = DeadLetter("invalid_protobuf", "\ud800", b"\xff", 2**70, "s\ud800", 2**70)
    action = Action(
        "odd",
        0,
        "UA01",
        "\ud800",
        "attempted",
        "first",
        "r",
        1,
        "stable",
        ("\ud800",),
        "high",
        confidence=math.nan,
    )
    store.commit(
        Changes(
            spans=[span],
            conflicts=[span],
            logs=[log],
            dead_letters=[letter],
            trajectories=[trajectory("odd", (step,))],
            labels={"odd": Labels((action,), ())},
        )
    )
    back, _ = store.restore_traces(frozenset({span.trace_id})).spans
    assert back.attributes["nul"] == "a\0b"
    assert back.attributes["surrogate"] == "\ufffd"
    assert (back.start_ns, back.end_ns, back.kind) == (0, 2**63 - 1, 2**63 - 1)
    (read,) = store.trajectories("calls = 1")
    assert read.calls[0].tool == "t\ufffd"


SUBJECT = Subject("production", "agent", "2", "m")


def verdict(**changes: object) -> Verdict:
    made = Verdict(
        SUBJECT, "UA01", "teacher", "teacher", "alarm", 40, 9, 2.5, 3.25, 0.1, 0.4, 17, 12, None
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace


def alert(name: str, raised_ns: int = 5, **changes: object) -> Alert:
    made = Alert(
        name,
        "drift",
        SUBJECT,
        "UA01",
        "teacher",
        "high",
        raised_ns,
        "rose",
        ("t1", "t2"),
        verdict(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace


def test_alerts_round_trip_with_their_verdicts_and_leave_the_outbox_once(store: Store) -> None:
    first, second = alert("b", 5), alert("a", 6, verdict=None)
    broken = alert("c", 7, verdict=verdict(evidence_log10=-math.inf, state="blind", reason="x"))
    store.commit(Changes(alerts=[second, first, broken]))
    assert store.pending_alerts(10) == [first, second, broken]
    assert store.pending_alerts(1) == [first]
    store.mark_delivered(["b", "unknown"], 9)
    store.commit(Changes(alerts=[first]))  # the same alert again is not sent again
    assert store.pending_alerts(10) == [second, broken]


def test_ledger_states_gaps_and_totals(store: Store) -> None:
    partition, other = Partition("otlp_spans", 0), Partition("otlp_spans", 1)
    store.commit(
        Changes(
            positions={partition: Position(partition, 5, 2), other: Position(other, 7)},
            detector_states={"k": b"\0\xff", "l": b""},
            duplicates=3,
            gaps=[Gap(partition, 1, 4, "retention", 8)],
        )
    )
    later = Position(partition, 9, 3, "id-2")
    store.commit(Changes(positions={partition: later}, detector_states={"k": b"2"}))
    assert store.ledger() == {partition: later, other: Position(other, 7)}
    assert store.detector_states() == {"k": b"2", "l": b""}
    assert store.totals() == {"batch": 2, "duplicates": 3}
