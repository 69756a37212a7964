"""What the API and the UI need of the daemon, and nothing more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.labels import Labels, Stage
from contracts.span import Value
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Alert, Evidence, Verdict
from storage.listings import TrajectorySummary


@dataclass(frozen=True, slots=True)
class QueryResult:
    """`truncated`: there were more rows than asked for."""

    table: pa.Table
    truncated: bool


@dataclass(frozen=True, slots=True)
class TrajectoryFilter:
    """Conditions that all hold; "" and None ask nothing. Times: of the start, UTC nanoseconds."""

    environment: str = ""
    agent: str = ""
    agent_version: str = ""
    model: str = ""
    category: str = ""
    tool: str = ""
    state: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class TrajectoryDetail:
    """One trajectory with its calls, and their labels."""

    trajectory: Trajectory
    labels: Labels


@dataclass(frozen=True, slots=True)
class SubjectSummary:
    """What is known of a subject. `arguments_coverage`: share of calls whose arguments could be
    read; None without calls.
    """

    subject: Subject
    trajectories: int
    calls: int
    first_received_ns: int
    last_received_ns: int
    arguments_coverage: float | None


@dataclass(frozen=True, slots=True)
class Contribution:
    """A call that speaks for the alarm. `hazard`: the reference's upper probability of the action
    there. `log10_factor`: log10 of what the call multiplied the evidence by. Both are None where no
    test judged the call. `target`: whether what it acts on was acted on in the reference by that
    role; `new_targets`: those that never were, as `kind value`.
    """

    trajectory_id: str
    step: int
    tool: str
    arguments: Value
    category: str
    variant: str
    stage: Stage
    hazard: float | None
    log10_factor: float | None
    target: Literal["new", "known", "unknown"] = "unknown"
    new_targets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Targets:
    """How many contributing calls act on a target that the reference never had in that role, on
    ones that it had, and of how many it cannot be told.
    """

    new: int = 0
    known: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed before the onset: a version, a tool, a lineage entry. `at_ns`: when,
    0 where not known.
    """

    at_ns: int
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an alert was raised. Anything that is not known is empty or None.

    `verdict`: the state now, where the alert's own is the state when it was raised. `reference`:
    None for a declared ceiling. `curve`: evidence by trajectory number. `threshold_log10`: of the
    alarm; `calibrated_threshold_log10`: the simulated one, None where none was measured.
    `onset_ns`: when the first changed trajectory ended; `onset_interval`: earliest and latest
    number of it, at 95 %. `contributions`: since the onset, strongest first; `targets`: of all
    calls that contributed in `trajectories`. `ceiling`: the declared rate that was broken.
    """

    alert: Alert
    verdict: Verdict | None
    reference: BaselineInfo | None
    curve: Sequence[Evidence] = ()
    threshold_log10: float | None = None
    calibrated_threshold_log10: float | None = None
    onset_ns: int | None = None
    onset_interval: tuple[int, int] | None = None
    contributions: Sequence[Contribution] = ()
    targets: Targets = field(default_factory=Targets)
    ceiling: float | None = None
    trajectories: Sequence[TrajectorySummary] = ()
    lineage: Sequence[LineageEntry] = ()
    changes: Sequence[Change] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """`checks`: name of each thing the daemon needs, and "" where it is well, else what is not."""

    checks: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ready(self) -> bool:
        """All checks are well."""
        return not any(self.checks.values())


class Ports(Protocol):
    """Reads of the running daemon. Called from several threads at once.

    Any method may raise `RetryableError` (answered with 503 and `Retry-After`).
    """

    def query(self, sql: str, max_rows: int) -> QueryResult:
        """At most `max_rows` rows of one read-only SELECT over the views. Raises `QueryRefused`."""
        ...

    def trajectories(self, asked: TrajectoryFilter) -> Sequence[TrajectorySummary]:
        """Newest first."""
        ...

    def trajectory(self, trajectory_id: str) -> TrajectoryDetail | None:
        """None where there is no such trajectory."""
        ...

    def alerts(self, limit: int, offset: int) -> Sequence[Alert]:
        """Newest first."""
        ...

    def explanation(self, alert_id: str) -> Explanation | None:
        """None where there is no such alert."""
        ...

    def verdicts(self) -> Sequence[Verdict]:
        """The state now, one per subject, category and reference."""
        ...

    def subjects(self) -> Sequence[SubjectSummary]:
        """Most recently seen first."""
        ...

    def doctor(self) -> Mapping[str, Value]:
        """What the daemon can and cannot see, as `telltale doctor --json` prints it."""
        ...

    def readiness(self) -> Readiness: ...

    def metrics(self) -> bytes:
        """Prometheus's text format."""
        ...
