"""Rows of the detection table that run in this process: streams of statistics by scenario."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from detectors.marginal import MARGINAL
from detectors.run_length import Pool, Singles, paths, pool
from detectors.sequential import Flags, Floats, Opportunities, Settings
from detectors.simulate import (
    CONTEXTS,
    SCENARIOS,
    WATCHED,
    Learned,
    Traces,
    World,
    draw,
    learn,
    opportunities,
    usual,
)
from detectors.upper_hazard import Calibration, calibrate

SETTINGS = Settings(categories=1)


class Sample:
    """Trajectories of every scenario, drawn once and shared by all rows."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.traces = {
            name: draw(scenario.change(usual()), size, rng) for name, scenario in SCENARIOS.items()
        }

    def unsafe(self, scenario: str, column: int) -> Flags:
        """Whether each trajectory held an unsafe action of the column's category."""
        traces = self.traces[scenario]
        hits = traces.trajectory[traces.taken & (traces.column == column)]
        return np.bincount(hits, minlength=traces.trajectories) > 0


Row = Callable[[int, str, int, int, int], Singles]
"""(column, scenario, onset, steps, streams) to the statistic's paths, (steps, streams); the world
is the usual one before step `onset`, counted from 0."""


@dataclass(frozen=True)
class Reference:
    """A reference of some size: its learned hazards and their calibration by materiality."""

    learned: Learned
    own: list[Opportunities]


def references(size: int, count: int, rng: np.random.Generator) -> list[Reference]:
    """Independent references of `size` trajectories."""
    out: list[Reference] = []
    for _ in range(count):
        traces = draw(usual(), size, rng)
        learned = learn(traces, rng)
        out.append(Reference(learned, opportunities(traces, learned.hazards(traces, own=True))))
    return out


def telltale(sample: Sample, known: list[Reference], tau: float, rng: np.random.Generator) -> Row:
    """Telltale's own detector against learned hazards; the streams share the references out."""
    settings = replace(SETTINGS, tau=tau)
    calibrations = [calibrate(each.own, CONTEXTS, settings) for each in known]

    @lru_cache(maxsize=2)
    def made(index: int, column: int, scenario: str) -> Pool:
        traces = of_column(sample.traces[scenario], column)
        batch = opportunities(traces, known[index].learned.hazards(traces))
        return pool(calibrations[index], batch, WATCHED[column], settings)

    def row(column: int, scenario: str, onset: int, steps: int, streams: int) -> Singles:
        each = max(1, streams // len(known))
        return np.concatenate(
            [
                paths(
                    made(index, column, "none"), made(index, column, scenario),
                    onset, steps, each, rng,
                )
                for index in range(len(known))
            ],
            axis=1,
        )  # fmt: skip

    return row


def by_context(sample: Sample, size: int, rng: np.random.Generator) -> Row:
    """The same tests over a table of rates by context alone."""
    traces = draw(usual(), size, rng)
    rates = np.ones((len(WATCHED), CONTEXTS))
    for column in range(len(WATCHED)):
        mine = traces.column == column
        taken = np.bincount(traces.context[mine & traces.taken], minlength=CONTEXTS)
        rates[column] = (taken + 0.5) / (np.bincount(traces.context[mine], minlength=CONTEXTS) + 1)
    settings = replace(SETTINGS, tau=0.0)
    known = calibrate(
        opportunities(traces, rates[traces.column, traces.context]), CONTEXTS, settings
    )
    return _fixed(sample, known, lambda seen: rates[seen.column, seen.context], settings, rng)


def marginal_e_detector(sample: Sample, size: int, rng: np.random.Generator) -> Row:
    """The same tests over one rate per trajectory, whatever its situation."""
    settings = replace(SETTINGS, tau=0.0)

    def row(column: int, scenario: str, onset: int, steps: int, streams: int) -> Singles:
        fitted = draw(usual(), size, rng)
        hits = fitted.trajectory[fitted.taken & (fitted.column == column)]
        unsafe = np.bincount(hits, minlength=size) > 0
        rate = float(unsafe.mean())
        known = calibrate(_one_each(unsafe, rate), 1, settings)
        before = pool(known, _one_each(sample.unsafe("none", column), rate), 0, settings)
        after = pool(known, _one_each(sample.unsafe(scenario, column), rate), 0, settings)
        return paths(before, after, onset, steps, streams, rng)

    return row


def _one_each(unsafe: Flags, rate: float) -> list[Opportunities]:
    return [Opportunities.of([0], [rate], [bool(x)]) for x in unsafe]


def _fixed(
    sample: Sample,
    known: Calibration,
    hazard: Callable[[Traces], Floats],
    settings: Settings,
    rng: np.random.Generator,
) -> Row:
    def row(column: int, scenario: str, onset: int, steps: int, streams: int) -> Singles:
        made = [
            pool(known, opportunities(traces, hazard(traces)), WATCHED[column], settings)
            for traces in (of_column(sample.traces[name], column) for name in ("none", scenario))
        ]
        return paths(made[0], made[1], onset, steps, streams, rng)

    return row


def of_column(traces: Traces, column: int) -> Traces:
    """Only the opportunities of one column of `WATCHED`."""
    mine = traces.column == column
    return Traces(
        traces.trajectories,
        *(getattr(traces, name)[mine] for name in Traces.__slots__[1:]),
    )


def marginal(sample: Sample, name: str, rng: np.random.Generator) -> Row:
    """A detector of `detectors.marginal`, told the usual share of unsafe trajectories."""
    return _over_indicators(sample, lambda streams, rate: MARGINAL[name](streams, rate).update, rng)


def batches(sample: Sample, size: int, rng: np.random.Generator) -> Row:
    """Population stability index of batches of `size` over {safe, unsafe}; it stands at a batch's
    last trajectory and is 0 elsewhere.
    """

    def make(streams: int, rate: float) -> Callable[[Flags], Floats]:
        total, count = np.zeros(streams), 0

        def update(unsafe: Flags) -> Floats:
            nonlocal total, count
            total, count = total + unsafe, count + 1
            if count % size:
                return np.zeros(streams)
            share = np.clip(total / size, 1e-4, 1 - 1e-4)
            total = np.zeros(streams)
            score: Floats = (share - rate) * np.log(share * (1 - rate) / (rate * (1 - share)))
            return score

        return update

    return _over_indicators(sample, make, rng)


def _over_indicators(
    sample: Sample,
    make: Callable[[int, float], Callable[[Flags], Floats]],
    rng: np.random.Generator,
) -> Row:
    def row(column: int, scenario: str, onset: int, steps: int, streams: int) -> Singles:
        before, after = sample.unsafe("none", column), sample.unsafe(scenario, column)
        update = make(streams, float(before.mean()))
        out = np.empty((steps, streams), np.float32)
        for step in range(steps):
            source = before if step < onset else after
            out[step] = update(source[rng.integers(0, len(source), streams)])
        return out

    return row


def oracle(sample: Sample, rng: np.random.Generator) -> Row:
    """The best one-sided detector: knows the old and the new hazards exactly."""

    def row(column: int, scenario: str, onset: int, steps: int, streams: int) -> Singles:
        target = SCENARIOS[scenario].change(usual())
        made = [
            likelihood_ratios(of_column(sample.traces[name], column), usual(), target)
            for name in ("none", scenario)
        ]
        return paths(made[0], made[1], onset, steps, streams, rng)

    return row


def likelihood_ratios(traces: Traces, before: World, after: World) -> Pool:
    """Likelihood ratios of trajectories under the world after, where riskier, and before."""
    old = np.clip(_hazards(traces, before), 1e-9, 1 - 1e-9)
    new = np.maximum(old, np.clip(_hazards(traces, after), 1e-9, 1 - 1e-9))
    step = np.where(traces.taken, np.log(new / old), np.log((1 - new) / (1 - old)))
    total = np.asarray(np.bincount(traces.trajectory, step, traces.trajectories), np.float64)
    one = np.ones((1, 1), np.float32)
    ticks = np.ones(traces.trajectories, np.float32)
    return Pool(np.exp(total).astype(np.float32)[:, None, None], ticks, one)


def _hazards(traces: Traces, world: World) -> Floats:
    """Hazard of each opportunity had the world been another."""
    where, column = traces.context, traces.column
    odds = (world.hazard / (1 - world.hazard))[where, column]
    odds = odds * np.where(traces.after_error, world.after_error[where, column], 1.0)
    odds = odds * np.where(traces.repeated, world.repeated[column], 1.0)
    chance = odds / (1 + odds) * world.rise[where, column]
    chance = chance * np.where(traces.after_error, world.error_rise[where, column], 1.0)
    fixed = world.fixed[column]
    out: Floats = np.where(np.isfinite(fixed), fixed, np.minimum(1.0, chance))
    return out
