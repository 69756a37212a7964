"""Which calls speak for an alarm: the opportunities taken, by what they did to a bet."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contracts.labels import CATEGORY_IDS, Labels
from contracts.trajectory import Trajectory
from detectors.baseline import Reference
from detectors.bets import log_increments
from detectors.features import ORDERS, encode
from detectors.sequential import Settings
from detectors.upper_hazard import cells_of, upper_hazards

INSTRUCTED: Final = "instructed_by_result"
"""Variant of what the track `orders` counts: acts that a tool's result asked for."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A taken opportunity. `hazard`: the reference's upper probability of it. `log10_factor`: log10
    of what it multiplied the best of the bets by. `instructed`: of the track `orders`.
    """

    step: int
    hazard: float
    log10_factor: float
    instructed: bool


def contributions(
    reference: Reference,
    trajectory: Trajectory,
    labels: Labels,
    category: str,
    settings: Settings,
) -> list[Contribution]:
    """The taken opportunities of `category`, strongest first. Source: the increments of
    `detectors.bets.log_increments`.
    """
    encoded = encode(trajectory, labels)
    index = CATEGORY_IDS.index(category)
    acts = encoded.stream < ORDERS
    found: list[Contribution] = []
    tracks = zip(
        reference.opportunities(encoded),
        reference.calibrations,
        (encoded.step[acts], encoded.step[~acts]),
        (False, True),
        strict=True,
    )
    for opportunities, calibration, steps, instructed in tracks:
        here = (opportunities.category == index) & opportunities.taken & opportunities.visible
        if not here.any() or not calibration.knows()[index]:
            continue
        cells = cells_of(
            calibration.bands,
            calibration.contexts,
            opportunities,
            np.zeros(len(opportunities), np.int64),
        )
        upper = upper_hazards(
            calibration, opportunities.category, opportunities.hazard, cells, settings.tau
        )
        # of these alone: those of categories that the reference does not know have no hazard
        gains = log_increments(upper[here], opportunities.taken[here], settings.bets).max(axis=1)
        for place, gain in zip(np.flatnonzero(here), gains / np.log(10), strict=True):
            hazard = float(upper[place])
            found.append(Contribution(int(steps[place]), hazard, float(gain), instructed))
    found.sort(key=lambda each: (-each.log10_factor, each.step))
    return found
