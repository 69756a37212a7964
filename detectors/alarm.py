"""The alert of a sequential test."""

from collections.abc import Sequence

from contracts.baseline import BaselineInfo
from contracts.labels import CATEGORIES, CATEGORY_IDS, Action
from contracts.verdict import Alert, Verdict
from detectors.alert_severity import alert_severity
from detectors.ceiling import alert_id


def alarm(
    info: BaselineInfo,
    verdict: Verdict,
    number: int,
    trajectory_ids: tuple[str, ...],
    now_ns: int,
    acts: Sequence[Action] = (),
) -> Alert:
    """The alert for the `number`-th alarm of a subject in a category against a reference. `acts`:
    of the trajectory that raised it.
    """
    kind = CATEGORIES[CATEGORY_IDS.index(verdict.category)]
    return Alert(
        alert_id=alert_id(*verdict.subject, verdict.category, info.digest, str(number)),
        kind="drift",
        subject=verdict.subject,
        category=verdict.category,
        reference=info.name,
        severity=alert_severity(verdict.category, acts),
        raised_ns=now_ns,
        summary=(
            f"{kind.title} of {verdict.subject.label()} above {info.kind} {info.name}:"
            f" {verdict.taken} of {verdict.opportunities} opportunities taken,"
            f" at most {verdict.expected:.1f} expected, since trajectory {verdict.onset}"
            + (f", {verdict.attribution}" if verdict.attribution else "")
        ),
        trajectory_ids=trajectory_ids,
        verdict=verdict,
    )
