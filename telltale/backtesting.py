"""What rules and detectors would have said over stored trajectories."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from contracts.labels import CATEGORY_IDS
from contracts.ports import Labeller
from contracts.trajectory import Subject, Trajectory
from detectors.allowance import paging
from detectors.backtest import DETECTORS, backtest
from detectors.baseline import Reference
from detectors.evaluate import Run
from detectors.features import TRACKS, encode
from detectors.sequential import Opportunities
from detectors.sequential import Settings as TestSettings

DAY_NS = 86_400 * 10**9
BATCH = 256
"""Trajectories whose ids are looked up in a reference at once."""


@dataclass(frozen=True, slots=True)
class RuleRate:
    """`per_day`: actions over the time from the first trajectory's start to the last one's end."""

    rule_id: str
    category: str
    actions: int
    trajectories: int
    per_day: float


def rule_rates(
    trajectories: Iterable[Trajectory], labeller: Labeller, each: Callable[[], None]
) -> list[RuleRate]:
    """One row per rule that fired, most actions first. `each` is called per trajectory."""
    actions: Counter[tuple[str, str]] = Counter()
    hit: Counter[str] = Counter()
    first_ns, last_ns = 0, 0
    for trajectory in trajectories:
        labels = labeller.label(trajectory.calls, trajectory.request)
        actions.update((action.rule_id, action.category) for action in labels.actions)
        hit.update({action.rule_id for action in labels.actions})
        first_ns = min(first_ns or trajectory.started_ns, trajectory.started_ns)
        last_ns = max(last_ns, trajectory.ended_ns)
        each()
    days = max((last_ns - first_ns) / DAY_NS, 1 / 24)
    return [
        RuleRate(rule_id, category, count, hit[rule_id], count / days)
        for (rule_id, category), count in actions.most_common()
    ]


@dataclass(frozen=True, slots=True)
class Backtested:
    """A detector over one subject's stream, one category and track (`acts` or `orders`)."""

    subject: str
    category: str
    track: str
    run: Run


Tracks = tuple[list[Opportunities], ...]


def tracks(
    trajectories: Iterable[Trajectory], reference: Reference, labeller: Labeller
) -> Iterator[tuple[Trajectory, tuple[Opportunities, ...]]]:
    """Each trajectory with its opportunities against `reference`, per track."""
    for trajectory in trajectories:
        labels = labeller.label(trajectory.calls, trajectory.request)
        yield trajectory, reference.opportunities(encode(trajectory, labels))


def streams(
    trajectories: Iterable[Trajectory],
    reference: Reference,
    labeller: Labeller,
    subject: Callable[[Trajectory], Subject],
    each: Callable[[], None],
) -> dict[Subject, Tracks]:
    """Stored trajectories as one stream per subject and track, in the order given.

    Raises `BaselineError` where the reference was fitted on one of them.
    """
    found: dict[Subject, Tracks] = {}
    for batch in _batches(trajectories):
        reference.refuse_own(trajectory.trajectory_id for trajectory in batch)
        for trajectory, opportunities in tracks(batch, reference, labeller):
            stream = found.setdefault(subject(trajectory), tuple([] for _ in TRACKS))
            for track, one in zip(stream, opportunities, strict=True):
                track.append(one)
            each()
    return found


def frozen(trajectories: Iterable[Trajectory], reference: Reference, labeller: Labeller) -> Tracks:
    """Those of `trajectories` that `reference` was fitted on, as one stream per track."""
    found: Tracks = tuple([] for _ in TRACKS)
    for batch in _batches(trajectories):
        own = set(reference.fitted_on(trajectory.trajectory_id for trajectory in batch))
        kept = [trajectory for trajectory in batch if trajectory.trajectory_id in own]
        for _, opportunities in tracks(kept, reference, labeller):
            for track, one in zip(found, opportunities, strict=True):
                track.append(one)
    return found


def _batches(trajectories: Iterable[Trajectory]) -> Iterator[list[Trajectory]]:
    iterator = iter(trajectories)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def backtests(
    found: Mapping[Subject, Tracks],
    reference: Reference,
    own: Tracks,
    name: str,
    settings: TestSettings,
    onset: int | None,
) -> Iterator[Backtested]:
    """The detector `name` over every stream and category that the reference knows.

    `own`: the reference's own trajectories, on which marginal detectors are calibrated to the mean
    run length of `settings`; may be empty for the others.
    """
    for number, (track, calibration) in enumerate(zip(TRACKS, reference.calibrations, strict=True)):
        how = paging(reference.document, number, settings) if name == "e-detector" else settings
        for k in np.flatnonzero(calibration.knows()).tolist():
            for subject, stream in found.items():
                detector = DETECTORS[name](
                    calibration, own[number], how, k, np.random.default_rng(7)
                )
                run = backtest(detector, stream[number], onset)
                yield Backtested(subject.label(), CATEGORY_IDS[k], track, run)
