"""The daemon's one loop: poll, process, commit, acknowledge; and what to do when it fails.

Commit and acknowledgement stand in the order that makes a loss impossible: nothing is acknowledged
before the transaction that holds it (and the offsets) is durable.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.clock import Clock
from contracts.errors import RetryableError, SourceUnavailable, StoreUnavailable
from contracts.ports import SpanSource, TrajectoryStore
from contracts.record import Gap, Record
from telltale.pipeline import Pipeline, Step

log = logging.getLogger("telltale.loop")

FIRST_RECORDS, MAX_RECORDS = 10, 500
"""Records of the first batch of each source, and of the largest: at 100 spans a record a commit of
50,000 rows, its upper end.
"""
TURN_S = 1.0
"""What one turn should take: batches shrink and grow to it, so that neither a sender's answer nor a
clean stop waits for long, whatever the records hold and the machine does.
"""
IDLE_POLL_S = 0.05
"""Wait for the first source's next record when nothing came; bounds the delay of the others."""
TICK_S = 1.0
"""How often quiescent trajectories are looked for while nothing arrives."""
AWAY_S = 600.0
"""How long a source that cannot be reached may be waited for. Past it, trajectories that have some
of their spans there are judged by what came; the rest is judged when it comes.
"""
MAX_BACKOFF_S = 30.0


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is told: `committed` after each batch, with the seconds it took; `failed` the stage after
    a failure; `refused` the spans that were given back; `turned` the time, about once a second;
    `idle` after each turn, whether it had nothing to do.
    """

    committed: Callable[[Step, float], None]
    failed: Callable[[str], None]
    refused: Callable[[int], None] = lambda spans: None
    turned: Callable[[int], None] = lambda now_ns: None
    idle: Callable[[bool], None] = lambda idle: None


class Loop:
    """Runs until `stop` is set. What is polled by then is committed, the rest left to be read or
    sent again.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: TrajectoryStore,
        sources: Sequence[SpanSource],
        clock: Clock,
        observers: Observers,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._sources = list(sources)
        self._clock = clock
        self._observers = observers
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._gaps: list[Gap] = []
        self._last_tick_ns = 0
        self._backoff_s = 0.0
        self._records = FIRST_RECORDS
        self._unavailable: set[str] = set()
        self._away_since_ns: dict[str, int] = {}

    def stop(self) -> None:
        """End after the batch in work. Any thread may call it."""
        self._stop.set()

    def reload_references(self) -> None:
        """Take the references now in force before the next batch. Any thread may call it."""
        self._reload.set()

    def run(self) -> None:
        """Poll, process, commit, acknowledge, until stopped."""
        self._start_sources()
        while not self._stop.is_set():
            self.turn()

    def turn(self) -> bool:
        """One round; whether records were stored."""
        if self._reload.is_set():
            self._reload.clear()
            self._pipeline.reload_bench()
        batches = self._gather()
        now_ns = self._clock.now_ns()
        self._gaps += [gap for source in self._sources for gap in source.gaps()]
        tick = now_ns - self._last_tick_ns >= TICK_S * 1e9 or now_ns < self._last_tick_ns
        self._observers.idle(not batches)
        if not batches and not self._gaps and not tick and not self._pipeline.restoring:
            return False
        if tick:
            self._last_tick_ns = now_ns
            self._observers.turned(now_ns)
        return self._store_batch(batches, now_ns)

    def _start_sources(self) -> None:
        ledger = self._store.ledger()
        for source in self._sources:
            source.start(ledger)

    def _gather(self) -> list[tuple[SpanSource, Sequence[Record]]]:
        batches: list[tuple[SpanSource, Sequence[Record]]] = []
        for source in self._sources:
            records = self._poll(source, 0.0)
            if records:
                batches.append((source, records))
        if not batches and self._sources:
            share = IDLE_POLL_S / len(self._sources)
            for source in self._sources:
                records = self._poll(source, share)
                if records:
                    batches.append((source, records))
                    break
        return batches

    def _poll(self, source: SpanSource, timeout_s: float) -> Sequence[Record]:
        try:
            records = source.poll(timeout_s, self._records)
        except SourceUnavailable as error:
            # no wait here: the other sources must not pay for it
            if source.name not in self._unavailable:
                self._unavailable.add(source.name)
                log.warning("source unavailable: %s", error)
                self._observers.failed("source_unavailable")
            return ()
        if source.name in self._unavailable and source.up:
            self._unavailable.discard(source.name)
            log.info("source available again: %s", source.name)
        return records

    def watermark_ns(self, now_ns: int) -> int:
        """Receive time up to which everything is polled: a backlog must not look like silence.

        A source that is away holds the judging of the others back for at most `AWAY_S`; one that
        was not reached since the start may hold back anything until then.
        """
        behind_s = 0.0
        for source in self._sources:
            lag_s = source.lag_s(now_ns)
            if source.up:
                self._away_since_ns.pop(source.name, None)
            elif lag_s is not None:
                since_ns = self._away_since_ns.setdefault(source.name, now_ns)
                if now_ns - since_ns >= AWAY_S * 1e9:
                    lag_s = min(lag_s, AWAY_S)
            behind_s = max(behind_s, lag_s or 0.0)
        return now_ns - int(behind_s * 1e9)

    def _store_batch(
        self,
        batches: Sequence[tuple[SpanSource, Sequence[Record]]],
        now_ns: int,
    ) -> bool:
        records = [record for _, batch in batches for record in batch]
        before = self._clock.monotonic_ns()
        try:
            step = self._pipeline.process(records, self._gaps, self.watermark_ns(now_ns), now_ns)
            if not _empty(step):
                self._store.commit(step.changes)
        except RetryableError as error:
            self._failed(error, batches)
            return False
        self._backoff_s = 0.0
        self._gaps.clear()
        for source, batch in batches:
            source.acknowledge(batch, step.rejected)
        self._pipeline.committed()
        took_s = (self._clock.monotonic_ns() - before) / 1e9
        self._resize(max((len(batch) for _, batch in batches), default=0), took_s)
        self._observers.committed(step, took_s)
        return bool(records)

    def _resize(self, records: int, took_s: float) -> None:
        if records and took_s > TURN_S:
            self._records = max(1, int(records * TURN_S / took_s))
        elif records >= self._records and took_s < TURN_S / 2:
            self._records = min(MAX_RECORDS, 2 * self._records)

    def _failed(
        self, error: RetryableError, batches: Sequence[tuple[SpanSource, Sequence[Record]]]
    ) -> None:
        """The commit did not happen, or nobody knows: back to what the store says."""
        self._backoff_s = min(MAX_BACKOFF_S, max(0.25, self._backoff_s * 2))
        log.error("commit failed, state is taken back from the store: %s", error)
        self._observers.failed("commit")
        self._observers.refused(self._pipeline.decoded)
        while True:
            try:
                if isinstance(error, StoreUnavailable):
                    self._store.reopen()
                self._pipeline.recover()
                break
            except RetryableError as again:
                log.error("store not available yet: %s", again)
                error = again
                if self._stop.wait(self._backoff_s):
                    return
                self._backoff_s = min(MAX_BACKOFF_S, self._backoff_s * 2)
        for source, batch in batches:
            source.refuse(batch, self._backoff_s)
        self._stop.wait(self._backoff_s)


def _empty(step: Step) -> bool:
    changes = step.changes
    return not (
        changes.spans
        or changes.logs
        or changes.conflicts
        or changes.duplicates
        or changes.dead_letters
        or changes.gaps
        or changes.trajectories
        or changes.removed
        or changes.positions
        or changes.alerts
        or changes.detector_states
    )
