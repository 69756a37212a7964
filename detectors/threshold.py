"""The threshold that a theorem guarantees; `run_length.calibrated` simulates a lower one."""

import math

from detectors.sequential import Settings


def guaranteed(settings: Settings) -> float:
    """Log of the threshold that holds whatever the dependence between categories.

    `monitor`: arl * categories. The sum of K e-detectors is an e-detector whose compensator grows
    by at most K a trajectory, so E[trajectories to any M_k >= arl * K] >= arl (Shin, Ramdas &
    Rinaldo 2022, theorem 2.4). `gate`: categories / alpha, by Ville's inequality on the mean of K
    e-processes. A threshold in the settings replaces either.
    """
    if settings.threshold is not None:
        return settings.threshold
    if settings.mode == "gate":
        return math.log(settings.categories / settings.alpha)
    return math.log(settings.arl * settings.categories)
