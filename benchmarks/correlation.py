"""How often null streams ever alarm at the gate, and which correlation breaks the guarantee.

Trajectories come in bursts that share a random offset on the logit scale, in the reference and in
the streams alike; nothing changes. Each stream has a reference of its own, and goes through the
product's increments and mixture.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from detectors.confidence import wilson_interval
from detectors.run_length import pool
from detectors.sequential import Floats, Integers, Opportunities, Settings
from detectors.threshold import guaranteed
from detectors.upper_hazard import Calibration, calibrate

RATE, EACH, BURST = 0.05, 2, 20
"""Opportunities are taken at 5 %, two a trajectory; 20 trajectories in a row share an offset."""

REFERENCE, STEPS = 5_000, 2_000
"""Trajectories of a reference and of a stream."""

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Standard deviations of the offset, on the logit scale."""

GATE = Settings(mode="gate", alpha=0.05, categories=1)
POSSIBLE = [
    Opportunities.of([0] * EACH, [RATE] * EACH, [bool(code >> k & 1) for k in range(EACH)])
    for code in range(1 << EACH)
]
"""Every trajectory there can be, by the bits of what was taken."""

VARIANTS = ((0.0, False), (0.2, False), (0.0, True), (0.2, True))
"""Materiality, and whether the reference is told of the bursts."""

CELLS = len(STRENGTHS)

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the streams ever alarm in each of `VARIANTS`. `correlation`: of two opportunities
    in one burst; `overdispersion`: mean of what references told of the bursts see.
    """

    strength: float
    correlation: float
    overdispersion: float
    streams: int
    alarms: tuple[int, ...]

    def line(self) -> str:
        """A row of the table, a variant whose interval is above alpha marked."""
        shown: list[str] = []
        for alarms in self.alarms:
            low, high = wilson_interval(alarms, self.streams)
            broken = " **broken**" if low > GATE.alpha else ""
            shown.append(f"{alarms / self.streams:.1%} ({low:.1%}-{high:.1%}){broken}")
        figures = f"{self.strength:g} | {self.correlation:.3f} | {self.overdispersion:.1f}"
        return f"| {figures} | {' | '.join(shown)} |"


def centre(strength: float) -> float:
    """The logit at which rates with that deviation have the mean `RATE`, by bisection."""
    low, high = -20.0, 0.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if _moment(middle, strength, 1) > RATE else (middle, high)
    return low


def correlation(strength: float) -> float:
    """Of two opportunities in one burst: variance of the shared rate over RATE (1 - RATE)."""
    variance = _moment(centre(strength), strength, 2) - RATE**2
    return max(0.0, variance / (RATE * (1 - RATE)))


def _moment(middle: float, strength: float, power: int) -> float:
    """E[rate ** power] by Gauss-Hermite quadrature."""
    rates = 1 / (1 + np.exp(-(middle + strength * _NODES)))
    return float((rates**power * _WEIGHTS).sum() / _WEIGHTS.sum())


def trajectories(strength: float, count: int, rng: np.random.Generator) -> Integers:
    """That many trajectories in bursts, as indices into `POSSIBLE`."""
    offsets = rng.normal(0, strength, count // BURST + 1) + centre(strength)
    rates = np.repeat(1 / (1 + np.exp(-offsets)), BURST)[:count]
    taken = rng.random((count, EACH)) < rates[:, None]
    return taken @ (1 << np.arange(EACH))


def opportunities(drawn: Integers) -> list[Opportunities]:
    """The trajectories of those indices."""
    indices: list[int] = drawn.tolist()
    return [POSSIBLE[index] for index in indices]


def peak(known: Calibration, stream: Integers, settings: Settings) -> float:
    """The largest log e-value that a stream of trajectories reaches against a reference."""
    drawn = pool(known, POSSIBLE, 0, settings)
    log_e: Floats = np.cumsum(np.log(drawn.increment, dtype=np.float64)[stream], axis=0)
    top = log_e.max(axis=(1, 2), keepdims=True)
    mixed = np.log((np.exp(log_e - top) * drawn.weight).sum(axis=(1, 2))) + top[:, 0, 0]
    return float(mixed.max())


def share(strength: float, streams: int, rng: np.random.Generator) -> Share:
    """The figures of one strength."""
    alarms, dispersion = [0] * len(VARIANTS), 0.0
    bursts = [index // BURST for index in range(REFERENCE)]
    limit = guaranteed(GATE)
    for _ in range(streams):
        reference = opportunities(trajectories(strength, REFERENCE, rng))
        stream = trajectories(strength, STEPS, rng)
        known = {
            told: calibrate(reference, 1, GATE, clusters=bursts if told else None)
            for told in (False, True)
        }
        dispersion += float(known[True].overdispersion[0]) / streams
        for index, (tau, told) in enumerate(VARIANTS):
            alarms[index] += peak(known[told], stream, replace(GATE, tau=tau)) >= limit
    return Share(strength, correlation(strength), dispersion, streams, tuple(alarms))


def null_study(
    rng: np.random.Generator, streams: int, progress: Callable[[], None]
) -> Iterator[str]:
    """The table of ever-alarm shares, as Markdown lines; `progress` is called after each."""
    yield (
        f"{streams} streams of {STEPS:,} trajectories, each against a reference of {REFERENCE:,},"
        f" {EACH} opportunities each at {RATE:.0%}; bursts of {BURST} trajectories share a random"
        f" offset. Alpha {GATE.alpha:g}."
    )
    yield ""
    variants = [f"tau {tau:g}, bursts{'' if told else ' not'} told" for tau, told in VARIANTS]
    columns = ("deviation of the offset (logit)", "correlation in a burst", "overdispersion")
    yield f"| {' | '.join((*columns, *variants))} |"
    yield f"| {' | '.join('--:' for _ in (*columns, *variants))} |"
    for strength in STRENGTHS:
        yield share(strength, streams, rng).line()
        progress()
