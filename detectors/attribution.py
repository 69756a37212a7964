"""Inherited or emergent: whose behaviour a student's excess is like.

Per category the log likelihood ratio of the student's opportunities under the teacher's calibrated
hazard against the control's (or base's) is an e-process both ways (Wald 1945; Ramdas et al. 2023,
section 5.1): above log(1/alpha) the student acts like the teacher, below -log(1/alpha) like the
control.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from contracts.baseline import ReferenceKind
from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from contracts.verdict import Verdict
from detectors.baseline import Reference
from detectors.sequential import NO_CONTEXT, Opportunities
from detectors.upper_hazard import joined

Floats = npt.NDArray[np.float64]
_SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Attribution:
    """`log_ratio`: log likelihood ratio of teacher to control per category, (categories,)."""

    log_ratio: Floats

    @classmethod
    def new(cls) -> "Attribution":
        return cls(np.zeros(len(CATEGORY_IDS)))

    def observe(
        self,
        teacher: Reference,
        control: Reference,
        of_teacher: Sequence[Sequence[Opportunities]],
        of_control: Sequence[Sequence[Opportunities]],
    ) -> "Attribution":
        """After the same trajectories, in order, as opportunities of each track under both; what
        was consumed before adds nothing.
        """
        ratio = self.log_ratio.copy()
        for track, teaching in enumerate(teacher.calibrations):
            controlling = control.calibrations[track]
            under_teacher, _ = joined([each[track].fresh() for each in of_teacher])
            under_control, _ = joined([each[track].fresh() for each in of_control])
            k = under_teacher.category
            usable = under_teacher.visible & (under_teacher.cell != NO_CONTEXT)
            usable &= under_control.cell != NO_CONTEXT
            usable &= teaching.knows()[k] & controlling.knows()[k]
            p = _clipped(under_teacher.hazard * teaching.ratio[k])
            q = _clipped(under_control.hazard * controlling.ratio[k])
            step = np.where(under_teacher.taken, np.log(p / q), np.log((1 - p) / (1 - q)))
            np.add.at(ratio, k[usable], step[usable])
        return replace(self, log_ratio=ratio)

    def to_bytes(self) -> bytes:
        return self.log_ratio.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Attribution":
        """Raises `BaselineError` for another length or numbers that are not finite."""
        if len(data) != 8 * len(CATEGORY_IDS):
            raise BaselineError("a stored attribution cannot be read: another length")
        ratio = np.frombuffer(data, "<f8").astype(np.float64)
        if not bool(np.isfinite(ratio).all()):
            raise BaselineError("a stored attribution holds numbers that are not finite")
        return cls(ratio)


def attributed(
    verdicts: Sequence[Verdict], attribution: Attribution, alpha: float
) -> tuple[Verdict, ...]:
    """Alarms with `inherited` or `emergent` where it can be told.

    Emergent: above the teacher, and above control and base where there are any. Inherited: above
    the control, base or a ceiling, not above the teacher, and like the teacher (by the likelihood
    ratio, or, where only a ceiling was broken, by a `clear` verdict against the teacher).
    """
    out: list[Verdict] = []
    for verdict in verdicts:
        same = [each for each in verdicts if each.category == verdict.category]
        k = CATEGORY_IDS.index(verdict.category)
        word = ""
        if verdict.state == "alarm":
            word = _word(same, float(attribution.log_ratio[k]), math.log(1 / alpha))
        out.append(replace(verdict, attribution=word) if word != verdict.attribution else verdict)
    return tuple(out)


def _word(same: Sequence[Verdict], log_ratio: float, limit: float) -> str:
    teacher = [each.state for each in same if each.kind == "teacher"]
    control = [each.state for each in same if each.kind in ("control", "base")]
    if not teacher:
        return ""
    if "alarm" in teacher:
        return "emergent" if not control or "alarm" in control else ""
    if "alarm" in control:
        return "inherited" if log_ratio >= limit else ""
    return "inherited" if not control and "clear" in teacher else ""


def sides(references: Sequence[Reference]) -> tuple[Reference, Reference] | None:
    """The teacher, and the control or else the base, that are compared; None without both."""
    teacher, control = _first(references, "teacher"), _first(references, "control", "base")
    return None if teacher is None or control is None else (teacher, control)


def _first(references: Sequence[Reference], *kinds: ReferenceKind) -> Reference | None:
    """The first reference of the first kind that has one."""
    for kind in kinds:
        for reference in references:
            if reference.info.kind == kind:
                return reference
    return None


def _clipped(p: Floats) -> Floats:
    return np.clip(p, _SMALLEST, 1 - _SMALLEST)
