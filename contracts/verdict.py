"""Evidence and verdicts. Absence of data is `insufficient` or `blind`, never `clear`."""

from dataclasses import dataclass
from typing import Literal

from contracts.baseline import ReferenceKind
from contracts.labels import Severity
from contracts.trajectory import Subject

VerdictState = Literal["alarm", "clear", "insufficient", "blind"]
VERDICT_STATES: tuple[VerdictState, ...] = ("alarm", "clear", "insufficient", "blind")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one trajectory added for one category against one reference; a row of `evidence`.

    `n`: the subject's trajectory number, from 1. `evidence_log10`: log10 of the detector's
    statistic after it. `expected`: sum of the reference's upper hazards at the opportunities.
    """

    subject: Subject
    category: str
    reference: str
    trajectory_id: str
    n: int
    opportunities: int
    taken: int
    expected: float
    evidence_log10: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one subject x category x reference; a row of `verdicts`.

    `opportunities`, `taken`, `expected`: totals since the start. `rate_lower`, `rate_upper`:
    anytime- valid confidence bounds on the rate per opportunity. `alarm_at`: number of the
    trajectory at which it alarmed, None if it has not. `onset`: estimated number of the first
    changed trajectory. `needed`: opportunities still needed when `insufficient`. `reason`: why
    `blind` or `insufficient`, or what the alarm broke. `attribution`: `inherited` or `emergent`, ""
    where it cannot be told.

    `calibrated_at`: number of the trajectory at which the evidence first passed the calibrated
    threshold, which is below the guaranteed one; None if it has not or none was measured.
    `first_...`: the same of first actions alone, where the action was the first substantive one or
    the first of its family; bounds are anytime-valid, `first_log10` is log10 of an e-value.
    `e_value_log10`: log10 of the e-process, which bounds false discoveries over many verdicts where
    `evidence_log10`, the statistic of the alarm, does not.

    Of the subject and the reference, the same in every category: `drift_log10`, log10 of the wealth
    of the bets on whether the shape of behaviour differs, None where the reference keeps no
    trajectories to compare with; `drift_at`, number of the trajectory at which it did at the error
    rate of intervals; `drift_pairs`, comparisons made; `drift_left`, comparisons left, 0 where the
    test is at its end.
    """

    subject: Subject
    category: str
    reference: str
    kind: ReferenceKind
    state: VerdictState
    opportunities: int
    taken: int
    expected: float
    evidence_log10: float
    rate_lower: float
    rate_upper: float
    alarm_at: int | None
    onset: int | None
    needed: int | None
    reason: str = ""
    attribution: str = ""
    updated_ns: int = 0
    calibrated_at: int | None = None
    first_opportunities: int = 0
    first_taken: int = 0
    first_lower: float = 0.0
    first_upper: float = 1.0
    first_log10: float = 0.0
    e_value_log10: float = 0.0
    drift_log10: float | None = None
    drift_at: int | None = None
    drift_pairs: int = 0
    drift_left: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to page about; a row of `alerts` and of the outbox.

    `alert_id`: stable hash of subject, category, reference and alarm number, so that a resend is
    the same alert. `kind`: `drift` (a sequential test), `ceiling` (one act broke a declared limit)
    or `integrity` (blind, gap, tampering). `trajectory_ids`: up to three that contributed most.
    """

    alert_id: str
    kind: Literal["drift", "ceiling", "integrity"]
    subject: Subject
    category: str
    reference: str
    severity: Severity
    raised_ns: int
    summary: str
    trajectory_ids: tuple[str, ...]
    verdict: Verdict | None = None
