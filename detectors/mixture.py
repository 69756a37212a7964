"""A category's statistic: the weighted mean over cells and bets, in logs."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from detectors.bets import shares
from detectors.sequential import Floats, Settings
from detectors.upper_hazard import ALL, Calibration


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Logs of weights, `-inf` for none: of cells (categories, cells), of bets (cells, bets)."""

    cells: Floats
    bets: Floats
    linear: Floats


@lru_cache(maxsize=256)
def mixture_of(calibration: Calibration, settings: Settings) -> Mixture:
    part = np.ones(calibration.cells, np.int64)
    part[ALL] = 0
    with np.errstate(divide="ignore"):
        of_cells = np.log(shares(settings.bets))[part]
        return Mixture(np.log(calibration.weight), of_cells, calibration.weight)


def mixture_weights(calibration: Calibration, settings: Settings) -> Floats:
    """Weight of every e-detector in its category's statistic; (categories, cells, bets)."""
    mixture = mixture_of(calibration, settings)
    weights: Floats = np.exp(mixture.cells[:, :, None] + mixture.bets)
    return weights


def over_bets(log_values: Floats, log_shares: Floats) -> Floats:
    """Log of the weighted sum over the last axis; -inf where all are nothing."""
    terms = log_values + log_shares
    top: Floats = terms.max(axis=-1)
    shift = np.where(top == -np.inf, 0.0, top)
    with np.errstate(divide="ignore"):
        out: Floats = np.log(np.exp(terms - shift[..., None]).sum(axis=-1))
    return out + shift


def over_cells(inner: Floats, pending: Floats, log_weight: Floats) -> Floats:
    """Log of the weighted sum over cells, plus the starts since each was last advanced, which have
    no increments yet; (categories,). 0 where there is nothing.
    """
    value = over_bets(inner, log_weight)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN stays NaN and is reported
        value = np.logaddexp(value, np.log(np.maximum(pending, 0.0)))
    return np.where(value == -np.inf, 0.0, value)
