"""Since when: the estimated first changed trajectory, and an interval for it."""

import math

import numpy as np

from detectors.detector import DetectorState
from detectors.sequential import Floats, Integers
from detectors.upper_hazard import Calibration

_ODDS = np.array([1.5, 2.2, 4.0, 8.0, 20.0, 60.0])
"""Factors of a rise among which the interval looks for the one that fits."""


def onset(state: DetectorState, calibration: Calibration, category: int) -> int | None:
    """Trajectory number where the winning cell and bet last rose from its floor; None before any.

    The maximum-likelihood change point under that bet: the last minimum of the log e-process (Page
    1954; Lorden 1971).
    """
    with np.errstate(divide="ignore"):
        weighed = state.log_m[category] + np.log(calibration.weight[category])[:, None]
    if not bool(np.isfinite(weighed).any()):
        return None
    best = int(np.argmax(np.where(np.isfinite(weighed), weighed, -np.inf)))
    return int(state.start[category].ravel()[best]) or None


def onset_interval(taken: Integers, expected: Floats, alpha: float) -> tuple[int, int, int]:
    """Earliest, most likely and latest first changed trajectory, counted from 1.

    `taken`, `expected`: per trajectory up to the alarm, as in the view `evidence`; shape (n,).
    With l(v) the log-likelihood ratio of a change at v under the tilt that fits best, the interval
    is {v : l(v) >= max l - log(2 / alpha)}. For v before the true onset exp(l(v) - l(onset)) is,
    going back, a product of null e-values; after it, of likelihood ratios of null to alternative,
    with mean one under the tilt: Ville's inequality for each side gives coverage 1 - alpha where
    the tilt is right. Poisson form exp(theta x - u (e^theta - 1)), an e-value for Bernoulli sums
    because 1 + u z <= e^(u z). Raises `ValueError` for no trajectories.
    """
    if not len(taken) or len(taken) != len(expected):
        raise ValueError("taken and expected must be of the same trajectories, at least one")
    gains = taken[:, None] * np.log(_ODDS) - expected[:, None] * (_ODDS - 1.0)
    since = np.cumsum(gains[::-1], axis=0)[::-1]
    best = int(np.argmax(since.max(axis=0)))
    profile = since[:, best]
    inside = np.flatnonzero(profile >= profile.max() - math.log(2.0 / alpha))
    return int(inside[0]) + 1, int(np.argmax(profile)) + 1, int(inside[-1]) + 1
