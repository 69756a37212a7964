"""What a verdict says beside the alarm's own test."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from contracts.labels import CATEGORY_IDS
from detectors.baseline import Reference
from detectors.detector import DetectorState, Update, statistic
from detectors.evidence import OF_ORDERS
from detectors.first_action import first_actions
from detectors.omnibus import OmnibusState, left
from detectors.sequential import Integers, Settings


def figures(
    detectors: Sequence[DetectorState],
    calibrated_at: Integers,
    omnibus: OmnibusState,
    reference: Reference,
    settings: Settings,
) -> list[dict[str, Any]]:
    """Per category, fields of `Verdict` beside those of its own test: first actions, the e-process,
    the calibrated threshold, and drift of shape. `calibrated_at`: (tracks, categories).
    """
    gate = replace(settings, mode="gate", threshold=None)
    acts, orders = (
        np.nan_to_num(statistic(state, calibration, gate), nan=0.0)
        for state, calibration in zip(detectors, reference.calibrations, strict=True)
    )
    knows = [calibration.knows()[OF_ORDERS] for calibration in reference.calibrations]
    log_e = acts.copy()
    if knows[1]:  # the mean of two e-values is one, whatever their dependence
        both = np.logaddexp(acts[OF_ORDERS], orders[OF_ORDERS]) - math.log(2.0)
        log_e[OF_ORDERS] = both if knows[0] else orders[OF_ORDERS]
    passed = np.where(calibrated_at > 0, calibrated_at, np.iinfo(np.int64).max)
    since = np.where(calibrated_at.any(axis=0), passed.min(axis=0), 0)
    shapes = len(reference.shapes) > 0
    drift = {
        "drift_log10": omnibus.log_wealth / math.log(10) if shapes else None,
        "drift_at": omnibus.drift_at or None,
        "drift_pairs": omnibus.pairs,
        "drift_left": left(omnibus, reference.shapes),
    }
    out: list[dict[str, Any]] = []
    for k in range(len(CATEGORY_IDS)):
        first = first_actions(detectors[0], reference.calibrations[0], k, settings)
        out.append(
            {
                "calibrated_at": int(since[k]) or None,
                "first_opportunities": first.opportunities,
                "first_taken": first.taken,
                "first_lower": first.rate_lower,
                "first_upper": first.rate_upper,
                "first_log10": first.evidence_log10,
                "e_value_log10": float(log_e[k]) / math.log(10),
                **drift,
            }
        )
    return out


def passed(before: Integers, done: Update, limit: float | None) -> Integers:
    """When each category's statistic first passed the calibrated threshold, (categories,)."""
    if limit is None or not len(done.n):
        return before
    above = done.evidence_log10 >= limit / math.log(10)
    first = np.where(above.any(axis=0), done.n[above.argmax(axis=0)], 0)
    return np.where(before > 0, before, first)
