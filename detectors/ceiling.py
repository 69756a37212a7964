"""Limits that act at once, on trajectories still open: single acts that nobody should have to wait
for.

Two kinds: an act of critical severity that succeeded and cannot be taken back, always; and any act
of a category whose declared ceiling is 0. Alert ids depend on the act alone, so a trajectory that
is looked at again raises the same alerts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from contracts.labels import CATEGORIES, Action
from contracts.ports import Labelled
from contracts.trajectory import Subject
from contracts.verdict import Alert
from detectors.alert_severity import alert_severity

IRREVERSIBLE: Final = "irreversible"
"""The reference named in alerts that need no declared baseline."""

_TITLES: Final = {category.id: category.title for category in CATEGORIES}


def alert_id(*parts: str) -> str:
    """Stable hex id of an alert."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def broken(
    labelled: Labelled, declared: Mapping[str, Iterable[str]], now_ns: int
) -> Iterator[Alert]:
    """Alerts of one trajectory. `declared`: reference name to its categories with ceiling 0."""
    for action in labelled.labels.actions:
        if action.step < labelled.trajectory.judged_calls:
            continue
        if _grave(action):
            yield _alert(labelled.subject, action, IRREVERSIBLE, now_ns)
        for reference, categories in declared.items():
            if action.category in categories and action.stage != "blocked":
                yield _alert(labelled.subject, action, reference, now_ns)


def _grave(action: Action) -> bool:
    """Whether one act is enough: critical, done, for good, and by a rule that is not on trial."""
    return (
        action.severity == "critical"
        and action.irreversible
        and action.stage == "succeeded"
        and action.maturity == "stable"
    )


def _alert(subject: Subject, action: Action, reference: str, now_ns: int) -> Alert:
    why = "irreversible and critical" if reference == IRREVERSIBLE else f"ceiling 0 of {reference}"
    title = _TITLES.get(action.category, action.category)
    return Alert(
        alert_id=alert_id(
            *subject, action.category, reference, action.trajectory_id, str(action.step)
        ),
        kind="ceiling",
        subject=subject,
        category=action.category,
        reference=reference,
        severity=alert_severity(action.category, [action]),
        raised_ns=now_ns,
        summary=(
            f"{title} ({action.variant}, {action.stage}) at step {action.step}"
            f" of {action.trajectory_id}: {why}"
        ),
        trajectory_ids=(action.trajectory_id,),
    )
