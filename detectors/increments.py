"""Which opportunities count, and what each trajectory adds to the log e-values of its cells."""

import numpy as np

from detectors.bets import log_increments
from detectors.sequential import (
    CATEGORIES,
    Flags,
    Floats,
    Integers,
    Opportunities,
    Settings,
)
from detectors.upper_hazard import ALL, CONTEXTS_FROM, NO_ERROR, Calibration


def sieve(every: Opportunities, calibration: Calibration) -> tuple[Flags, Flags, Flags]:
    """Which opportunities count; which are in the reference's support; whose hazard is a rate."""
    knows = calibration.knows()[every.category]
    if calibration.declared:
        return every.visible & knows, knows, np.ones(len(every), np.bool_)
    supported = knows & (every.cell >= 0)
    if calibration.contexts:
        supported &= every.cell < calibration.contexts
        context = CONTEXTS_FROM + np.where(supported, every.cell, 0)
        supported &= calibration.opportunities[every.category, context] > 0
    supported &= calibration.opportunities[every.category, NO_ERROR + every.after_error] > 0
    finite = (every.hazard >= 0) & (every.hazard <= 1)
    return every.visible & supported & finite, supported, finite


def ticks_of(log_m: Floats, touched: Flags, begun: Flags) -> Flags:
    """Which categories' clocks tick, (n, categories): for trajectories with a first opportunity.

    `touched`: there are opportunities; `begun`: others of the trajectory were consumed before. A
    test that has not begun yet (`log_m`, the e-detectors') begins with whatever comes.
    """
    ticks = touched & ~begun
    if begun.any():
        starts = np.flatnonzero((log_m == -np.inf).all(axis=(1, 2)) & touched.any(axis=0))
        ticks[touched[:, starts].argmax(axis=0), starts] = True
    return ticks


def steps_of(
    calibration: Calibration,
    every: Opportunities,
    place: Integers,
    trajectory: Integers,
    upper: Floats,
    settings: Settings,
) -> tuple[Integers, Integers, Floats]:
    """Log increments summed per trajectory, category and cell, sorted by trajectory.

    Trajectory (rows,), category * cells + cell (rows,), increments (rows, bets). Where clusters of
    the reference's trajectories move together with dispersion phi, e-values are raised to 1 / phi:
    still e-values if they did not (Jensen), and to second order if they do, since a sum with phi
    times the variance, divided by phi, has the moments the bet assumes (quasi-likelihood,
    Wedderburn 1974).
    """
    cells = calibration.cells
    increments = log_increments(upper, every.taken, settings.bets)
    increments /= calibration.temper[every.category, None]
    bets = calibration.weight[every.category[:, None], place] > 0
    bets[:, 1:] &= place[:, 1:] != ALL
    rows, columns = np.nonzero(bets)
    key = (trajectory[rows] * CATEGORIES + every.category[rows]) * cells + place[rows, columns]
    if not len(key):
        return key, key, increments[:0]
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    totals = np.add.reduceat(increments[rows[order]], starts, axis=0)
    key = key[starts]
    return key // (CATEGORIES * cells), key % (CATEGORIES * cells), totals
