"""How severe an alert is, whichever test raised it."""

from collections.abc import Iterable

from contracts.labels import CATEGORIES, SEVERITIES, Action, Severity

_OF_CATEGORY: dict[str, Severity] = {category.id: category.severity for category in CATEGORIES}


def alert_severity(category: str, acts: Iterable[Action]) -> Severity:
    """That of the category, or that of the worst of the acts it is about where that is higher.

    `acts`: of any category; those of others, and those that were blocked, do not count.
    """
    own: Severity = _OF_CATEGORY.get(category, "high")
    found = [own]
    found += [act.severity for act in acts if act.category == category and act.stage != "blocked"]
    return SEVERITIES[max(map(SEVERITIES.index, found))]
