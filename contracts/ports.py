"""The Protocols where stages meet. Only `telltale/app.py` names the classes behind them.

The way of a batch:

    SpanSource.poll -> decode -> redact -> Joiner.add/assemble -> Labeller.label -> Bench
        -> TrajectoryStore.commit (one transaction, offsets included)
        -> SpanSource.acknowledge -> AlertSink

Everything between `poll` and `commit` is a pure function of its arguments: no clock, file or
global.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.labels import Labels
from contracts.record import DeadLetter, Decoded, Gap, Partition, Position, Record
from contracts.span import LogEvent, Span
from contracts.trajectory import Call, Subject, Trajectory
from contracts.verdict import Alert, Evidence, Verdict


class SpanSource(Protocol):
    """A transport. Records polled are owned by the caller until acknowledged; delivery at least
    once.
    """

    @property
    def name(self) -> str:
        """The label value of `source` in metrics."""
        ...

    @property
    def up(self) -> bool:
        """Whether records can come: the peer answers, or senders are let in."""
        ...

    @property
    def stalled(self) -> bool:
        """Whether the peer answers and holds records but gives none."""
        ...

    def start(self, ledger: Mapping[Partition, Position]) -> None:
        """Begin to receive, after the position of each partition in `ledger`. Idempotent."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        """At most `max_records` records, waiting at most `timeout_s` for the first. May be empty.

        Raises `SourceUnavailable` where the peer cannot be reached; calling again is fine.
        """
        ...

    def gaps(self) -> Sequence[Gap]:
        """Evidence found lost since the last call."""
        ...

    def acknowledge(self, records: Sequence[Record], rejected: Mapping[int, int]) -> None:
        """`records` are durable. `rejected`: ticket to number of its spans that became dead
        letters.
        """
        ...

    def refuse(self, records: Sequence[Record], retry_after_s: float) -> None:
        """`records` could not be made durable now; senders should try again, Kafka is sought
        back.
        """
        ...

    def lag_s(self, now_ns: int) -> float | None:
        """Seconds between now and the oldest record not yet polled; None where a lag has no
        meaning.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Stop receiving. Idempotent."""
        ...


class Decode(Protocol):
    """A batch of records to spans; one `Decoded` per record, in order. Never raises for bad
    bytes.
    """

    def __call__(self, records: Sequence[Record]) -> Sequence[Decoded]: ...


class Redact(Protocol):
    """Replaces secrets by keyed digests before anything is queued or stored. `errors`: spans, log
    records and dead letters whose search failed and that lost every text, since the start.
    """

    @property
    def errors(self) -> int: ...

    def span(self, span: Span) -> Span: ...

    def log(self, log: LogEvent) -> LogEvent: ...

    def dead_letter(self, letter: DeadLetter) -> DeadLetter: ...


@dataclass(frozen=True, slots=True)
class Added:
    """What was new in a batch. `conflicts`: spans whose ids were seen with another digest; keep
    both.
    """

    spans: tuple[Span, ...]
    logs: tuple[LogEvent, ...]
    duplicates: int
    conflicts: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """`changed`: whole trajectories whose rows must be rewritten, with their calls. `removed`: ids
    that no longer exist (a trace found its conversation). `due`: ids now quiescent, ordered by
    (ended_ns, trajectory_id), with `judged_calls` as the tests left off; `changed` holds them too,
    as they must be stored: `complete`, with all their calls consumed.
    """

    changed: tuple[Trajectory, ...]
    removed: tuple[str, ...]
    due: tuple[Trajectory, ...]


class Joiner(Protocol):
    """Spans in any order, repeated or late, to the same trajectories every time.

    State is the set of spans of the traces held in memory; it can be dropped and restored from the
    store at any time without changing any result.
    """

    def missing_traces(self, spans: Sequence[Span], logs: Sequence[LogEvent]) -> frozenset[str]:
        """Trace ids that are not in memory; the caller restores those the store knows."""
        ...

    def restore(
        self,
        spans: Sequence[Span],
        logs: Sequence[LogEvent],
        judged: Mapping[str, int],
    ) -> None:
        """Take back stored spans, in any order. `judged`: trajectory id to calls already
        consumed. Trajectories that consist of them are as the store has them: not changed.
        """
        ...

    def add(self, spans: Sequence[Span], logs: Sequence[LogEvent]) -> Added:
        """Take new spans; drop those seen before."""
        ...

    def missing_trajectories(self) -> frozenset[str]:
        """Ids that `add` touched first and that may exist in the store with more traces."""
        ...

    def assemble(self, now_ns: int, everything_due: bool = False) -> Joined:
        """Trajectories changed since the last call, and those quiescent at `now_ns`.

        `everything_due`: the input has ended (replay); all open trajectories become due.
        """
        ...

    def evict(self) -> int:
        """Drop complete and, past the bound, the longest idle traces; number of traces dropped."""
        ...

    def to_bytes(self) -> bytes:
        """The whole state, for an engine that keeps it; `from_bytes` of the class gives it back."""
        ...


class Labeller(Protocol):
    """Calls of one trajectory, in step order, to its labels. Pure; never raises for odd content."""

    def label(self, calls: Sequence[Call], request: str = "") -> Labels: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a batch of due trajectories changed. `states`: detector state by key, to store as it
    is.
    """

    evidence: tuple[Evidence, ...]
    verdicts: tuple[Verdict, ...]
    alerts: tuple[Alert, ...]
    states: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A trajectory with its labels, for judging from step `trajectory.judged_calls` on."""

    trajectory: Trajectory
    labels: Labels
    subject: Subject


class Bench(Protocol):
    """The references in force and the detectors of every subject against them."""

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take back stored states; keys of references no longer in force are ignored."""
        ...

    def observe(self, batch: Sequence[Labelled], now_ns: int) -> Judgement:
        """Consume due trajectories in the order given."""
        ...

    def limits(self, batch: Sequence[Labelled], now_ns: int) -> tuple[Alert, ...]:
        """Declared ceilings that act at once: alerts for single acts in trajectories still open."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything one transaction writes. `settled`: ids among `trajectories` of which nothing but
    `state` and `judged_calls` differs from what is stored; a store may leave the rest as it is.
    """

    spans: Sequence[Span] = ()
    logs: Sequence[LogEvent] = ()
    conflicts: Sequence[Span] = ()
    duplicates: int = 0
    dead_letters: Sequence[DeadLetter] = ()
    gaps: Sequence[Gap] = ()
    trajectories: Sequence[Trajectory] = ()
    settled: frozenset[str] = frozenset()
    removed: Sequence[str] = ()
    labels: Mapping[str, Labels] = field(default_factory=dict[str, Labels])
    evidence: Sequence[Evidence] = ()
    verdicts: Sequence[Verdict] = ()
    alerts: Sequence[Alert] = ()
    detector_states: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    positions: Mapping[Partition, Position] = field(default_factory=dict[Partition, Position])
    committed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """Stored spans of some traces. `judged`: trajectory id to calls already consumed."""

    spans: tuple[Span, ...]
    logs: tuple[LogEvent, ...]
    judged: Mapping[str, int]


class TrajectoryStore(Protocol):
    """One writer. Methods may be called from any thread; writes are serialised.

    Any method may raise `StoreUnavailable`: call `reopen`, read `ledger`, seek, go on.
    """

    def commit(self, changes: Changes) -> None:
        """All of it durably, or nothing. Rewrites changed trajectories' calls and actions whole."""
        ...

    def ledger(self) -> Mapping[Partition, Position]:
        """Last position stored per partition."""
        ...

    def reopen(self) -> None:
        """Close and open the file anew, after `StoreUnavailable`."""
        ...

    def restore_traces(self, trace_ids: frozenset[str]) -> Restored:
        """Stored spans and logs of those of `trace_ids` that the store knows."""
        ...

    def restore_trajectories(self, trajectory_ids: frozenset[str]) -> Restored:
        """Stored spans and logs of all traces of those trajectories that the store knows."""
        ...

    def open_trajectories(self, limit: int, heard_before_ns: int | None = None) -> Sequence[str]:
        """Ids of trajectories not complete, those heard of last first, at most `limit`; only those
        of which nothing was received since `heard_before_ns`.
        """
        ...

    def detector_states(self) -> Mapping[str, bytes]: ...

    def trajectories(self, where: str, with_calls: bool = True) -> Iterator[Trajectory]:
        """Complete trajectories that meet the SQL condition, ordered by (ended_ns, trajectory_id).

        Raises `BadCondition`.
        """
        ...

    def pending_alerts(self, limit: int) -> Sequence[Alert]:
        """Alerts of the outbox not yet delivered, oldest first."""
        ...

    def mark_delivered(self, alert_ids: Sequence[str], at_ns: int) -> None: ...

    def close(self) -> None: ...


class Registry(Protocol):
    """Baselines and lineage, in the same file as the trajectories."""

    def add_baseline(self, info: BaselineInfo) -> None:
        """Record a frozen baseline. Raises `BaselineError` if the name has another digest."""
        ...

    def baselines(self) -> Sequence[BaselineInfo]: ...

    def baseline(self, name: str) -> BaselineInfo:
        """By name or digest prefix. Raises `BaselineError`."""
        ...

    def promote(self, name: str, active_for: str) -> None:
        """Judge subjects whose label matches the glob `active_for` against it; "" withdraws it."""
        ...

    def add_lineage(self, entry: LineageEntry) -> None: ...

    def lineage(self, model: str = "") -> Sequence[LineageEntry]: ...


class AlertSink(Protocol):
    """Where alerts go. At least once; the receiver de-duplicates by `alert_id`."""

    def send(self, alerts: Sequence[Alert]) -> None:
        """Raises `RetryableError` where delivery failed; nothing of the batch counts as
        delivered.
        """
        ...
