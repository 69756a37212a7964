"""Which of many verdicts stand out together: false discoveries over subjects and categories."""

import math
from collections.abc import Sequence

import numpy as np

from detectors.sequential import Flags


def e_bh(evidence_log10: Sequence[float], alpha: float) -> Flags:
    """Which e-values are discoveries at false discovery rate alpha, whatever their dependence.

    The k largest of n, for the largest k whose k-th largest e-value is at least n / (k alpha).
    Source: Wang & Ramdas 2022 (e-BH), theorem 2. e-values must be of fixed or stopping times: those
    of `gate` mode, and the e-detector's only for the trajectories since its last restart. NaN never
    is a discovery.
    """
    if not 0 < alpha < 1:
        raise ValueError("alpha is between 0 and 1")
    values = np.asarray(evidence_log10, np.float64)
    values = np.where(np.isnan(values), -np.inf, values)
    n = len(values)
    order = np.argsort(-values, kind="stable")
    limits = np.log10(n / (np.arange(1, n + 1) * alpha)) if n else np.zeros(0)
    enough = np.flatnonzero(values[order] >= limits - 1e-12)
    out = np.zeros(n, np.bool_)
    if len(enough):
        out[order[: enough[-1] + 1]] = True
    return out


def spent(alpha: float, stage: int) -> float:
    """Share of alpha for the stage-th test (from 1) of an open-ended series; the sum is alpha.

    6 / (pi^2 k^2), as in alpha spending for a subject's successive versions (Foster & Stine 2008).
    """
    if stage < 1:
        raise ValueError("stages count from 1")
    return alpha * 6.0 / (math.pi * stage) ** 2
