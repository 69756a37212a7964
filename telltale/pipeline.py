"""The way of a batch from records to one commit: decode, redact, join, label, judge, store.

The stages are pure functions with explicit state; this module feeds them, stores what they say in
one transaction with the offsets, and rebuilds their state from the store after a failed commit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from alerts import policy
from contracts.labels import Labels
from contracts.ports import (
    Bench,
    Changes,
    Decode,
    Joined,
    Joiner,
    Judgement,
    Labelled,
    Labeller,
    Redact,
    Restored,
    TrajectoryStore,
)
from contracts.record import DeadLetter, Gap, Partition, Position, Record
from contracts.span import LogEvent, Span
from contracts.trajectory import Call, Subject, Trajectory
from telltale.arrival import consumed_first

RESTORE_LIMIT = 200_000
"""Open trajectories taken back after a start; older ones are when a span of theirs comes."""
RESTORE_PAGE = 100
"""Of them in one batch: about a third of a second, so that a daemon with many open trajectories
takes new spans as soon after a start as one with none.
"""
LOOK_NS = 60_000_000_000
"""How often open trajectories are looked for that the bound on memory has put out of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch did. `rejected`: ticket to number of its spans that became dead letters."""

    changes: Changes
    rejected: Mapping[int, int]
    spans_received: Mapping[str, int]


@dataclass(slots=True)
class _Known:
    """Labels of a trajectory and what they were made of. `stored`: as it was committed last."""

    calls: tuple[Call, ...]
    request: str
    labels: Labels
    stored: Trajectory | None = None


def subject_of(fields: Sequence[str]) -> Callable[[Trajectory], Subject]:
    """The subject of a trajectory by the configured key; fields outside the key are ""."""

    def subject(trajectory: Trajectory) -> Subject:
        return Subject(*(getattr(trajectory, f) if f in fields else "" for f in Subject._fields))

    return subject


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages. `joiner`, `bench`: make fresh state, to be restored from the store. `memory`: the
    alert policy's, as the store has it. `quiet_ns`: after which a trajectory is due.
    """

    decode: Decode
    redact: Redact
    joiner: Callable[[], Joiner]
    labeller: Labeller
    bench: Callable[[], Bench]
    memory: Callable[[], policy.Memory]
    subject: Callable[[Trajectory], Subject]
    quiet_ns: int


class Pipeline:
    """Feeds batches through the stages. Not thread-safe: one loop owns it."""

    def __init__(self, stages: Stages, store: TrajectoryStore) -> None:
        self._stages = stages
        self._store = store
        self._labels: dict[str, _Known] = {}
        self._uncommitted: tuple[Trajectory, ...] = ()
        self._waiting: list[str] = []
        self._whole: set[str] = set()
        self._last_ns = self._looked_ns = 0
        self._joiner = stages.joiner()
        self._bench = stages.bench()
        self._policy = policy.Settings()
        self._memory = self._next_memory = policy.Memory()
        self.decoded = 0
        """Spans in the records of the last `process`."""
        self.recover()

    @property
    def memory(self) -> policy.Memory:
        """What the alert policy knows of committed alerts. Any thread may read it."""
        return self._memory

    @property
    def redaction_errors(self) -> int:
        """Spans, log records and dead letters that lost every text to an error of redaction."""
        return self._stages.redact.errors

    @property
    def restoring(self) -> bool:
        """Whether open trajectories still wait to be taken back: a page with each batch, longest
        idle first, as they would have been judged without a restart.
        """
        return bool(self._waiting)

    def recover(self) -> None:
        """Throw the state in memory away and take it back from the store."""
        self._labels.clear()
        self._uncommitted = ()
        self._joiner = self._stages.joiner()
        self._whole.clear()
        self._last_ns = self._looked_ns = 0
        self._waiting = list(self._store.open_trajectories(RESTORE_LIMIT))
        self._memory = self._next_memory = self._stages.memory()
        self.reload_bench()

    def reload_bench(self) -> None:
        """Build the bench anew, from the references now in force and the stored detector states."""
        self._bench = self._stages.bench()
        self._bench.restore(self._store.detector_states())

    def process(
        self,
        records: Sequence[Record],
        gaps: Sequence[Gap],
        now_ns: int,
        committed_ns: int,
        everything_due: bool = False,
    ) -> Step:
        """Everything one transaction has to write for `records`; the caller commits it.

        `now_ns`: the watermark of receive time, by which trajectories are quiescent. After a failed
        commit call `recover` before the next batch.
        """
        self.decoded = 0
        spans, logs, dead_letters, rejected, received = self._decode(records)
        self.decoded = sum(received.values())
        self._look(now_ns)
        self._restore_page()
        while everything_due and self._waiting:
            self._restore_page()
        self._restore_missing(spans, logs)
        added = self._joiner.add(spans, logs)
        self._restore_trajectories()
        joined = self._joiner.assemble(now_ns, everything_due)
        judgement = self._judge(joined, now_ns)
        findings = policy.Findings(judgement.alerts, judgement.verdicts, gaps, added.conflicts)
        self._next_memory, alerts = policy.decide(
            self._memory, findings, committed_ns, self._policy
        )
        changes = Changes(
            spans=added.spans,
            logs=added.logs,
            conflicts=added.conflicts,
            duplicates=added.duplicates,
            dead_letters=dead_letters,
            gaps=gaps,
            trajectories=joined.changed,
            settled=frozenset(t.trajectory_id for t in joined.changed if self._is_settled(t)),
            removed=joined.removed,
            labels={t.trajectory_id: self._label(t) for t in joined.changed},
            evidence=judgement.evidence,
            verdicts=judgement.verdicts,
            alerts=alerts,
            detector_states=judgement.states,
            positions=_last_positions(records),
            committed_ns=committed_ns,
        )
        self._forget(joined)
        self._uncommitted = joined.changed
        return Step(changes, rejected, received)

    def _decode(
        self, records: Sequence[Record]
    ) -> tuple[list[Span], list[LogEvent], list[DeadLetter], dict[int, int], dict[str, int]]:
        spans: list[Span] = []
        logs: list[LogEvent] = []
        dead_letters: list[DeadLetter] = []
        rejected: dict[int, int] = {}
        received: dict[str, int] = {}
        redact = self._stages.redact
        for record, decoded in zip(records, self._stages.decode(records), strict=True):
            spans.extend(map(redact.span, decoded.spans))
            logs.extend(map(redact.log, decoded.logs))
            dead_letters.extend(map(redact.dead_letter, decoded.dead_letters))
            if decoded.rejected:
                rejected[record.ticket] = decoded.rejected
            received[record.source] = received.get(record.source, 0) + len(decoded.spans)
        return spans, logs, dead_letters, rejected, received

    def take_back_open(self) -> bool:
        """Have the next batch take back the store's open trajectories; whether there are any."""
        self._waiting = list(self._store.open_trajectories(RESTORE_LIMIT))
        return bool(self._waiting)

    def _look(self, now_ns: int) -> None:
        """Now and then, have those taken back that are due and were not in memory to be judged:
        what was due at the last batch and in memory is complete.
        """
        if not self._waiting and abs(now_ns - self._looked_ns) >= LOOK_NS:
            self._looked_ns = now_ns
            quiet_ns = self._last_ns - self._stages.quiet_ns
            if quiet_ns > 0:
                self._waiting = list(self._store.open_trajectories(RESTORE_LIMIT, quiet_ns))
        self._last_ns = now_ns

    def _restore_page(self) -> None:
        page = self._waiting[-RESTORE_PAGE:]
        if page:
            self._take_back(self._store.restore_trajectories(frozenset(page)))
            self._whole.update(page)
            del self._waiting[-RESTORE_PAGE:]

    def _take_back(self, restored: Restored) -> None:
        if restored.spans or restored.logs:
            self._joiner.restore(restored.spans, restored.logs, restored.judged)

    def _restore_missing(self, spans: Sequence[Span], logs: Sequence[LogEvent]) -> None:
        missing = self._joiner.missing_traces(spans, logs)
        if missing:
            self._take_back(self._store.restore_traces(missing))

    def _restore_trajectories(self) -> None:
        # A conversation may reach over traces that are in the store only; taking those back can
        # show further conversations, so until nothing is missing.
        while missing := self._joiner.missing_trajectories() - self._whole:
            self._take_back(self._store.restore_trajectories(missing))
        self._whole.clear()

    def _judge(self, joined: Joined, now_ns: int) -> Judgement:
        for trajectory in joined.changed:
            self._label(trajectory)
        # the joiner gives a due trajectory twice: as it will be stored, all its calls consumed, and
        # as it is to be judged, from where the tests stand
        standing = {t.trajectory_id: t for t in joined.changed}
        standing |= {t.trajectory_id: t for t in joined.due}
        limits = self._bench.limits([self._labelled(t) for t in standing.values()], now_ns)
        judgement = self._bench.observe([self._labelled(t) for t in joined.due], now_ns)
        return replace(judgement, alerts=(*limits, *judgement.alerts))

    def _label(self, trajectory: Trajectory) -> Labels:
        """Its labels, kept until it is judged: being complete changes none of them."""
        known = self._labels.get(trajectory.trajectory_id)
        if known and known.calls is trajectory.calls and known.request == trajectory.request:
            return known.labels
        labels = self._stages.labeller.label(trajectory.calls, trajectory.request)
        self._labels[trajectory.trajectory_id] = _Known(
            trajectory.calls, trajectory.request, labels
        )
        return labels

    def _labelled(self, trajectory: Trajectory) -> Labelled:
        """As it is to be judged."""
        ordered = consumed_first(trajectory)
        if ordered is trajectory:
            labels = self._label(trajectory)
        else:
            labels = self._stages.labeller.label(ordered.calls, ordered.request)
        return Labelled(ordered, labels, self._stages.subject(trajectory))

    def _is_settled(self, trajectory: Trajectory) -> bool:
        """Whether it is stored but for how far it was judged."""
        known = self._labels.get(trajectory.trajectory_id)
        stored = known.stored if known is not None else None
        return stored is not None and trajectory == replace(
            stored, state=trajectory.state, judged_calls=trajectory.judged_calls
        )

    def _forget(self, joined: Joined) -> None:
        for trajectory_id in joined.removed:
            self._labels.pop(trajectory_id, None)
        for trajectory in joined.due:
            self._labels.pop(trajectory.trajectory_id, None)

    def committed(self) -> int:
        """The last step is durable: drop what need not stay in memory; number of traces dropped."""
        self._memory = self._next_memory
        for trajectory in self._uncommitted:
            known = self._labels.get(trajectory.trajectory_id)
            if known is not None and known.calls is trajectory.calls:
                known.stored = trajectory
        self._uncommitted = ()
        return self._joiner.evict()


def _last_positions(records: Sequence[Record]) -> dict[Partition, Position]:
    last: dict[Partition, Position] = {}
    for record in records:
        position = record.position
        if position is None:
            continue
        before = last.get(position.partition)
        if before is None or position.offset > before.offset:
            last[position.partition] = position
    return last
