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
"""Trajectories with an opportunity of a category below which it is not simulated; where none has
as many, the guaranteed threshold stays."""
DRAWN: Final = 4_000
"""Trajectories per category that streams are drawn from: a part of a larger reference, copies of a
smaller one, each with outcomes of its own. With few, the rate that was drawn and not the one bet
against would decide."""
STREAMS: Final = 600
LEVEL: Final = 100.0
"""Simulated streams per category, up to this threshold: the factor is known to 4 %."""
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
    for number, track in enumerate(TRACKS):
        own = [each[number] for each in crossed]
        found = [
            _threshold(how, calibrations[number], int(category), own, rng)
            for category in np.flatnonzero(calibrations[number].knows())
        ]
        measured = [threshold for threshold in found if threshold is not None]
        # the least favourable category's; those too rare to be simulated have what is guaranteed
        out[track] = guaranteed(how) - max(measured, default=guaranteed(how))
    return out


def _threshold(
    settings: Settings,
    calibration: Calibration,
    category: int,
    own: Sequence[Opportunities],
    rng: np.random.Generator,
) -> float | None:
    mine = [each.only(each.category == category) for each in own]
    mine = [each for each in mine if len(each)]
    if len(mine) < FEWEST:
        return None
    chosen: list[int] = np.resize(rng.permutation(len(mine)), DRAWN).tolist()
    drawn = [mine[place] for place in chosen]
    return calibrated(settings, calibration, drawn, rng, STREAMS, LEVEL)


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


def paging(document: Mapping[str, Any], track: int, settings: Settings) -> Settings:
    """The settings with the threshold that pages: the calibrated one where it is asked for and was
    measured.
    """
    if not settings.calibrated:
        return settings
    return replace(settings, threshold=calibrated_threshold(document, track, settings))
