"""Every metric the daemon exports, as data: `DEFINITIONS` is the whole of /metrics."""

from alerts.series import Definition

_CELL = ("subject", "category", "reference")

DEFINITIONS: tuple[Definition, ...] = (
    # What came in.
    Definition(
        "spans_received_total",
        "counter",
        ("source",),
        "Spans received, those seen before included.",
    ),
    Definition(
        "log_records_received_total",
        "counter",
        ("source",),
        "OTLP log records stored for the first time.",
    ),
    Definition(
        "spans_dropped_total",
        "counter",
        ("reason",),
        "Spans not stored, by reason; duplicates are spans that were stored before.",
    ),
    Definition(
        "dead_letters_total",
        "counter",
        ("reason",),
        "Records and spans that could not be read and were set aside.",
    ),
    Definition(
        "payloads_turned_away_total",
        "counter",
        (),
        "OTLP payloads not taken because the inbox was full; their senders keep them.",
    ),
    Definition(
        "redaction_errors_total",
        "counter",
        (),
        "Spans, log records and dead letters that lost every text because redaction failed.",
    ),
    Definition(
        "span_conflicts_total",
        "counter",
        (),
        "Spans that came again with the same id and other content; both are kept.",
    ),
    Definition(
        "gaps_total", "counter", (), "Ranges of a topic that were lost before they could be read."
    ),
    Definition("source_up", "gauge", ("source",), "1 while the source can be read, else 0."),
    Definition(
        "source_stalled",
        "gauge",
        ("source",),
        "1 while the source holds records and delivers none, else 0.",
    ),
    Definition(
        "source_lag_seconds", "gauge", ("source",), "Age of the oldest record not yet read."
    ),
    # What it became.
    Definition(
        "calls_total", "counter", ("subject", "outcome"), "Tool calls, by subject and outcome."
    ),
    Definition(
        "actions_total",
        "counter",
        ("subject", "category", "stage"),
        "Calls labelled as unsafe actions.",
    ),
    Definition(
        "opportunities_total",
        "counter",
        ("subject", "category"),
        "Steps at which an unsafe action was possible.",
    ),
    Definition(
        "arguments_coverage_ratio",
        "gauge",
        ("subject",),
        "Share of recent calls whose arguments could be read.",
    ),
    Definition(
        "last_span_timestamp_seconds",
        "gauge",
        ("subject",),
        "Time at which the subject's newest span was received.",
    ),
    # What it means.
    Definition(
        "verdict",
        "gauge",
        (*_CELL, "state"),
        "1 for the state that holds, 0 for the others.",
    ),
    Definition("evidence_log10", "gauge", _CELL, "log10 of the sequential test's statistic."),
    Definition(
        "rate_lower_bound",
        "gauge",
        _CELL,
        "Anytime-valid lower bound of the unsafe rate per opportunity.",
    ),
    Definition(
        "drift_log10",
        "gauge",
        ("subject", "reference"),
        "log10 of the e-value that the shape of behaviour differs; informational.",
    ),
    Definition(
        "category_info",
        "gauge",
        ("category", "title", "severity"),
        "1; the severity of each category of unsafe action.",
    ),
    Definition("alerts_total", "counter", ("kind", "severity"), "Alerts raised."),
    Definition(
        "last_alert_timestamp_seconds",
        "gauge",
        ("kind", *_CELL, "severity"),
        "Time of the newest alert.",
    ),
    # Whether the daemon is well.
    Definition("build_info", "gauge", ("version",), "1; the version that runs."),
    Definition("last_commit_timestamp_seconds", "gauge", (), "Time of the newest commit."),
    Definition(
        "last_poll_timestamp_seconds",
        "gauge",
        (),
        "Time of the pipeline's newest turn, with or without data.",
    ),
    Definition(
        "stage_failures_total", "counter", ("stage",), "Failures of the pipeline, by stage."
    ),
    Definition("alerts_outbox_size", "gauge", (), "Alerts not yet delivered."),
    Definition("alert_deliveries_total", "counter", ("result",), "Attempts to deliver alerts."),
    Definition(
        "canary_timestamp_seconds",
        "gauge",
        (),
        "Time at which the planted anomaly last came through as an alert.",
    ),
    Definition(
        "series_overflow_total",
        "counter",
        (),
        "Updates that found no room for their own series and went to `other` or nowhere.",
    ),
)
METRIC_NAMES: tuple[str, ...] = tuple(definition.name for definition in DEFINITIONS)
