"""Run lengths of many streams at once: what a threshold costs, measured rather than bounded.

The recursion of `detector.update`, in linear space over all streams together. A test holds the two
against each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.increments import sieve, steps_of
from detectors.mixture import mixture_weights
from detectors.sequential import Integers, Opportunities, Settings
from detectors.threshold import guaranteed
from detectors.upper_hazard import Calibration, cells_of, joined, repeated, upper_hazards

Singles: TypeAlias = npt.NDArray[np.float32]

_MOST = np.float32(1e18)
"""Above every threshold; keeps sums of products finite."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Trajectories of one category to draw streams from.

    `increment`: e-values (n, cells, bets); `ticks`: 1 where the trajectory had an opportunity,
    (n,); `weight`: of the mixture, (cells, bets).
    """

    increment: Singles
    ticks: Singles
    weight: Singles

    def with_opportunity(self) -> "Pool":
        """Only the trajectories on which the category's clock ticks."""
        where = self.ticks > 0
        return Pool(self.increment[where], self.ticks[where], self.weight)

    def levelled(self) -> "Pool":
        """The same with mean 1 of every e-value, which is what it is at the boundary of the null:
        else the rate that happened to be drawn, and not the one bet against, would decide.
        """
        mean = self.increment.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Pool(self.increment / mean, self.ticks, self.weight)


def pool(
    calibration: Calibration,
    batch: Sequence[Opportunities],
    category: int,
    settings: Settings,
    rng: np.random.Generator | None = None,
) -> Pool:
    """The e-values of each trajectory, as `update` would use them.

    `rng`: replaces what was taken by draws at the upper hazard, the boundary of the null.
    """
    every, trajectory = joined(batch)
    mine = sieve(every, calibration)[0] & (every.category == category)
    every, trajectory = every.only(mine), trajectory[mine]
    repeats = repeated(trajectory, every.category, every.taken)
    place = cells_of(calibration.bands, calibration.contexts, every, repeats)
    upper = upper_hazards(calibration, every.category, every.hazard, place, settings.tau)
    if rng is not None:
        every = every.with_taken(rng.random(len(every)) < upper)
    whose, places, totals = steps_of(calibration, every, place, trajectory, upper, settings)
    used = np.flatnonzero(calibration.weight[category] > 0)
    column = np.zeros(calibration.cells, np.int64)
    column[used] = np.arange(len(used))
    increment = np.ones((len(batch), len(used), len(settings.bets)), np.float32)
    ticks = np.zeros(len(batch), np.float32)
    increment[whose, column[places % calibration.cells]] = np.exp(totals)
    ticks[whose] = 1.0
    weight = mixture_weights(calibration, settings)[category, used]
    return Pool(increment, ticks, weight.astype(np.float32))


def paths(
    before: Pool,
    after: Pool | None,
    onset: int,
    steps: int,
    streams: int,
    rng: np.random.Generator,
    *,
    gate: bool = False,
) -> Singles:
    """Statistic of `streams` independent streams after each of `steps` trajectories.

    Trajectories are drawn with replacement from `before` and, from trajectory `onset` (counted from
    0), from `after`. `gate`: the e-process in place of the e-detector. Shape (steps, streams).
    """
    m = np.full((streams, *before.weight.shape), 1.0 if gate else 0.0, np.float32)
    out = np.empty((steps, streams), np.float32)
    for step in range(steps):
        source = before if after is None or step < onset else after
        index = rng.integers(0, len(source.increment), streams)
        if not gate:
            m += source.ticks[index][:, None, None]
        with np.errstate(over="ignore"):  # what overflows is past any threshold and capped here
            m *= source.increment[index]
        np.minimum(m, _MOST, out=m)
        out[step] = np.einsum("sct,ct->s", m, before.weight)
    return out


def first_passage(path: Singles, threshold: float) -> Integers:
    """Number of steps until each stream first reached the threshold, 0 where it never did."""
    above = path >= threshold
    return np.where(above.any(axis=0), above.argmax(axis=0) + 1, 0)


def mean_run_length(path: Singles, threshold: float) -> float:
    """Steps observed per first alarm, the maximum-likelihood mean for a run length that is nearly
    exponential (Pollak & Tartakovsky 2009); streams that never alarm count with all their steps.
    """
    reached = first_passage(path, threshold)
    alarms = int((reached > 0).sum())
    exposure = int(np.where(reached > 0, reached, len(path)).sum())
    return exposure / alarms if alarms else float("inf")


def threshold_for(path: Singles, run_length: float) -> float:
    """The smallest threshold, to 0.1 %, with at least that mean run length on the null paths."""
    low, high = 0.0, float(path.max()) * 1.001
    if mean_run_length(path, high) < run_length:
        return high
    while high > low * 1.001 + 1e-9:
        middle = (low * high) ** 0.5 if low > 0 else high / 2
        if high < 1e-6:
            break
        if mean_run_length(path, middle) >= run_length:
            high = middle
        else:
            low = middle
    return high


def calibrated(
    settings: Settings,
    calibration: Calibration,
    reference: Sequence[Opportunities],
    rng: np.random.Generator,
    streams: int = 200,
    level: float = 300.0,
) -> float:
    """Log of the smallest threshold whose run length at the boundary of the null is the ARL.

    The guaranteed threshold assumes the worst; at the boundary (the reference's own trajectories,
    every action taken at its upper hazard) run lengths are c >= 1 times the threshold, because of
    the overshoot. c is measured per category at the threshold `level`, where simulation is cheap,
    and carries over, since run length over threshold tends to a constant (Pollak 1987); the lower
    95 % bound of the least favourable category is used. Not a theorem: the guaranteed threshold is
    the default for pages. Raises `ValueError` in `gate` mode, which has nothing to calibrate.
    """
    if settings.mode == "gate":
        raise ValueError("a gate's threshold is exact; there is nothing to calibrate")
    least = np.inf
    for category in np.flatnonzero(calibration.knows()):
        drawn = pool(calibration, reference, int(category), settings, rng)
        drawn = drawn.with_opportunity()
        if len(drawn.ticks) < 100:
            continue
        drawn = drawn.levelled()
        path = paths(drawn, None, 0, int(6 * level), streams, rng)
        reached = first_passage(path, level)
        alarms = int((reached > 0).sum())
        exposure = float(np.where(reached > 0, reached, len(path)).sum())
        least = min(least, exposure / (alarms + 1.645 * alarms**0.5 + 1.645**2) / level)
    factor = max(1.0, least) if np.isfinite(least) else 1.0
    return guaranteed(settings) - float(np.log(factor))
