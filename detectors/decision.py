"""From a detector's state to the verdict: alarm, clear, insufficient or blind."""

import math

from contracts.baseline import ReferenceKind
from contracts.labels import CATEGORY_IDS
from contracts.trajectory import Subject
from contracts.verdict import Verdict, VerdictState
from detectors.confidence import needed_opportunities, opportunities_to_exclude, rate_interval
from detectors.detector import (
    ALARM_AT,
    BROKEN,
    EXPECTED,
    INVISIBLE,
    OPPORTUNITIES,
    REFERENCE,
    TAKEN,
    UNSUPPORTED,
    DetectorState,
    statistic,
)
from detectors.onset import onset
from detectors.sequential import Settings
from detectors.upper_hazard import ALL, Calibration


def verdict(
    state: DetectorState,
    calibration: Calibration,
    category: int,
    settings: Settings,
    *,
    subject: Subject,
    reference: str,
    kind: ReferenceKind,
    attribution: str = "",
    updated_ns: int = 0,
    log_statistic: float | None = None,
) -> Verdict:
    """The verdict on one category (index into `CATEGORY_IDS`). `log_statistic`: the category's
    `detector.statistic` where it is at hand.

    In this order: a broken model is `blind`, whatever else; a standing alarm is `alarm`; too large
    a share of opportunities that were not visible, no comparison, a reference that took all its
    opportunities, or too large a share outside its situations, is `blind`; fewer opportunities than
    it takes to tell a rise to the margin from the reference at alpha, or a rate whose anytime-valid
    upper bound is above the margin, is `insufficient`; else `clear`.
    """
    k = category
    taken, n = int(state.counts[TAKEN, k]), int(state.counts[OPPORTUNITIES, k])
    lower, upper = rate_interval(taken, n, settings.alpha)
    current = log_statistic
    if current is None:
        current = float(statistic(state, calibration, settings)[k])
    broken = int(state.counts[BROKEN, k])
    if not math.isfinite(current):
        broken, current = max(1, broken), 0.0
    word, reason, needed = _word(state, calibration, k, settings, upper, broken)
    alarm_at = int(state.counts[ALARM_AT, k]) or None
    return Verdict(
        subject=subject,
        category=CATEGORY_IDS[k],
        reference=reference,
        kind=kind,
        state=word,
        opportunities=n,
        taken=taken,
        expected=float(state.sums[EXPECTED, k]),
        evidence_log10=current / math.log(10),
        rate_lower=lower,
        rate_upper=upper,
        alarm_at=alarm_at,
        onset=onset(state, calibration, k) if alarm_at else None,
        needed=needed,
        reason=reason,
        attribution=attribution,
        updated_ns=updated_ns,
    )


def _word(
    state: DetectorState,
    calibration: Calibration,
    k: int,
    settings: Settings,
    rate_upper: float,
    broken: int,
) -> tuple[VerdictState, str, int | None]:
    """State, reason, and opportunities still needed, at the rate so far."""
    n, taken = int(state.counts[OPPORTUNITIES, k]), int(state.counts[TAKEN, k])
    unseen, outside = int(state.counts[INVISIBLE, k]), int(state.counts[UNSUPPORTED, k])
    every = n + unseen + outside + broken
    if broken:
        return "blind", f"the model gave no number at {broken} of {every} opportunities", None
    if state.counts[ALARM_AT, k]:
        since = onset(state, calibration, k)
        return "alarm", f"risen since trajectory {since}; {taken} of {n} taken in all", None
    if unseen > settings.invisible_share * every:
        reason = f"arguments, results or the request were not seen at {unseen} of {every}"
        return "blind", f"{reason} opportunities", None
    if not bool(calibration.knows()[k]):
        if calibration.declared:
            return "blind", "the reference declares no ceiling for this category", None
        return "blind", "the reference has no opportunity of this category", None
    usual_n = int(calibration.opportunities[k, ALL])
    if not calibration.declared and int(calibration.observed[k, ALL]) >= usual_n:
        reason = f"the reference took each of its {usual_n} opportunities, so no rise can show"
        return "blind", reason, None
    if outside > settings.unsupported_share * every:
        reason = f"{outside} of {every} opportunities are in situations the reference never had"
        return "blind", reason, None
    usual, most = _level(state, calibration, k, settings)
    margin = _margin(usual, settings)
    if most >= margin:
        return "insufficient", "the reference is too small to tell a rise to the margin", None
    total = least_opportunities(usual, most, settings)
    sure = opportunities_to_exclude(taken / n if n else usual, margin, settings.alpha)
    if total is None or n < total:
        left = None if total is None else max(total, sure or 0) - n
        return "insufficient", f"a rise to {margin:.3g} could not have been seen yet", left
    if rate_upper > margin:
        left = None if sure is None else max(1, sure - n)
        return "insufficient", f"a rate above {margin:.3g} cannot be excluded yet", left
    return "clear", "below the reference" if rate_upper < usual else "", None


def least_opportunities(usual: float, most: float, settings: Settings) -> int | None:
    """Opportunities before which no verdict is `clear`; None where the reference is too small for
    any. `usual`, `most`: the reference's mean rate and upper rate.
    """
    return needed_opportunities(_margin(usual, settings), most, math.log(1 / settings.alpha))


def release_opportunities(usual: float, most: float, settings: Settings) -> int | None:
    """Opportunities at which a subject with the reference's rate is `clear`; None for never.

    `usual`, `most`: as for `least_opportunities`. To have seen a rise to the margin, and to exclude
    it by the interval.
    """
    least = least_opportunities(usual, most, settings)
    sure = opportunities_to_exclude(usual, _margin(usual, settings), settings.alpha)
    return None if least is None or sure is None else max(least, sure)


def _margin(usual: float, settings: Settings) -> float:
    """The rate that `clear` excludes."""
    return min(1.0, max(settings.margin * usual, usual + settings.margin_rate))


def _level(
    state: DetectorState, calibration: Calibration, k: int, settings: Settings
) -> tuple[float, float]:
    """Mean calibrated hazard and mean upper hazard, at the subject's opportunities or, before the
    first, at the reference's.
    """
    n = int(state.counts[OPPORTUNITIES, k])
    if n:
        return float(state.sums[REFERENCE, k]) / n, float(state.sums[EXPECTED, k]) / n
    if calibration.declared:
        return float(calibration.ceiling[k]), float(calibration.ceiling[k])
    mean = float(calibration.expected[k, ALL]) / int(calibration.opportunities[k, ALL])
    upper = mean * float(calibration.upper[k, ALL]) * (1 + settings.tau)
    return mean * float(calibration.ratio[k]), min(1.0, upper)
