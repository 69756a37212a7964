"""Attribution of a subject's alarms when a teacher and a control, base or ceiling are in force."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from contracts.baseline import ReferenceKind
from contracts.labels import CATEGORY_IDS
from contracts.verdict import Verdict, VerdictState
from detectors.attribution import AttributionState, attribute, follow
from detectors.baseline import Reference
from detectors.features import Encoded
from detectors.sequential import NO_CONTEXT

_BESIDE: Sequence[ReferenceKind] = ("control", "base", "declared")
"""What an excess may be above without being above the teacher, the most telling first."""


def observe(
    state: AttributionState, encoded: Encoded, from_step: int, references: Sequence[Reference]
) -> AttributionState:
    """The state after one trajectory; as it was where there is no teacher, or no control or base.

    Hazards are calibrated by each reference's own ratio; opportunities outside either are left out.
    """
    teacher = _first(references, "teacher")
    control = _first(references, "control", "base")
    if teacher is None or control is None:
        return state
    pairs = zip(
        teacher.opportunities(encoded, from_step),
        control.opportunities(encoded, from_step),
        teacher.calibrations,
        control.calibrations,
        strict=True,
    )
    for taught, controlled, teaching, controlling in pairs:
        k = taught.category
        usable = taught.visible & (taught.cell != NO_CONTEXT) & (controlled.cell != NO_CONTEXT)
        usable &= teaching.knows()[k] & controlling.knows()[k]
        p = np.minimum(taught.hazard * teaching.ratio[k], 1.0)
        q = np.minimum(controlled.hazard * controlling.ratio[k], 1.0)
        state = follow(state, k[usable], taught.taken[usable], p[usable], q[usable])
    return state


def attributed(
    verdicts: Sequence[Verdict], state: AttributionState, alpha: float
) -> tuple[Verdict, ...]:
    """The verdicts on one subject, alarms with `inherited` or `emergent` where it can be told."""
    out: list[Verdict] = []
    for verdict in verdicts:
        word = ""
        if verdict.state == "alarm":
            same = [each for each in verdicts if each.category == verdict.category]
            teacher, beside = _state(same, ("teacher",)), _state(same, _BESIDE)
            k = CATEGORY_IDS.index(verdict.category)
            if teacher and beside:
                word = attribute(teacher, beside, float(state.log_ratio[k]), alpha)
        out.append(replace(verdict, attribution=word))
    return tuple(out)


def _state(verdicts: Sequence[Verdict], kinds: Sequence[ReferenceKind]) -> VerdictState | None:
    """`alarm` if any of these kinds alarms, else the state against the first; None without one."""
    found = [each.state for kind in kinds for each in verdicts if each.kind == kind]
    if not found:
        return None
    return "alarm" if "alarm" in found else found[0]


def _first(references: Sequence[Reference], *kinds: ReferenceKind) -> Reference | None:
    """The first reference of the first kind that has one."""
    for kind in kinds:
        for reference in references:
            if reference.info.kind == kind:
                return reference
    return None
