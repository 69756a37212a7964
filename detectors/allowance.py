"""How far below the guaranteed threshold the calibrated one lies, per reference and track."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from detectors.features import TRACKS
from detectors.run_length import calibrated
from detectors.sequential import Opportunities, Settings
from detectors.threshold import guaranteed
from detectors.upper_hazard import Calibration

FEWEST: Final = 100
"""Trajectories of a reference below which the guaranteed threshold stays."""
DRAWN: Final = 10_000
"""Trajectories that are simulated: a part of a larger reference, copies of a smaller one, each with
outcomes of its own. With few, the rate that was drawn and not the one bet against would decide."""
KEY: Final = "calibrated"
"""Where a baseline's document keeps it."""


def allowances(
    settings: Settings,
    calibrations: Sequence[Calibration],
    crossed: Sequence[Sequence[Opportunities]],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Per track, log of the guaranteed over the calibrated threshold, and the materiality `tau`
    that it was measured at. `crossed`: the reference's trajectories under cross-fitted hazards, per
    track. It does not depend on the mean run length (`run_length.calibrated`).
    """
    how = replace(settings, mode="monitor", threshold=None)
    out = {"tau": settings.tau}
    if len(crossed) < FEWEST:
        return out | dict.fromkeys(TRACKS, 0.0)
    chosen: list[int] = np.resize(rng.permutation(len(crossed)), DRAWN).tolist()
    for number, track in enumerate(TRACKS):
        own = [crossed[place][number] for place in chosen]
        threshold = calibrated(how, calibrations[number], own, rng)
        out[track] = guaranteed(how) - threshold
    return out


def calibrated_threshold(
    document: Mapping[str, Any], track: int, settings: Settings
) -> float | None:
    """Log of the calibrated threshold; None where none was measured with this materiality (a
    declared ceiling, a gate, another `tau`).
    """
    measured: Mapping[str, float] = document.get(KEY, {})
    if settings.mode == "gate" or measured.get("tau") != settings.tau:
        return None
    return guaranteed(replace(settings, threshold=None)) - measured[TRACKS[track]]
