"""Delay over the oracle's on simulated worlds other than the published one, by choice of bets.

    python -m benchmarks.worlds [--worlds 3] [--reference 50000] [--seed 1]

The bets and their weights were chosen here, so that the permanent scenarios of
`detectors.simulate` (`python -m benchmarks.detection`) stay unseen. Each world has a mix, hazards,
failures and interactions of its own; each change has another size, or sits in another context.
Every row is calibrated to one measured mean run length of 5,000 trajectories, tau 0.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from benchmarks.calibrated import ARL, WARM, runs_until_first
from benchmarks.streams import SETTINGS, likelihood_ratios, of_column
from detectors.bets import BETS, Bet, tilt
from detectors.evaluate import report
from detectors.run_length import Pool, first_passage, paths, pool, threshold_for
from detectors.sequential import Settings
from detectors.simulate import (
    CONTEXTS,
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

CHOICES: Mapping[str, tuple[Bet, ...]] = {
    "the bets": BETS,
    "six factors alike": tuple(tilt(odds, 1 / 6, 1 / 6) for odds in (1.5, 2.2, 4, 8, 20, 60)),
}
NULL_STEPS, NULL_STREAMS = 15_000, 240
STEPS, STREAMS = 3_000, 480
POOL, REFERENCES = 40_000, 4

Change = Callable[[World], World]
Known = tuple[Learned, Calibration]


def other(seed: int) -> World:
    """A world of its own."""
    rng = np.random.default_rng([77, seed])
    spread = np.exp(rng.normal(0, 0.7, (CONTEXTS, 3)))
    offered = rng.uniform([0.2, 0.15, 0.4], [0.6, 0.4, 0.8], (CONTEXTS, 3))
    return replace(
        usual(),
        mix=rng.dirichlet(np.full(CONTEXTS, 4.0)),
        calls=float(rng.uniform(4, 9)),
        failure=rng.uniform(0.03, 0.25, CONTEXTS),
        offered=offered,
        hazard=np.minimum(0.3, np.array([0.025, 0.04, 0.0006]) * spread),
        after_error=np.exp(rng.normal(0.6, 0.35, (CONTEXTS, 3))),
        repeated=np.exp(rng.normal(0.35, 0.15, 3)),
    )


def changes(seed: int) -> Mapping[str, tuple[int, Change]]:
    """Name to the column to look at and the change."""
    one, two, three = np.random.default_rng([78, seed]).choice(CONTEXTS, 3, replace=False).tolist()

    def rise(column: int, factor: float, context: int | None = None, rest: bool = False) -> Change:
        def change(world: World) -> World:
            risen = world.rise.copy()
            if rest and context is not None:  # the marginal rate stays, as far as it can
                load = (world.mix * world.offered[:, column] * world.hazard[:, column]).tolist()
                share = load[context] / (sum(load) - load[context])
                risen[:, column] *= max(0.2, 1 - (factor - 1) * share)
                risen[context, column] = world.rise[context, column]
            risen[slice(None) if context is None else context, column] *= factor
            return replace(world, rise=risen)

        return change

    def level(column: int, hazard: float) -> Change:
        def change(world: World) -> World:
            fixed = world.fixed.copy()
            fixed[column] = hazard
            return replace(world, fixed=fixed)

        return change

    return {
        "x1.4": (0, rise(0, 1.4)),
        "x1.7": (0, rise(0, 1.7)),
        "x3": (0, rise(0, 3.0)),
        "20 % always": (1, level(1, 0.2)),
        "40 % always": (1, level(1, 0.4)),
        "rare x6": (2, rise(2, 6.0)),
        "rare x20": (2, rise(2, 20.0)),
        "x3 in one context": (0, rise(0, 3.0, one)),
        "x5 in one context": (0, rise(0, 5.0, two)),
        "x4, others fall": (0, rise(0, 4.0, three, rest=True)),
    }


def delay(
    before: list[Pool], after: list[Pool], threshold: float, rng: np.random.Generator
) -> float:
    """Mean delay of streams shared out over the references, in trajectories."""
    each = STREAMS // len(before)
    path = np.concatenate(
        [
            paths(one, two, WARM, WARM + STEPS, each, rng)
            for one, two in zip(before, after, strict=True)
        ],
        axis=1,
    )
    first = first_passage(path, threshold)
    return report(runs_until_first(first, WARM + STEPS, WARM + 1)).delay_mean


def threshold_of(pools: list[Pool], rng: np.random.Generator) -> float:
    each = NULL_STREAMS // len(pools)
    null = [paths(one, None, 0, NULL_STEPS, each, rng) for one in pools]
    return threshold_for(np.concatenate(null, axis=1), ARL)


def pools_of(traces: Traces, column: int, known: list[Known], how: Settings) -> list[Pool]:
    """The traces' e-values under each reference."""
    return [
        pool(calibration, opportunities(traces, learned.hazards(traces)), WATCHED[column], how)
        for learned, calibration in known
    ]


def ratios(seed: int, size: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Per change, the delay over the oracle's of every choice."""
    world, settings = other(seed), replace(SETTINGS, tau=0.0)
    same = draw(world, POOL, rng)
    known: list[Known] = []
    for _ in range(REFERENCES):
        traces = draw(world, size, rng)
        learned = learn(traces, rng)
        own = opportunities(traces, learned.hazards(traces, own=True))
        known.append((learned, calibrate(own, CONTEXTS, settings)))
    thresholds: dict[tuple[str, int], float] = {}
    pools: dict[tuple[str, int], list[Pool]] = {}
    out: dict[str, list[float]] = {}
    for change, (column, made) in changes(seed).items():
        target = made(world)
        moved = draw(target, POOL, rng)
        best = [likelihood_ratios(of_column(each, column), world, target) for each in (same, moved)]
        oracle = delay(best[:1], best[1:], threshold_of(best[:1], rng), rng)
        found: list[float] = []
        for name, bets in CHOICES.items():
            how = replace(settings, bets=bets)
            if (name, column) not in pools:
                pools[name, column] = pools_of(of_column(same, column), column, known, how)
                thresholds[name, column] = threshold_of(pools[name, column], rng)
            after = pools_of(of_column(moved, column), column, known, how)
            found.append(delay(pools[name, column], after, thresholds[name, column], rng) / oracle)
        out[change] = found
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--reference", type=int, default=50_000, help="trajectories")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"| world | change | {' | '.join(CHOICES)} |\n| --: | --- | {'--: | ' * len(CHOICES)}")
    for number in range(1, options.worlds + 1):
        rng = np.random.default_rng([options.seed, number])
        for change, found in ratios(number, options.reference, rng).items():
            row = " | ".join(f"{each:.2f}" for each in found)
            print(f"| {number} | {change} | {row} |", flush=True)


if __name__ == "__main__":
    main()
