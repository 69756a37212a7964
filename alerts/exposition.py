"""What was committed, as Prometheus series with bounded, cleaned labels."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest

from alerts.labels import OTHER, Slots, clean
from alerts.metrics import DEFINITIONS
from alerts.series import Series
from alerts.tally import Increment, Tally
from contracts.labels import CATEGORIES, CATEGORY_IDS, SEVERITIES
from contracts.ports import Changes
from contracts.record import REASONS
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import VERDICT_STATES, Alert, Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STAGES = ("source_unavailable", "commit", "detectors", "alerts", "api")
KINDS = ("drift", "ceiling", "integrity")
DROP_REASONS = ("duplicate", "refused", *REASONS)
DELIVERY_RESULTS = ("delivered", "failed", "rejected")

UNREADABLE = ("absent", "redacted", "invalid")
"""States of arguments in which nothing of them can be judged."""

COVERAGE_WINDOW = 1_000
"""Calls over which the coverage of arguments is taken; older calls weigh half and less."""


class Exposition:
    """The daemon's metrics on one registry. Thread-safe.

    `subject`: the configured key; it must be the one that verdicts are made with.
    `max_subjects`: subjects with series of their own; later ones are counted as `other`, except
    that `alarm_subjects` more slots are kept for subjects in alarm. `max_series`: bound over all.
    At 10 microseconds a series the default bounds a scrape to about 0.2 s.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        version: str = "",
        subject: Callable[[Trajectory], Subject] = Trajectory.subject,
        max_subjects: int = 100,
        alarm_subjects: int = 25,
        max_references: int = 32,
        max_series: int = 20_000,
    ) -> None:
        self._registry = registry
        self._series = Series(registry, DEFINITIONS, max_series)
        self._subjects = Slots(max_subjects, alarm_subjects)
        self._references = Slots(max_references, max_references)
        self._categories = Slots(64)
        self._sources = Slots(64)
        self._subject = subject
        self._tally = Tally(subject)
        self._coverage: dict[str, tuple[float, float]] = {}
        self._start(version)

    def _start(self, version: str) -> None:
        """Series of closed label sets exist from the first scrape, so that `increase` works."""
        series = self._series
        series.set("build_info", 1, (clean(version) or "unknown",))
        for category in CATEGORIES:
            self._categories.get(category.id)
            series.set("category_info", 1, (category.id, category.title, category.severity))
        for name, values in (
            ("spans_dropped_total", DROP_REASONS),
            ("dead_letters_total", REASONS),
            ("stage_failures_total", STAGES),
            ("alert_deliveries_total", DELIVERY_RESULTS),
        ):
            for value in (*values, OTHER):
                series.add(name, (value,), 0)
        for kind in KINDS:
            for severity in SEVERITIES:
                series.add("alerts_total", (kind, severity), 0)
        for name in (
            "gaps_total",
            "span_conflicts_total",
            "series_overflow_total",
            "payloads_turned_away_total",
            "redaction_errors_total",
        ):
            series.add(name, (), 0)
        series.set("alerts_outbox_size", 0)

    # What the pipeline tells.

    def record(
        self,
        changes: Changes,
        outbox_size: int | None = None,
        received: Mapping[str, int] | None = None,
    ) -> None:
        """Count a commit. Call it once per commit, after the commit.

        `received`: spans per source, those seen before included; None: the new ones of `changes`.
        """
        with self._series.lock:
            if received is None:
                received = Counter(span.source for span in changes.spans)
            for source, spans in received.items():
                label = self._slot(self._sources, source)
                self._series.add("spans_received_total", (label,), spans)
            self._record_input(changes)
            for increment in self._tally.update(changes):
                self._count(increment)
            for trajectory in changes.trajectories:
                self._seen(self._subject(trajectory), trajectory.last_received_ns)
            self._verdicts(changes.verdicts)
            for alert in changes.alerts:
                self._alert(alert)
            if changes.committed_ns:
                self._series.set("last_commit_timestamp_seconds", changes.committed_ns / 1e9)
            if outbox_size is not None:
                self.outbox(outbox_size)

    def restore(
        self,
        verdicts: Iterable[Verdict],
        last_received_ns: Mapping[Subject, int],
        alerts: Iterable[Alert] = (),
    ) -> None:
        """Take back gauges from the store at start, or after the references in force changed.

        `alerts`: recent ones, for the time of the newest. Counters start at 0, as Prometheus
        expects of a restarted process.
        """
        with self._series.lock:
            for name in ("verdict", "evidence_log10", "rate_lower_bound", "drift_log10"):
                self._series.clear(name)
            self._verdicts(verdicts)
            for subject, received_ns in last_received_ns.items():
                self._seen(subject, received_ns)
            for alert in alerts:
                self._alert_time(alert)

    def source(
        self, name: str, up: bool, lag_s: float | None = None, stalled: bool = False
    ) -> None:
        """State of a source; `lag_s` None where a lag has no meaning."""
        label = self._slot(self._sources, name)
        self._series.set("source_up", float(up), (label,))
        self._series.set("source_stalled", float(stalled), (label,))
        self._series.add("spans_received_total", (label,), 0)
        if lag_s is not None:
            self._series.set("source_lag_seconds", lag_s, (label,))

    def polled(self, now_ns: int) -> None:
        """The pipeline made a turn, with or without data."""
        self._series.set("last_poll_timestamp_seconds", now_ns / 1e9)

    def dropped(self, reason: str, spans: int) -> None:
        """Spans that were not stored. `reason`: of `DROP_REASONS`, others count as `other`."""
        label = reason if reason in DROP_REASONS else OTHER
        self._series.add("spans_dropped_total", (label,), spans)

    def lost(self, turned_away: int, redaction_errors: int) -> None:
        """Payloads turned away and texts lost to redaction, both since the start of the process."""
        for name, total in (
            ("payloads_turned_away_total", turned_away),
            ("redaction_errors_total", redaction_errors),
        ):
            with self._series.lock:
                self._series.add(name, (), max(0.0, total - (self._series.get(name) or 0.0)))

    def failed(self, stage: str) -> None:
        """A stage raised. `stage`: of `STAGES`, others count as `other`."""
        self._series.add("stage_failures_total", (stage if stage in STAGES else OTHER,))

    def outbox(self, size: int) -> None:
        """Alerts not yet delivered."""
        self._series.set("alerts_outbox_size", size)

    def delivery(self, result: str, alerts: int = 1) -> None:
        """An attempt to deliver. `result`: of `DELIVERY_RESULTS`."""
        label = result if result in DELIVERY_RESULTS else OTHER
        self._series.add("alert_deliveries_total", (label,), alerts)

    def canary(self, at_ns: int) -> None:
        """The planted anomaly came through as an alert."""
        self._series.set("canary_timestamp_seconds", at_ns / 1e9)

    def render(self) -> bytes:
        """The registry in Prometheus's text format, `CONTENT_TYPE`."""
        with self._series.lock:
            overflow, self._series.overflow = self._series.overflow, 0
            if overflow:
                self._series.add("series_overflow_total", (), overflow)
        return generate_latest(self._registry)

    # How it becomes series.

    def _record_input(self, changes: Changes) -> None:
        series = self._series
        for log in changes.logs:
            series.add("log_records_received_total", (self._slot(self._sources, log.source),))
        if changes.duplicates:
            self.dropped("duplicate", changes.duplicates)
        for letter in changes.dead_letters:
            reason = letter.reason if letter.reason in REASONS else OTHER
            series.add("dead_letters_total", (reason,))
            self.dropped(reason, 1)
        series.add("gaps_total", (), len(changes.gaps))
        series.add("span_conflicts_total", (), len(changes.conflicts))

    def _count(self, increment: Increment) -> None:
        subject = self._subject_label(increment.subject)
        kind, *rest = increment.key
        if kind == "call":
            self._add("calls_total", (subject, rest[0]), increment.amount)
        elif kind == "action":
            category = self._slot(self._categories, rest[0])
            self._add("actions_total", (subject, category, rest[1]), increment.amount)
        elif kind == "opportunity":
            category = self._slot(self._categories, rest[0])
            self._add("opportunities_total", (subject, category), increment.amount)
        else:
            self._cover(subject, rest[0] not in UNREADABLE, increment.amount)

    def _add(self, name: str, labels: tuple[str, ...], amount: int) -> None:
        if not self._series.add(name, labels, amount):
            self._series.add(name, (OTHER, *labels[1:]), amount)

    def _cover(self, subject: str, visible: bool, calls: int) -> None:
        seen, total = self._coverage.get(subject, (0.0, 0.0))
        seen, total = seen + calls * visible, total + calls
        self._series.set("arguments_coverage_ratio", seen / total, (subject,))
        if total > COVERAGE_WINDOW:
            seen, total = seen / 2, total / 2
        self._coverage[subject] = (seen, total)

    def _seen(self, subject: Subject, received_ns: int) -> None:
        labels = (self._subject_label(subject),)
        before = self._series.get("last_span_timestamp_seconds", labels) or 0.0
        if received_ns / 1e9 > before:
            self._series.set("last_span_timestamp_seconds", received_ns / 1e9, labels)

    def _verdicts(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            alarm = verdict.state == "alarm"
            cell = self._cell(verdict.subject, verdict.category, verdict.reference, alarm)
            if cell[0] == OTHER and not alarm:
                continue  # the states of many subjects make no one state; an alarm still shows
            for state in VERDICT_STATES:
                self._series.set("verdict", float(state == verdict.state), (*cell, state))
            self._series.set("evidence_log10", verdict.evidence_log10, cell)
            self._series.set("rate_lower_bound", verdict.rate_lower, cell)
            if verdict.drift_log10 is not None and cell[0] != OTHER:
                self._series.set("drift_log10", verdict.drift_log10, (cell[0], cell[2]))

    def _alert(self, alert: Alert) -> None:
        self._series.add("alerts_total", (alert.kind, alert.severity))
        self._alert_time(alert)

    def _alert_time(self, alert: Alert) -> None:
        cell = self._cell(alert.subject, alert.category, alert.reference, True)
        labels = (alert.kind, *cell, alert.severity)
        before = self._series.get("last_alert_timestamp_seconds", labels) or 0.0
        if alert.raised_ns / 1e9 > before:
            self._series.set("last_alert_timestamp_seconds", alert.raised_ns / 1e9, labels)

    def _cell(
        self, subject: Subject, category: str, reference: str, important: bool
    ) -> tuple[str, str, str]:
        return (
            self._subject_label(subject, important),
            category
            if category in CATEGORY_IDS or not category
            else self._slot(self._categories, category),
            self._slot(self._references, reference, important) if reference else "",
        )

    def _subject_label(self, subject: Subject, important: bool = False) -> str:
        label = self._subjects.known(subject)  # without building the name anew for every call
        return label or self._slot(self._subjects, subject.label(), important, subject)

    def _slot(
        self, slots: Slots, name: str, important: bool = False, owner: Hashable = None
    ) -> str:
        label = slots.get(name, important, owner)
        if label is None:
            self._series.add("series_overflow_total")
            return OTHER
        return label
