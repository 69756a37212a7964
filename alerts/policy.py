"""From verdicts, acts and losses to alerts: one per alarm, none for flapping, all with an end.

Everything here is a pure function of its arguments. The caller keeps the new `Memory` only after
the alerts are committed, and makes it anew from the store after a restart.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from alerts.text import plain
from contracts.labels import CATEGORIES, Severity
from contracts.record import Gap
from contracts.span import Span
from contracts.trajectory import Subject
from contracts.verdict import Alert, Verdict, VerdictState

NOBODY = Subject("", "", "", "")
"""The subject of alerts that concern the evidence as a whole."""

GAP, TAMPERING, BLIND = "gap", "tampering", "blind"
"""`reference` of integrity alerts for lost records and changed spans; prefix of it for blindness.
"""

_BY_ID = {category.id: category for category in CATEGORIES}


@dataclass(frozen=True, slots=True)
class Settings:
    """`cooldown_s`: a cell that alarms again within it, or acts and losses of one kind within it,
    make no new alert. `resolve_after_s`: a drift alert ends when its verdict has been out of alarm
    so long. `hold_s`: an alert about a single event ends so long after it. `cells`: bound on what
    is remembered.
    """

    cooldown_s: float = 3_600.0
    resolve_after_s: float = 900.0
    hold_s: float = 3_600.0
    cells: int = 200_000


class Cell(NamedTuple):
    """What alerts are grouped by."""

    kind: str
    subject: Subject
    category: str
    reference: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The newest alert of a cell. `left_ns`: when its verdict left the alarm, None while in it."""

    number: int
    raised_ns: int
    left_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What was raised and what verdicts said last."""

    raised: Mapping[Cell, Raised] = field(default_factory=dict[Cell, Raised])
    states: Mapping[Cell, VerdictState] = field(default_factory=dict[Cell, VerdictState])


@dataclass(frozen=True, slots=True)
class Findings:
    """What a batch found. `alerts`: of the detectors. `conflicts`: spans that came again with other
    content.
    """

    alerts: Sequence[Alert] = ()
    verdicts: Sequence[Verdict] = ()
    gaps: Sequence[Gap] = ()
    conflicts: Sequence[Span] = ()


def decide(
    memory: Memory, found: Findings, now_ns: int, settings: Settings
) -> tuple[Memory, tuple[Alert, ...]]:
    """The alerts to raise, and the memory that holds once they are committed."""
    if not (found.alerts or found.verdicts or found.gaps or found.conflicts):
        return memory, ()
    desk = _Desk(memory, now_ns, settings)
    told = {_cell(alert): alert for alert in found.alerts if alert.kind == "drift"}
    for verdict in found.verdicts:
        desk.verdict(verdict, told.pop(_verdict_cell(verdict), None))
    for cell, alert in told.items():
        desk.alarm(cell, alert)
    for alert in found.alerts:
        if alert.kind != "drift":
            desk.event(_cell(alert), alert)
    desk.losses(found)
    return desk.result()


def restore(
    alerts: Iterable[Alert], verdicts: Iterable[Verdict], now_ns: int, settings: Settings
) -> Memory:
    """The memory that the stored alerts and verdicts speak of. `alerts`: at least those of the last
    `cooldown_s` and those of verdicts in alarm, in any order.
    """
    states: dict[Cell, VerdictState] = {_verdict_cell(v): v.state for v in verdicts}
    raised: dict[Cell, Raised] = {}
    for alert in sorted(alerts, key=lambda alert: alert.raised_ns):
        cell = _cell(alert)
        number = raised[cell].number + 1 if cell in raised else 1
        left = None if states.get(cell) == "alarm" else now_ns
        raised[cell] = Raised(number, alert.raised_ns, left)
    return _bounded(Memory(raised, states), settings)


def firing(memory: Memory, alert: Alert, now_ns: int, settings: Settings) -> bool:
    """Whether a raised alert still holds."""
    if alert.kind != "drift":
        return now_ns - alert.raised_ns < settings.hold_s * 1e9
    last = memory.raised.get(_cell(alert))
    if last is None or last.raised_ns != alert.raised_ns:
        return False
    return last.left_ns is None or now_ns - last.left_ns < settings.resolve_after_s * 1e9


def alert_id(cell: Cell, number: int) -> str:
    """16 hex digits of BLAKE2b over the cell and the number of the alarm."""
    content = repr((*cell[:1], tuple(cell.subject), *cell[2:], number))
    data = content.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def summary(verdict: Verdict) -> str:
    """One line on an alarm, from numbers and names only."""
    category = _BY_ID.get(verdict.category)
    title = category.title if category else verdict.category
    parts = [
        f"{title}: {verdict.taken} of {verdict.opportunities} opportunities taken,"
        f" {verdict.expected:.1f} expected of {verdict.kind} {verdict.reference}",
        f"rate {verdict.rate_lower:.0%} to {verdict.rate_upper:.0%}",
    ]
    if verdict.onset is not None:
        parts.append(f"since trajectory {verdict.onset}")
    if verdict.attribution:
        parts.append(verdict.attribution)
    return plain("; ".join(parts))


class _Desk:
    """Works one batch on copies of the memory."""

    def __init__(self, memory: Memory, now_ns: int, settings: Settings) -> None:
        self._raised = dict(memory.raised)
        self._states = dict(memory.states)
        self._now_ns = now_ns
        self._settings = settings
        self._alerts: list[Alert] = []

    def result(self) -> tuple[Memory, tuple[Alert, ...]]:
        memory = _bounded(Memory(self._raised, self._states), self._settings)
        return memory, tuple(self._alerts)

    def verdict(self, verdict: Verdict, told: Alert | None) -> None:
        cell = _verdict_cell(verdict)
        before = self._states.get(cell)
        self._states[cell] = verdict.state
        if verdict.state == "alarm":
            self.alarm(cell, told or self._drift(cell, verdict))
            return
        last = self._raised.get(cell)
        if last is not None and last.left_ns is None:
            self._raised[cell] = replace(last, left_ns=self._now_ns)
        if verdict.state == "blind" and before in ("clear", "alarm"):
            self._went_blind(verdict)

    def alarm(self, cell: Cell, alert: Alert) -> None:
        last = self._raised.get(cell)
        if last is not None and last.left_ns is None:
            return
        if last is not None and self._recent(last):
            self._raised[cell] = replace(last, left_ns=None)  # the same alarm, back again
            return
        self._raise(cell, alert)

    def event(self, cell: Cell, alert: Alert) -> None:
        last = self._raised.get(cell)
        if last is None or not self._recent(last):
            self._raise(cell, alert)

    def losses(self, found: Findings) -> None:
        if found.gaps:
            topics = sorted({gap.partition.topic for gap in found.gaps})
            lost = sum(gap.last - gap.first + 1 for gap in found.gaps)
            text = f"{lost} records were lost before they could be read, of {', '.join(topics)}"
            self._integrity(NOBODY, "", GAP, "high", text)
        if found.conflicts:
            text = f"{len(found.conflicts)} spans came again with the same id and other content"
            self._integrity(NOBODY, "", TAMPERING, "high", text)

    def _went_blind(self, verdict: Verdict) -> None:
        text = f"{verdict.category} can no longer be judged against {verdict.reference}"
        reference = f"{BLIND}:{verdict.reference}"
        self._integrity(verdict.subject, "", reference, "high", f"{text}: {verdict.reason}")

    def _integrity(
        self, subject: Subject, category: str, reference: str, severity: Severity, text: str
    ) -> None:
        cell = Cell("integrity", subject, category, reference)
        last = self._raised.get(cell)
        number = last.number + 1 if last else 1
        self.event(
            cell,
            Alert(
                alert_id=alert_id(cell, number),
                kind="integrity",
                subject=subject,
                category=category,
                reference=reference,
                severity=severity,
                raised_ns=self._now_ns,
                summary=plain(text),
                trajectory_ids=(),
            ),
        )

    def _drift(self, cell: Cell, verdict: Verdict) -> Alert:
        last = self._raised.get(cell)
        category = _BY_ID.get(verdict.category)
        return Alert(
            alert_id=alert_id(cell, last.number + 1 if last else 1),
            kind="drift",
            subject=verdict.subject,
            category=verdict.category,
            reference=verdict.reference,
            severity=category.severity if category else "high",
            raised_ns=self._now_ns,
            summary=summary(verdict),
            trajectory_ids=(),
            verdict=verdict,
        )

    def _raise(self, cell: Cell, alert: Alert) -> None:
        last = self._raised.get(cell)
        self._raised[cell] = Raised(last.number + 1 if last else 1, alert.raised_ns)
        if alert.kind != "drift":
            self._raised[cell] = replace(self._raised[cell], left_ns=alert.raised_ns)
        self._alerts.append(alert)

    def _recent(self, last: Raised) -> bool:
        return self._now_ns - last.raised_ns < self._settings.cooldown_s * 1e9


def _cell(alert: Alert) -> Cell:
    return Cell(alert.kind, alert.subject, alert.category, alert.reference)


def _verdict_cell(verdict: Verdict) -> Cell:
    return Cell("drift", verdict.subject, verdict.category, verdict.reference)


def _bounded(memory: Memory, settings: Settings) -> Memory:
    """Forget the oldest past the bound; alarms that stand are kept longest."""
    raised, states = memory.raised, memory.states
    if len(raised) > settings.cells:
        kept = sorted(raised.items(), key=lambda item: (item[1].left_ns is None, item[1].raised_ns))
        raised = dict(kept[-settings.cells :])
    if len(states) > settings.cells:
        states = dict(list(states.items())[-settings.cells :])
    return Memory(raised, states)
