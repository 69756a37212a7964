"""Whether an excess was already in the teacher or is new in the student."""

import math
from dataclasses import dataclass

import numpy as np

from contracts.errors import BaselineError
from contracts.verdict import VerdictState
from detectors.sequential import CATEGORIES, Flags, Floats, Integers

_LEAST = 1e-6
"""Hazards are kept this far from 0 and 1: one surprise may weigh 13.8 nats, not infinitely much."""


@dataclass(frozen=True, slots=True, eq=False)
class AttributionState:
    """Log likelihood ratio of teacher to control at a subject's opportunities; (categories,)."""

    log_ratio: Floats

    @classmethod
    def new(cls) -> "AttributionState":
        return cls(np.zeros(CATEGORIES))

    def to_bytes(self) -> bytes:
        return self.log_ratio.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "AttributionState":
        """Raises `BaselineError` for what `to_bytes` did not write."""
        if len(data) != 8 * CATEGORIES:
            raise BaselineError("the attribution state cannot be read: wrong length")
        return cls(np.frombuffer(data, "<f8").astype(np.float64))


def follow(
    state: AttributionState,
    category: Integers,
    taken: Flags,
    teacher: Floats,
    control: Floats,
) -> AttributionState:
    """The state after opportunities that both references support; arrays (n,), hazards of each.

    exp(log_ratio) is an e-process if the student acts like the control, exp(-log_ratio) if like the
    teacher (Ville 1939; Ramdas, Grunwald, Vovk & Shafer 2023, section 2.4). Opportunities where
    either hazard is not a rate are left out.
    """
    good = (teacher >= 0) & (teacher <= 1) & (control >= 0) & (control <= 1)
    p = np.clip(teacher[good], _LEAST, 1 - _LEAST)
    q = np.clip(control[good], _LEAST, 1 - _LEAST)
    step = np.where(taken[good], np.log(p / q), np.log1p(-p) - np.log1p(-q))
    gain = np.asarray(np.bincount(category[good], step, CATEGORIES), np.float64)
    return AttributionState(state.log_ratio + gain)


def attribute(
    against_teacher: VerdictState, against_control: VerdictState, log_ratio: float, alpha: float
) -> str:
    """`emergent`, `inherited`, or "" where it cannot be told.

    `against_control`: against a control, base or ceiling. Above both: emergent. Above the control,
    not above a teacher that can be compared with, and the likelihood ratio rejects the control in
    favour of the teacher at alpha: inherited.
    """
    if against_control != "alarm":
        return ""
    if against_teacher == "alarm":
        return "emergent"
    if against_teacher != "blind" and log_ratio >= math.log(1.0 / alpha):
        return "inherited"
    return ""
