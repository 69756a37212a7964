"""How often null streams ever alarm at the gate, and which correlation breaks the guarantee."""

import numpy as np

from detectors.confidence import wilson_interval
from detectors.sequential import TILTS, Floats, Opportunities, Settings, log_increments
from detectors.upper_hazard import ALL, calibrate

RATE, EACH, BURST = 0.05, 2, 20
"""Opportunities are taken at 5 %, two a trajectory; 20 trajectories in a row share an offset."""

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Standard deviations of the offset, on the logit scale."""


def _rates(strength: float, rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Rates with mean `RATE`, shared by each burst; (rows, columns)."""
    offsets = rng.normal(0, strength, (rows // BURST + 1, columns))
    raw = RATE / (1 - RATE) * np.exp(offsets)
    rates = raw / (1 + raw)
    return np.repeat(rates * RATE / rates.mean(), BURST, axis=0)[:rows]


def ever(
    strength: float, tau: float, clusters: bool, streams: int, rng: np.random.Generator
) -> tuple[int, float]:
    """How many of the streams of 2,000 trajectories ever alarm at alpha 0.05, and the
    overdispersion that the reference of 5,000 trajectories shows.
    """
    settings = Settings(mode="gate", alpha=0.05, categories=1, tau=tau)
    size, steps = 5_000, 2_000
    taken = rng.random((size, EACH)) < _rates(strength, size, 1, rng)
    known = calibrate(
        [Opportunities.of([0] * EACH, [RATE] * EACH, row.tolist()) for row in taken],
        1,
        settings,
        clusters=[i // BURST for i in range(size)] if clusters else None,
    )
    upper = np.array([min(1.0, RATE * float(known.upper[0, ALL]) * (1 + tau))])
    won = log_increments(upper, np.array([True]), TILTS)[0] / known.temper[0]
    lost = log_increments(upper, np.array([False]), TILTS)[0] / known.temper[0]
    alarms = 0
    for begin in range(0, streams, 100):
        count = min(100, streams - begin)
        hits = rng.binomial(EACH, _rates(strength, steps, count, rng))
        log_e = np.cumsum(hits[:, :, None] * won + (EACH - hits[:, :, None]) * lost, axis=0)
        mixed = np.logaddexp.reduce(log_e, axis=2) - np.log(len(TILTS))
        alarms += int((mixed.max(axis=0) >= np.log(1 / settings.alpha)).sum())
    return alarms, float(known.overdispersion[0])


def print_null_study(rng: np.random.Generator, quick: bool) -> None:
    """The table of ever-alarm shares by correlation strength."""
    streams = 200 if quick else 500
    print(
        f"\n### Null streams that ever alarm at the gate, alpha 0.05\n\n{streams} streams of 2,000"
        f" trajectories, {EACH} opportunities each at {RATE:.0%}; bursts of {BURST} trajectories"
        " share a random offset.\n\n| deviation of the offset (logit) | overdispersion | tau 0,"
        " bursts not told | tau 0, bursts told | tau 0.2, bursts told |\n| --: | --: | --: | --: |"
        " --: |"
    )
    for strength in STRENGTHS:
        shown: list[str] = []
        dispersion = 1.0
        for tau, clusters in ((0.0, False), (0.0, True), (0.2, True)):
            alarms, seen = ever(strength, tau, clusters, streams, rng)
            dispersion = max(dispersion, seen)
            low, high = wilson_interval(alarms, streams)
            broken = " **broken**" if low > 0.05 else ""
            shown.append(f"{alarms / streams:.1%} ({low:.1%}-{high:.1%}){broken}")
        print(f"| {strength:g} | {dispersion:.1f} | {' | '.join(shown)} |", flush=True)
