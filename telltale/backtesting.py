"""What rules and detectors would have said over stored trajectories."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.labels import CATEGORY_IDS
from contracts.ports import Labeller
from contracts.trajectory import Subject, Trajectory
from detectors.baseline import Reference
from detectors.evaluate import Report, alarms_of
from detectors.features import TRACKS, encode
from detectors.marginal import MARGINAL
from detectors.sequential import Opportunities
from detectors.sequential import Settings as TestSettings

DAY_NS = 86_400 * 10**9


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
class Stream:
    """One subject's trajectories in time order. `unsafe`: shape (trajectories, categories)."""

    subject: Subject
    tracks: tuple[list[Opportunities], ...]
    unsafe: npt.NDArray[np.bool_]
    ended_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Backtested:
    """A detector over one stream and category."""

    subject: str
    category: str
    alarms: tuple[int, ...]
    report: Report


def streams(
    trajectories: Iterable[Trajectory],
    reference: Reference,
    labeller: Labeller,
    subject: Callable[[Trajectory], Subject],
    each: Callable[[], None],
) -> list[Stream]:
    """Stored trajectories as streams of opportunities against `reference`."""
    found: dict[Subject, tuple[list[tuple[Opportunities, ...]], list[list[bool]], list[int]]] = {}
    for trajectory in trajectories:
        labels = labeller.label(trajectory.calls, trajectory.request)
        encoded = encode(trajectory, labels)
        taken = {action.category for action in labels.actions if action.maturity != "sandbox"}
        rows = found.setdefault(subject(trajectory), ([], [], []))
        rows[0].append(reference.opportunities(encoded))
        rows[1].append([category in taken for category in CATEGORY_IDS])
        rows[2].append(trajectory.ended_ns)
        each()
    return [
        Stream(
            key,
            tuple([row[track] for row in opportunities] for track in range(len(TRACKS))),
            np.asarray(unsafe, np.bool_),
            tuple(ended),
        )
        for key, (opportunities, unsafe, ended) in found.items()
    ]


def sequential(stream: Stream, reference: Reference, settings: TestSettings) -> list[list[int]]:
    """Alarms of every category, both tracks, each closed at once and the test begun anew."""
    alarms: list[list[int]] = [[] for _ in CATEGORY_IDS]
    for calibration, opportunities in zip(reference.calibrations, stream.tracks, strict=True):
        for k, numbers in enumerate(alarms_of(calibration, opportunities, settings, again=True)):
            alarms[k] = sorted({*alarms[k], *numbers})
    return alarms


def marginal(stream: Stream, usual: Mapping[str, float], name: str, arl: float) -> list[list[int]]:
    """Alarms of a marginal detector, its threshold simulated for a mean run length of `arl`.

    `usual`: the reference's share of unsafe trajectories by category; those without are left out.
    An alarm starts the detector anew.
    """
    alarms: list[list[int]] = [[] for _ in CATEGORY_IDS]
    for k, category in enumerate(CATEGORY_IDS):
        rate = usual.get(category, 0.0)
        if not 0 < rate < 0.5:
            continue
        threshold = simulated_threshold(name, rate, arl)
        watcher = MARGINAL[name](1, rate)
        for number, unsafe in enumerate(stream.unsafe[:, k], start=1):
            if float(watcher.update(np.asarray([unsafe]))[0]) >= threshold:
                alarms[k].append(number)
                watcher = MARGINAL[name](1, rate)
    return alarms


def simulated_threshold(name: str, rate: float, arl: float, many: int = 400) -> float:
    """The threshold that a share 1 - 1/e of null streams crosses within `arl` trajectories: run
    lengths are close to exponential, so their mean is then close to `arl`. Seeded.
    """
    chance = np.random.default_rng(7)
    watcher = MARGINAL[name](many, rate)
    highest = np.full(many, -np.inf)
    for _ in range(int(arl)):
        highest = np.maximum(highest, watcher.update(chance.random(many) < rate))
    return float(np.quantile(highest, 1 / np.e))


def usual_shares(trajectories: Iterable[Trajectory], labeller: Labeller) -> dict[str, float]:
    """Share of trajectories with an unsafe action, by category."""
    counts: Counter[str] = Counter()
    total = 0
    for trajectory in trajectories:
        labels = labeller.label(trajectory.calls, trajectory.request)
        counts.update({a.category for a in labels.actions if a.maturity != "sandbox"})
        total += 1
    return {category: count / total for category, count in counts.items()}
