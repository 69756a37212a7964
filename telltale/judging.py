"""The production detectors over stored trajectories, in the order the daemon judges them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from contracts.ports import Judgement, Labelled, Labeller
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Verdict
from detectors.baseline import Reference
from detectors.bench import DetectorBench
from detectors.sequential import Settings as TestSettings

BATCH = 256


@dataclass(frozen=True, slots=True)
class Judged:
    """One trajectory of `subject`, its `n`-th, and log10 evidence by category and reference."""

    trajectory_id: str
    n: int
    subject: Subject
    evidence: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`verdicts`: final ones, by subject, category and reference. `alerts`: number raised."""

    trajectories: int
    verdicts: Sequence[Verdict]


def judge(
    trajectories: Iterable[Trajectory],
    references: Sequence[Reference],
    labeller: Labeller,
    subject: Callable[[Trajectory], Subject],
    settings: TestSettings,
    each: Callable[[Judged], None] = lambda judged: None,
) -> Outcome:
    """Judge `trajectories` from their first call on, in the order given.

    Raises `BaselineError` where a reference was fitted on one of them.
    """
    bench = DetectorBench(references, settings, strict=True)
    counts: dict[Subject, int] = {}
    last_ns = 0
    total = 0
    for batch in _batches(trajectories):
        labelled = [
            Labelled(
                replace(trajectory, judged_calls=0),
                labeller.label(trajectory.calls, trajectory.request),
                subject(trajectory),
            )
            for trajectory in batch
        ]
        last_ns = max(last_ns, *(item.trajectory.ended_ns for item in labelled))
        judgement = bench.observe(labelled, last_ns)
        evidence = _by_trajectory(judgement)
        for item in labelled:
            counts[item.subject] = counts.get(item.subject, 0) + 1
            identity = item.trajectory.trajectory_id
            each(Judged(identity, counts[item.subject], item.subject, evidence.get(identity, {})))
        total += len(labelled)
    verdicts = [v for one in counts for v in bench.verdicts(one, last_ns)]
    return Outcome(total, verdicts)


def line(verdict: Verdict) -> dict[str, object]:
    """A verdict as `judge --json` prints it."""
    document = asdict(verdict)
    del document["updated_ns"]
    return {**document, "subject": verdict.subject.label()}


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """1 if any is `alarm`, else 2 if none is `clear`, else 0."""
    states = {verdict.state for verdict in verdicts}
    if "alarm" in states:
        return 1
    return 0 if "clear" in states else 2


def _batches(trajectories: Iterable[Trajectory]) -> Iterator[list[Trajectory]]:
    iterator = iter(trajectories)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _by_trajectory(judgement: Judgement) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in judgement.evidence:
        categories = found.setdefault(row.trajectory_id, {})
        categories.setdefault(row.category, {})[row.reference] = row.evidence_log10
    return found
