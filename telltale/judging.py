"""The production detectors over stored trajectories, in the order the daemon judges them."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np

from contracts.ports import Judgement, Labelled, Labeller
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Evidence, Verdict
from detectors.baseline import Reference
from detectors.bench import DetectorBench
from detectors.onset import onset_interval
from detectors.sequential import Settings as TestSettings

BATCH = 256
ALPHA = 0.05
"""Error rate of the onset's interval."""


Place = tuple[Subject, str, str]
"""Subject, category and reference."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One trajectory of `subject`, its `n`-th, and log10 evidence by category and reference."""

    trajectory_id: str
    n: int
    subject: Subject
    evidence: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`verdicts`: final ones, by subject, category and reference. `unjudged`: opportunities that no
    test could use, and `onsets`: 95 % interval of the first changed trajectory of each alarm, by
    the same.
    """

    trajectories: int
    verdicts: Sequence[Verdict]
    unjudged: Mapping[Place, int]
    onsets: Mapping[Place, tuple[int, int]]


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
    curves: dict[Place, Curve] = {}
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
        for row in judgement.evidence:
            key = (row.subject, row.category, row.reference)
            curves.setdefault(key, Curve()).add(row)
        for item in labelled:
            counts[item.subject] = counts.get(item.subject, 0) + 1
            identity = item.trajectory.trajectory_id
            each(Judged(identity, counts[item.subject], item.subject, evidence.get(identity, {})))
        total += len(labelled)
    verdicts = [v for one in counts for v in bench.verdicts(one, last_ns)]
    unjudged = {
        (one, category, reference): count
        for one in counts
        for (category, reference), count in bench.unjudged(one).items()
    }
    onsets: dict[Place, tuple[int, int]] = {}
    for verdict in verdicts:
        if verdict.alarm_at and verdict.onset:
            key = place(verdict)
            onsets[key] = curves[key].onset(verdict.alarm_at)
    return Outcome(total, verdicts, unjudged, onsets)


def place(verdict: Verdict) -> Place:
    """Subject, category and reference of a verdict."""
    return verdict.subject, verdict.category, verdict.reference


class Curve:
    """Number, actions and expected actions of the trajectories of one place; 24 bytes each."""

    def __init__(self) -> None:
        self._n, self._taken, self._expected = array("q"), array("q"), array("d")

    def add(self, row: Evidence) -> None:
        self._n.append(row.n)
        self._taken.append(row.taken)
        self._expected.append(row.expected)

    def onset(self, alarm_at: int) -> tuple[int, int]:
        """Earliest and latest first changed trajectory, from the evidence up to the alarm."""
        numbers = np.asarray(self._n)
        upto = int((numbers <= alarm_at).sum())
        taken, expected = np.asarray(self._taken)[:upto], np.asarray(self._expected)[:upto]
        low, _, high = onset_interval(taken, expected, ALPHA)
        return int(numbers[low - 1]), int(numbers[high - 1])


def line(verdict: Verdict) -> dict[str, object]:
    """A verdict alone as plain values."""
    document = asdict(verdict)
    del document["updated_ns"]
    return {**document, "subject": verdict.subject.label()}


def told(verdict: Verdict, outcome: Outcome) -> dict[str, object]:
    """A verdict as `judge --json` and `gate --json` print it."""
    return {
        **line(verdict),
        "unjudged": outcome.unjudged[place(verdict)],
        "onset_interval": outcome.onsets.get(place(verdict)),
    }


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
