"""The loop: what is acknowledged, given back, kept and waited for, over a real store."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector.inbox import OtlpInbox
from collector.replay import ReplaySource
from contracts.clock import SystemClock
from contracts.errors import Busy, SourceUnavailable, StoreUnavailable
from contracts.ports import Changes, SpanSource
from contracts.record import Gap, Partition, Record
from contracts.testing import ListSource, ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale import loop as loops
from telltale.loop import Loop, Observers
from telltale.pipeline import Pipeline, Step
from telltale.stages import stages
from telltale.upkeep import Retention
from tests.telltale.conftest import STUDENT, free, records


class Watched(Store):
    """A store that tells its commits, fails those it is told to, and takes `takes_s` for each."""

    manual: ManualClock
    failing: list[Exception]
    takes_s = 0.0
    events: list[str]

    def commit(self, changes: Changes) -> None:
        self.events.append("commit")
        if self.failing:
            raise self.failing.pop(0)
        self.manual.advance(self.takes_s)
        super().commit(changes)


class Source(ListSource):
    """A `ListSource` that hands out again what it got back, and can be away, late or lossy."""

    def __init__(self, stream: Sequence[Record], events: list[str], name: str = "kafka") -> None:
        super().__init__(stream, name)
        self._events = events
        self.away = False
        self.lag: float | None = None
        self.lost: list[Gap] = []
        self.asked: list[int] = []

    @property
    def up(self) -> bool:
        return not self.away

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        if self.away:
            time.sleep(timeout_s)
            raise SourceUnavailable("no broker answers")
        self.asked.append(max_records)
        return super().poll(timeout_s, max_records)

    def gaps(self) -> Sequence[Gap]:
        lost, self.lost = self.lost, []
        return lost

    def acknowledge(self, records: Sequence[Record], rejected: Mapping[int, int]) -> None:
        self._events.append("acknowledge")
        super().acknowledge(records, rejected)

    def refuse(self, records: Sequence[Record], retry_after_s: float) -> None:
        self._events.append("refuse")
        super().refuse(records, retry_after_s)
        self._records[:0] = records

    def lag_s(self, now_ns: int) -> float | None:
        return self.lag


@dataclass
class Told:
    committed: list[Step] = field(default_factory=list[Step])
    failed: list[str] = field(default_factory=list[str])
    refused: list[int] = field(default_factory=list[int])
    idle: list[bool] = field(default_factory=list[bool])

    def observers(self) -> Observers:
        return Observers(
            lambda step, _: self.committed.append(step),
            self.failed.append,
            self.refused.append,
            idle=self.idle.append,
        )


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Watched]:
    made = Watched(tmp_path / "data", clock)
    made.manual, made.failing, made.events = clock, [], []
    yield made
    made.close()


@pytest.fixture
def told() -> Told:
    return Told()


Make = Callable[[Sequence[SpanSource]], Loop]


@pytest.fixture
def make(store: Watched, clock: ManualClock, pack: RulePack, told: Told, tmp_path: Path) -> Make:
    def build(sources: Sequence[SpanSource]) -> Loop:
        pipeline = Pipeline(stages(free(tmp_path / "data"), store, pack), store)
        return Loop(pipeline, store, sources, clock, told.observers())

    return build


def count(store: Store, view: str) -> int:
    ((number,),) = store.read(f"SELECT count(*) FROM {view}")
    return int(number)


def test_nothing_is_acknowledged_before_its_commit(store: Watched, make: Make) -> None:
    source = Source(records(STUDENT, 30), store.events)
    loop = make([source])
    while loop.turn():
        pass
    assert store.events[:2] == ["commit", "acknowledge"]
    assert len(source.acknowledged) == 6
    assert store.ledger()[Partition("spans", 0)].offset == 5


@pytest.mark.parametrize("error", [Busy("full"), StoreUnavailable("the disk is full")])
def test_a_failed_batch_is_given_back_counted_and_stored_the_next_time(
    store: Watched, make: Make, told: Told, error: Exception
) -> None:
    source = Source(records(STUDENT, 10), store.events)
    loop = make([source])
    store.failing = [error]
    before = time.monotonic()
    assert loop.turn() is False
    assert time.monotonic() - before >= 0.25
    assert store.events == ["commit", "refuse"]
    assert source.acknowledged == []
    assert told.failed == ["commit"]
    assert loop.turn() is True
    spans = count(store, "spans")
    assert told.refused == [spans]
    assert spans > 20
    assert len(source.acknowledged) == 2


def test_each_failure_in_a_row_waits_twice_as_long(store: Watched, make: Make) -> None:
    loop = make([Source(records(STUDENT, 5), store.events)])
    store.failing = [Busy("full"), Busy("full"), Busy("full")]
    waits: list[float] = []
    for _ in range(3):
        before = time.monotonic()
        loop.turn()
        waits.append(time.monotonic() - before)
    assert waits[0] < waits[1] < waits[2] < 10
    assert waits[2] >= 1.0


def test_a_gap_is_kept_until_it_is_committed_and_then_stored_once(
    store: Watched, make: Make, clock: ManualClock
) -> None:
    source = Source([], store.events)
    loop = make([source])
    source.lost = [Gap(Partition("spans", 0), 3, 8, "retention", clock.now_ns())]
    store.failing = [Busy("full")]
    loop.turn()
    assert count(store, "gaps") == 0
    loop.turn()
    loop.turn()
    assert store.read("SELECT first_offset, last_offset FROM gaps") == [(3, 8)]


def test_the_watermark_is_that_of_the_source_that_is_furthest_behind(
    store: Watched, make: Make, clock: ManualClock
) -> None:
    near, far, timeless = (Source([], store.events, name) for name in ("near", "far", "none"))
    loop = make([near, far, timeless])
    now_ns = clock.now_ns()
    near.lag, far.lag = 2.0, 7_200.0
    assert loop.watermark_ns(now_ns) == now_ns - 7_200 * 10**9
    far.away = True
    away_ns = int(loops.AWAY_S * 1e9)
    assert loop.watermark_ns(now_ns) == now_ns - 7_200 * 10**9
    now_ns += away_ns - 1
    assert loop.watermark_ns(now_ns) == now_ns - 7_200 * 10**9
    now_ns += 1
    assert loop.watermark_ns(now_ns) == now_ns - away_ns
    far.away = False
    assert loop.watermark_ns(now_ns) == now_ns - 7_200 * 10**9
    far.away = True
    assert loop.watermark_ns(now_ns) == now_ns - 7_200 * 10**9
    far.lag = None
    assert loop.watermark_ns(now_ns) == now_ns - 2 * 10**9


def test_a_backlog_does_not_look_like_silence(
    store: Watched, make: Make, clock: ManualClock
) -> None:
    stream = records(STUDENT, 10)
    source = Source(stream, store.events)
    loop = make([source])
    loop.turn()
    source.lag = 900.0
    clock.advance(600)
    loop.turn()
    assert count(store, "trajectories WHERE state = 'complete'") == 0
    source.lag = 0.0
    clock.advance(2)
    loop.turn()
    assert count(store, "trajectories WHERE state = 'complete'") == 10


def test_a_source_that_is_away_does_not_delay_the_others(
    store: Watched, pack: RulePack, told: Told, tmp_path: Path
) -> None:
    clock = SystemClock()
    inbox = OtlpInbox(clock)
    away = Source([], store.events)
    away.away = True
    pipeline = Pipeline(stages(free(tmp_path / "data"), store, pack), store)
    loop = Loop(pipeline, store, [inbox, away], clock, told.observers())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not inbox.up and time.monotonic() < deadline:
            time.sleep(0.01)
        inbox.submit(records(STUDENT, 1)[0].payload, "traces", "otlp_proto", "otlp_http").result(60)
        waits: list[float] = []
        for record in records(STUDENT, 8, per_record=1):
            before = time.monotonic()
            inbox.submit(record.payload, "traces", "otlp_proto", "otlp_http").result(60)
            waits.append(time.monotonic() - before)
        assert sorted(waits)[len(waits) // 2] < 0.5
        assert told.failed == ["source_unavailable"]
        away.away = False
        time.sleep(0.3)
        away.away = True
        time.sleep(0.3)
        assert told.failed == ["source_unavailable"] * 2
    finally:
        loop.stop()
        thread.join(60)
    assert not thread.is_alive()


def test_batches_shrink_and_grow_to_a_turn_of_a_second(store: Watched, make: Make) -> None:
    stream = records(STUDENT, 120, per_record=1)
    source = Source(stream, store.events)
    loop = make([source])
    store.takes_s = 4.0
    loop.turn()
    loop.turn()
    assert source.asked == [loops.FIRST_RECORDS, loops.FIRST_RECORDS // 4]
    store.takes_s = 0.0
    while loop.turn():
        pass
    assert source.asked[2] == 1
    assert max(source.asked) > loops.FIRST_RECORDS
    assert max(source.asked) <= loops.MAX_RECORDS


def test_an_idle_loop_says_so_and_writes_nothing(store: Watched, make: Make, told: Told) -> None:
    loop = make([Source([], store.events)])
    loop.turn()
    loop.turn()
    assert told.idle == [True, True]
    assert store.events == []


def test_stop_ends_a_running_loop_and_what_waits_goes_back(
    store: Watched, pack: RulePack, told: Told, tmp_path: Path
) -> None:
    clock = SystemClock()
    inbox = OtlpInbox(clock)
    pipeline = Pipeline(stages(free(tmp_path / "data"), store, pack), store)
    loop = Loop(pipeline, store, [inbox], clock, told.observers())
    thread = threading.Thread(target=loop.run)
    thread.start()
    loop.stop()
    thread.join(60)
    assert not thread.is_alive()
    inbox.start({})
    waiting = inbox.submit(records(STUDENT, 1)[0].payload, "traces", "otlp_proto", "otlp_http")
    inbox.close(0.1)
    assert isinstance(waiting.exception(1), Busy)


def test_open_trajectories_are_taken_back_page_by_page_while_new_spans_are_stored(
    store: Watched, make: Make, told: Told, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Source(records(STUDENT, 25), store.events)
    loop = make([first])
    while loop.turn():
        pass
    monkeypatch.setattr("telltale.pipeline.RESTORE_PAGE", 10)
    later = records(STUDENT, 30)[-1:]
    again = make([Source(later, store.events)])
    clock.advance(1_000)
    told.committed.clear()
    assert again.turn() is True
    assert len(told.committed[0].changes.spans) > 0
    assert count(store, "trajectories WHERE state = 'complete'") == 15
    for _ in range(3):
        clock.advance(1.0)
        again.turn()
    assert count(store, "trajectories WHERE state = 'complete'") == 30
    assert count(store, "trajectories") == 30


def test_retention_deletes_at_start_then_daily_in_idle_time(
    store: Watched, make: Make, clock: ManualClock
) -> None:
    loop = make([ReplaySource(iter(records(STUDENT, 10)))])
    loop.turn()
    clock.advance(3 * 86_400)
    retention = Retention(store, 2, clock)
    assert count(store, "trajectories") == 10
    retention.turn(idle=False)
    assert count(store, "trajectories") == 10
    retention.turn(idle=True)
    assert count(store, "trajectories") == 0
    assert count(store, "data.receipts") == 1
    clock.advance(86_000)
    retention.turn(idle=True)
    assert count(store, "data.receipts") == 1
    clock.advance(401 + 3_600)
    retention.turn(idle=False)
    assert count(store, "data.receipts") == 2
    Retention(store, 0, clock).turn(idle=True)
    assert count(store, "data.receipts") == 2
