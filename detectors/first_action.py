"""What is done first: the rate at which a trajectory begins with the unsafe action."""

import math
from dataclasses import dataclass

from detectors.confidence import rate_interval
from detectors.detector import FIRST_ACTIONS, FIRST_TAKEN, DetectorState
from detectors.mixture import mixture_of, over_bets
from detectors.sequential import Settings
from detectors.upper_hazard import FIRST, Calibration


@dataclass(frozen=True, slots=True)
class FirstActions:
    """Of one category: opportunities that were the first substantive action or the first of their
    family, how many were taken, anytime-valid bounds on the rate, and log10 of the e-process on
    them alone (1 / alpha is reached with chance at most alpha), 0 without a first action in the
    reference.
    """

    opportunities: int
    taken: int
    rate_lower: float
    rate_upper: float
    evidence_log10: float


def first_actions(
    state: DetectorState, calibration: Calibration, category: int, settings: Settings
) -> FirstActions:
    """First actions since the start. The bets are those of the cell of first actions, an e-process
    by Shin, Ramdas & Rinaldo 2022, section 3.
    """
    n = int(state.counts[FIRST_ACTIONS, category])
    taken = int(state.counts[FIRST_TAKEN, category])
    lower, upper = rate_interval(taken, n, settings.alpha)
    evidence = 0.0
    if n and calibration.weight[category, FIRST] > 0:
        shares = mixture_of(calibration, settings).bets[FIRST]
        evidence = float(over_bets(state.log_e[category, FIRST], shares)) / math.log(10)
    return FirstActions(n, taken, lower, upper, evidence)
