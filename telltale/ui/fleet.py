"""The fleet as a matrix: subjects by categories, each cell the worst of its references."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.labels import CATEGORY_IDS
from contracts.trajectory import Subject
from contracts.verdict import Verdict, VerdictState
from telltale.api.ports import SubjectSummary

WORST: tuple[VerdictState, ...] = ("alarm", "blind", "insufficient", "clear")
"""From what matters most to what matters least."""

SHORT: Mapping[str, str] = {
    "alarm": "ALARM",
    "blind": "blind",
    "insufficient": "few",
    "clear": "clear",
}
"""The word in a cell; colour never stands alone."""

MOST_ROWS = 200


@dataclass(slots=True)
class Row:
    """A subject. `cells`: category to its verdicts, worst first."""

    subject: Subject
    summary: SubjectSummary | None
    cells: dict[str, list[Verdict]] = field(default_factory=dict[str, list[Verdict]])

    @property
    def worst(self) -> int:
        """Rank of the worst state; subjects without any verdict come last."""
        ranks = [WORST.index(cell[0].state) for cell in self.cells.values()]
        return min(ranks, default=len(WORST))

    @property
    def alarms(self) -> int:
        return sum(cell[0].state == "alarm" for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class Matrix:
    """`counts`: cells by state over all subjects. `hidden`: rows past the bound."""

    categories: Sequence[str]
    rows: Sequence[Row]
    counts: Mapping[str, int]
    hidden: int

    @property
    def judged(self) -> bool:
        """There is any verdict at all; without one, no alarm means nothing."""
        return any(self.counts.values())


def shapes(verdicts: Iterable[Verdict]) -> Sequence[Verdict]:
    """One verdict for each reference that keeps trajectories to compare the shape of behaviour
    with; what it says of drift holds of the subject and the reference.
    """
    found = {v.reference: v for v in verdicts if v.drift_log10 is not None}
    return [found[name] for name in sorted(found)]


def matrix(verdicts: Iterable[Verdict], subjects: Iterable[SubjectSummary]) -> Matrix:
    """Subjects in alarm first, then by time of the newest span."""
    rows = {summary.subject: Row(summary.subject, summary) for summary in subjects}
    extra: set[str] = set()
    for verdict in verdicts:
        row = rows.setdefault(verdict.subject, Row(verdict.subject, None))
        row.cells.setdefault(verdict.category, []).append(verdict)
        if verdict.category not in CATEGORY_IDS:
            extra.add(verdict.category)
    counts: dict[str, int] = dict.fromkeys(WORST, 0)
    for row in rows.values():
        for cell in row.cells.values():
            cell.sort(key=lambda verdict: (WORST.index(verdict.state), verdict.reference))
            counts[cell[0].state] += 1

    def order(row: Row) -> tuple[int, int, int]:
        in_alarm = 0 if row.alarms else 1
        return in_alarm, -row.alarms, -(row.summary.last_received_ns if row.summary else 0)

    ordered = sorted(rows.values(), key=order)
    return Matrix(
        categories=(*CATEGORY_IDS, *sorted(extra)),
        rows=ordered[:MOST_ROWS],
        counts=counts,
        hidden=max(0, len(ordered) - MOST_ROWS),
    )
