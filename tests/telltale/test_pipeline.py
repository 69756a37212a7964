"""The way of a batch: the same evidence in one go, in batches, over restarts and failed commits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from contracts.errors import Busy, StoreUnavailable
from contracts.ports import Changes
from contracts.record import Gap, Partition, Record
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale.pipeline import Pipeline
from telltale.stages import stages
from tests.telltale.conftest import SPACING_S, STUDENT, Open, free, records

EVIDENCE = """
    SELECT category, reference, trajectory_id, n, opportunities, taken, expected, evidence_log10
    FROM evidence ORDER BY category, reference, n, trajectory_id"""
VERDICTS = """
    SELECT category, reference, state, opportunities, taken, alarm_at, onset, expected,
           evidence_log10
    FROM verdicts ORDER BY category, reference"""

Fitted = Callable[[str], Path]


class Run:
    """A data folder and the pipeline over it, which can be stopped and started anew."""

    def __init__(self, folder: Path, pack: RulePack, open_store: Open) -> None:
        self._folder = folder
        self._pack = pack
        self._open = open_store
        self.store, self.pipeline = self._start()

    def _start(self) -> tuple[Store, Pipeline]:
        store = self._open(self._folder)
        return store, Pipeline(stages(free(self._folder), store, self._pack), store)

    def restart(self) -> None:
        self.store.close()
        self.store, self.pipeline = self._start()

    def feed(self, batch: Sequence[Record], end: bool = False) -> Changes:
        now_ns = batch[-1].received_ns
        step = self.pipeline.process(batch, (), now_ns, now_ns, everything_due=end)
        self.store.commit(step.changes)
        self.pipeline.committed()
        return step.changes

    def all(self, stream: Sequence[Record], size: int, restart_after: int = 0) -> "Run":
        for number, start in enumerate(range(0, len(stream), size), 1):
            self.feed(stream[start : start + size], end=start + size >= len(stream))
            if number == restart_after:
                self.restart()
        return self

    def evidence(self) -> list[tuple[object, ...]]:
        return list(self.store.read(EVIDENCE))

    def verdicts(self) -> list[tuple[object, ...]]:
        return list(self.store.read(VERDICTS))


@pytest.fixture
def run(pack: RulePack, open_store: Open) -> Callable[[Path], Run]:
    return lambda folder: Run(folder, pack, open_store)


def same(one: Sequence[tuple[object, ...]], other: Sequence[tuple[object, ...]]) -> None:
    """Equal rows, floats to 1e-9."""
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            if isinstance(a, float) and isinstance(b, float):
                assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), (left, right)
            else:
                assert a == b, (left, right)


def test_one_go_batches_and_restarts_give_the_same_evidence(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    stream = records(STUDENT, 60, spacing_s=SPACING_S)
    whole = run(fitted("whole")).all(stream, len(stream))
    evidence, verdicts = whole.evidence(), whole.verdicts()
    assert any(row[2] == "alarm" for row in verdicts)
    assert len({row[2] for row in evidence}) == 60
    for name, size, restart_after in (("batches", 1, 0), ("half-way", 3, 2), ("early", 4, 1)):
        other = run(fitted(name)).all(stream, size, restart_after)
        same(evidence, other.evidence())
        same(verdicts, other.verdicts())


def test_a_restart_within_open_trajectories_loses_and_doubles_nothing(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    # all records at one time: every trajectory is still open when the daemon stops
    stream = records(STUDENT, 40)
    whole = run(fitted("whole")).all(stream, len(stream))
    other = run(fitted("restarted")).all(stream, 2, restart_after=2)
    same(whole.evidence(), other.evidence())
    spans = "SELECT count(*), count(DISTINCT trace_id || span_id) FROM spans"
    assert whole.store.read(spans) == other.store.read(spans)
    assert other.store.verify().problems == ()


def test_everything_is_judged_once(fitted: Fitted, run: Callable[[Path], Run]) -> None:
    stream = records(STUDENT, 40, spacing_s=SPACING_S)
    made = run(fitted("once")).all(stream, 2)
    numbers: dict[object, list[object]] = {}
    for category, _, _, n, *_ in made.evidence():
        numbers.setdefault(category, []).append(n)
    # one row per trajectory with something to say, numbered without a repeat
    assert all(len(found) == len(set(found)) for found in numbers.values())
    ((twice,),) = made.store.read(
        "SELECT count(*) FROM (SELECT 1 FROM evidence "
        "GROUP BY category, reference, trajectory_id HAVING count(*) > 1)"
    )
    assert twice == 0
    ((unjudged,),) = made.store.read("SELECT count(*) FROM trajectories WHERE state <> 'complete'")
    assert unjudged == 0


def test_a_repeat_of_the_whole_stream_changes_nothing(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    stream = records(STUDENT, 30, spacing_s=SPACING_S)
    made = run(fitted("repeated")).all(stream, 3)
    evidence, verdicts = made.evidence(), made.verdicts()
    made.restart()
    again = made.feed(stream, end=True)
    assert again.spans == ()
    assert again.duplicates > 0
    assert again.evidence == ()
    assert made.evidence() == evidence
    assert made.verdicts() == verdicts


def halves(record: Record) -> tuple[Record, Record]:
    """The record's first tool call of every trace, and everything that follows later."""
    parts = [ExportTraceServiceRequest.FromString(record.payload) for _ in range(2)]
    for index, part in enumerate(parts):
        spans = part.resource_spans[0].scope_spans[0].spans
        first: dict[bytes, int] = {}
        for span in spans:
            if span.name.startswith("execute_tool"):
                first.setdefault(span.trace_id, span.start_time_unix_nano)
        kept = [s for s in spans if (s.start_time_unix_nano == first[s.trace_id]) == (index == 0)]
        del spans[:]
        spans.extend(kept)
    late_ns = record.received_ns + SPACING_S * 1_000_000_000
    one, other = (part.SerializeToString() for part in parts)
    return replace(record, payload=one), replace(record, payload=other, received_ns=late_ns)


TOTALS = """
    SELECT category, reference, trajectory_id, sum(opportunities), sum(taken)
    FROM evidence WHERE category = 'UA01' GROUP BY ALL HAVING sum(opportunities) > 0
    ORDER BY ALL"""


@pytest.mark.parametrize("restart", [False, True])
def test_a_reopened_trajectory_is_judged_for_the_rest_only(
    fitted: Fitted, run: Callable[[Path], Run], restart: bool
) -> None:
    stream = records(STUDENT, 30)
    whole = run(fitted("whole")).all(stream, len(stream))
    made = run(fitted("reopened"))
    first, rest = zip(*map(halves, stream), strict=True)
    made.feed(first, end=True)
    if restart:
        made.restart()
    changes = made.feed(rest)
    assert {t.state for t in changes.trajectories} == {"reopened"}
    assert {t.judged_calls for t in changes.trajectories} == {1}
    assert changes.evidence == ()
    later = made.feed([replace(rest[-1], received_ns=rest[-1].received_ns + 400 * 10**9)])
    assert {t.state for t in later.trajectories} == {"complete"}
    assert len(later.trajectories) == 30
    same(whole.store.read(TOTALS), made.store.read(TOTALS))


def test_calls_that_come_late_and_belong_in_front_are_judged_once(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    stream = records(STUDENT, 30)
    whole = run(fitted("whole")).all(stream, len(stream))
    made = run(fitted("turned"))
    first, rest = zip(*map(halves, stream), strict=True)
    pairs = list(zip(first, rest, strict=True))
    made.feed([replace(late, received_ns=early.received_ns) for early, late in pairs], end=True)
    taken = "SELECT sum(taken) FROM evidence WHERE category = 'UA01'"
    assert made.store.read(taken) == [(0,)]
    made.restart()
    made.feed([replace(early, received_ns=late.received_ns) for early, late in pairs], end=True)
    unjudged = "SELECT count(*) FROM trajectories WHERE judged_calls <> calls"
    assert made.store.read(unjudged) == [(0,)]
    same(whole.store.read(TOTALS), made.store.read(TOTALS))
    assert made.store.read(taken) == whole.store.read(taken) != [(0,)]


def test_what_the_bound_on_memory_put_out_of_it_is_judged_when_it_is_due(
    fitted: Fitted, run: Callable[[Path], Run], pack: RulePack, open_store: Open
) -> None:
    stream = records(STUDENT, 60)
    whole = run(fitted("whole")).all(stream, len(stream))
    folder = fitted("small")
    store, settings = open_store(folder), free(folder)
    bounds = settings.trajectories.model_copy(update={"spans_in_memory": 60})
    settings = settings.model_copy(update={"trajectories": bounds})
    pipeline = Pipeline(stages(settings, store, pack), store)

    def turn(batch: Sequence[Record], now_ns: int) -> int:
        store.commit(pipeline.process(batch, (), now_ns, now_ns).changes)
        return pipeline.committed()

    start_ns = stream[0].received_ns
    assert sum(turn([record], start_ns) for record in stream) > 30
    assert store.read("SELECT count(*) FROM trajectories WHERE state = 'open'") == [(60,)]
    for second in (0, 299, 300, 360, 361, 420):
        turn((), start_ns + second * 1_000_000_000)
    assert store.read("SELECT count(*) FROM trajectories WHERE state <> 'complete'") == [(0,)]
    same(whole.store.read(TOTALS), store.read(TOTALS))


class Flaky(Store):
    """Fails the commits whose numbers it is told: `busy`, `lost` before, `unknown` after it."""

    failures: dict[int, str]
    commits = 0

    def commit(self, changes: Changes) -> None:
        self.commits += 1
        failure = self.failures.get(self.commits, "")
        if failure == "busy":
            raise Busy("too many writes wait")
        if failure == "lost":
            raise StoreUnavailable("the disk is full")
        super().commit(changes)
        if failure == "unknown":
            raise StoreUnavailable("no answer")


@pytest.mark.parametrize("failure", ["busy", "lost", "unknown"])
def test_a_failed_commit_is_recovered_from(
    fitted: Fitted,
    run: Callable[[Path], Run],
    pack: RulePack,
    clock: ManualClock,
    failure: str,
) -> None:
    stream = records(STUDENT, 40, spacing_s=SPACING_S)
    expected = run(fitted("expected")).all(stream, 1)
    folder = fitted("flaky")
    store = Flaky(folder, clock)
    store.failures = {3: failure, 6: failure}
    try:
        pipeline = Pipeline(stages(free(folder), store, pack), store)
        for index, record in enumerate(stream):
            end = index == len(stream) - 1
            for _ in range(2):
                now_ns = record.received_ns
                step = pipeline.process([record], (), now_ns, now_ns, everything_due=end)
                try:
                    store.commit(step.changes)
                except (Busy, StoreUnavailable) as error:
                    if isinstance(error, StoreUnavailable):
                        store.reopen()
                    pipeline.recover()
                    continue
                pipeline.committed()
                break
        assert store.commits > len(stream)
        same(expected.evidence(), list(store.read(EVIDENCE)))
        same(expected.verdicts(), list(store.read(VERDICTS)))
        assert store.verify().problems == ()
        assert store.ledger()[Partition("spans", 0)].offset == len(stream) - 1
    finally:
        store.close()


def test_losses_and_tampering_become_one_alert_each(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    made = run(fitted("lossy"))
    (record,) = records(STUDENT, 5)
    made.feed([record])
    other = replace(record, payload=record.payload.replace(b"df -h /srv", b"df -h /etc"))
    gap = Gap(Partition("spans", 0), 7, 9, "retention", record.received_ns)
    step = made.pipeline.process([other], [gap], record.received_ns, record.received_ns)
    made.store.commit(step.changes)
    made.pipeline.committed()
    assert len(step.changes.conflicts) > 0
    assert sorted(alert.reference for alert in step.changes.alerts) == ["gap", "tampering"]
    again = made.pipeline.process((), [gap], record.received_ns, record.received_ns + 1)
    assert again.changes.alerts == ()
    assert made.store.read("SELECT count(*) FROM gaps") == [(1,)]


def test_bad_records_are_set_aside_and_their_neighbours_stored(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    made = run(fitted("bad"))
    good = records(STUDENT, 10)
    bad = replace(good[0], payload=b"\xff\xfe\x00garbage", ticket=99)
    changes = made.feed([good[0], bad, good[1]])
    assert len(changes.dead_letters) == 1
    assert len({span.trace_id for span in changes.spans}) == 10
    step = made.pipeline.process([bad], (), 0, 0)
    assert step.rejected == {99: 1}
    assert made.pipeline.decoded == 0


def test_the_subject_is_the_configured_key(
    fitted: Fitted, pack: RulePack, open_store: Open
) -> None:
    folder = fitted("keyed")
    store = open_store(folder)
    settings = free(folder).model_copy(update={"subject": ("environment",)})
    pipeline = Pipeline(stages(settings, store, pack), store)
    stream = records(STUDENT, 5)
    step = pipeline.process(stream, (), 0, 0, everything_due=True)
    assert {verdict.subject for verdict in step.changes.verdicts} == {("live", "", "", "")}


def test_what_only_became_complete_is_settled_unless_its_commit_is_unknown(
    fitted: Fitted, run: Callable[[Path], Run]
) -> None:
    stream = records(STUDENT, 12)
    whole = run(fitted("whole"))
    first = whole.feed(stream)
    assert first.trajectories
    assert not first.settled
    last = whole.feed(stream[-1:], end=True)
    assert last.settled == {t.trajectory_id for t in last.trajectories}
    assert whole.store.verify().problems == ()
    other = run(fitted("restarted"))
    other.feed(stream)
    other.restart()
    again = other.feed(stream[-1:], end=True)
    assert again.trajectories
    assert not again.settled
    counts = "SELECT state, judged_calls, calls FROM trajectories ORDER BY trajectory_id"
    assert whole.store.read(counts) == other.store.read(counts)
