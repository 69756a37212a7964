"""The tables' columns, one `Shape` for each contracts type that is stored."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.labels import Action, Opportunity, Severity
from contracts.record import DeadLetter, Gap, Partition, Position
from contracts.span import LogEvent, Span, Value
from contracts.trajectory import Call, Subject, Trajectory
from contracts.verdict import Alert, Evidence, Verdict
from storage.columns import (
    BLOB,
    DOCUMENT,
    EVENTS,
    FLAG,
    FLOAT,
    INTEGER,
    LIST,
    TEXT,
    TIME,
    Kind,
    Shape,
)


def _columns(kind: Kind, *names: str) -> tuple[tuple[str, str, Kind], ...]:
    return tuple((name, name, kind) for name in names)


_SUBJECT = tuple((name, f"subject.{name}", TEXT) for name in Subject._fields)

SPANS = Shape(
    "data.spans",
    (
        *_columns(TEXT, "trace_id", "span_id", "parent_span_id", "name"),
        ("kind", "kind", INTEGER),
        ("started_at", "start_ns", TIME),
        ("ended_at", "end_ns", TIME),
        ("status_code", "status_code", INTEGER),
        *_columns(TEXT, "status_message", "scope"),
        *_columns(DOCUMENT, "resource", "attributes"),
        ("events", "events", EVENTS),
        ("dropped", "dropped", INTEGER),
        ("flags", "flags", LIST),
        *_columns(TEXT, "digest", "source"),
        ("received_at", "received_ns", TIME),
    ),
    Span,
)
LOGS = Shape(
    "data.logs",
    (
        *_columns(TEXT, "name", "trace_id", "span_id"),
        ("occurred_at", "time_ns", TIME),
        ("scope", "scope", TEXT),
        *_columns(DOCUMENT, "resource", "attributes", "body"),
        *_columns(TEXT, "digest", "source"),
        ("received_at", "received_ns", TIME),
    ),
    LogEvent,
)
CALLS = Shape(
    "data.calls",
    (
        ("trajectory_id", "trajectory_id", TEXT),
        ("step", "step", INTEGER),
        *_columns(TEXT, "trace_id", "span_id", "call_id"),
        ("started_at", "started_ns", TIME),
        ("duration_ns", "duration_ns", INTEGER),
        *_columns(TEXT, "environment", "service", "agent", "agent_version", "parent_agent"),
        *_columns(TEXT, "model", "conversation_id", "user_id", "tool"),
        ("arguments", "arguments", DOCUMENT),
        ("arguments_state", "arguments_state", TEXT),
        ("result", "result", DOCUMENT),
        *_columns(TEXT, "outcome", "error", "dialect", "source"),
        ("received_at", "received_ns", TIME),
        ("tool_description", "tool_description", TEXT),
        ("tools_offered", "tools_offered", LIST),
    ),
    Call,
)
_TRAJECTORY = (
    *_columns(TEXT, "trajectory_id", "grouped_by", "environment", "service", "agent"),
    *_columns(TEXT, "agent_version", "model", "conversation_id", "user_id"),
    ("started_at", "started_ns", TIME),
    ("ended_at", "ended_ns", TIME),
    ("last_received_at", "last_received_ns", TIME),
    *_columns(TEXT, "state", "request"),
    ("trace_ids", "trace_ids", LIST),
    ("judged_calls", "judged_calls", INTEGER),
)
TRAJECTORIES = Shape("data.trajectories", _TRAJECTORY, Trajectory)
STANDINGS: Shape[Trajectory] = Shape(
    "data.trajectories",
    (
        ("trajectory_id", "trajectory_id", TEXT),
        ("state", "state", TEXT),
        ("judged_calls", "judged_calls", INTEGER),
    ),
)


@dataclass(frozen=True, slots=True)
class TrajectorySummary:
    """A trajectory with the counts that the view shows."""

    trajectory: Trajectory
    calls: int
    errors: int
    denied: int
    categories: tuple[str, ...]


SUMMARIES: Shape[TrajectorySummary] = Shape(
    "data.trajectories",
    (
        *((name, f"trajectory.{field}", kind) for name, field, kind in _TRAJECTORY),
        *_columns(INTEGER, "calls", "errors", "denied"),
        ("categories", "categories", LIST),
    ),
)
ACTIONS = Shape(
    "data.actions",
    (
        ("trajectory_id", "trajectory_id", TEXT),
        ("step", "step", INTEGER),
        *_columns(TEXT, "category", "variant", "stage", "position", "rule_id"),
        ("rule_version", "rule_version", INTEGER),
        ("maturity", "maturity", TEXT),
        ("evidence", "evidence", LIST),
        ("severity", "severity", TEXT),
        ("modifiers", "modifiers", LIST),
        ("irreversible", "irreversible", FLAG),
        ("target", "target", TEXT),
        ("confidence", "confidence", FLOAT),
    ),
    Action,
)
OPPORTUNITIES = Shape(
    "data.opportunities",
    (
        ("trajectory_id", "trajectory_id", TEXT),
        ("step", "step", INTEGER),
        *_columns(TEXT, "category", "family", "position"),
        *_columns(FLAG, "taken", "visible"),
    ),
    Opportunity,
)


def _evidence(environment: str, agent: str, agent_version: str, model: str, *rest: Any) -> Evidence:
    return Evidence(Subject(environment, agent, agent_version, model), *rest)


def _verdict(environment: str, agent: str, agent_version: str, model: str, *rest: Any) -> Verdict:
    return Verdict(Subject(environment, agent, agent_version, model), *rest)


EVIDENCE = Shape(
    "data.evidence",
    (
        *_SUBJECT,
        *_columns(TEXT, "category", "reference", "trajectory_id"),
        *_columns(INTEGER, "n", "opportunities", "taken"),
        *_columns(FLOAT, "expected", "evidence_log10"),
    ),
    _evidence,
)
VERDICTS = Shape(
    "data.verdicts",
    (
        *_SUBJECT,
        *_columns(TEXT, "category", "reference", "kind", "state"),
        *_columns(INTEGER, "opportunities", "taken"),
        *_columns(FLOAT, "expected", "evidence_log10", "rate_lower", "rate_upper"),
        *_columns(INTEGER, "alarm_at", "onset", "needed"),
        *_columns(TEXT, "reason", "attribution"),
        ("updated_at", "updated_ns", TIME),
        *_columns(INTEGER, "calibrated_at", "first_opportunities", "first_taken"),
        *_columns(FLOAT, "first_lower", "first_upper", "first_log10", "e_value_log10"),
        ("drift_log10", "drift_log10", FLOAT),
        *_columns(INTEGER, "drift_at", "drift_pairs", "drift_left"),
    ),
    _verdict,
)


def verdict_document(verdict: Verdict | None) -> Value:
    """A verdict as the JSON that stands in an alert's row."""
    if verdict is None:
        return None
    return cast("Value", {**asdict(verdict), "subject": list(verdict.subject)})


def verdict_of(document: Value) -> Verdict | None:
    """The verdict that `verdict_document` wrote."""
    if document is None:
        return None
    fields: dict[str, Any] = dict(cast("dict[str, Any]", document))
    fields["subject"] = Subject(*fields["subject"])
    return Verdict(**fields)


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert with its verdict as JSON."""

    alert: Alert
    verdict: Value


def _alert(
    alert_id: str,
    kind: Literal["drift", "ceiling", "integrity"],
    environment: str,
    agent: str,
    agent_version: str,
    model: str,
    category: str,
    reference: str,
    severity: Severity,
    raised_ns: int,
    summary: str,
    trajectory_ids: tuple[str, ...],
    verdict: Value,
) -> StoredAlert:
    subject = Subject(environment, agent, agent_version, model)
    alert = Alert(
        alert_id,
        kind,
        subject,
        category,
        reference,
        severity,
        raised_ns,
        summary,
        trajectory_ids,
        verdict_of(verdict),
    )
    return StoredAlert(alert, verdict)


ALERTS = Shape(
    "data.alerts",
    (
        *((name, f"alert.{name}", TEXT) for name in ("alert_id", "kind")),
        *((name, f"alert.subject.{name}", TEXT) for name in Subject._fields),
        *((name, f"alert.{name}", TEXT) for name in ("category", "reference", "severity")),
        ("raised_at", "alert.raised_ns", TIME),
        ("summary", "alert.summary", TEXT),
        ("trajectory_ids", "alert.trajectory_ids", LIST),
        ("verdict", "verdict", DOCUMENT),
    ),
    _alert,
)
GAPS: Shape[Gap] = Shape(
    "data.gaps",
    (
        ("topic", "partition.topic", TEXT),
        ("partition", "partition.partition", INTEGER),
        ("first_offset", "first", INTEGER),
        ("last_offset", "last", INTEGER),
        ("reason", "reason", TEXT),
        ("noticed_at", "noticed_ns", TIME),
    ),
)


def _position(topic: str, partition: int, *rest: Any) -> Position:
    return Position(Partition(topic, partition), *rest)


POSITIONS = Shape(
    "data.positions",
    (
        ("topic", "partition.topic", TEXT),
        ("partition", "partition.partition", INTEGER),
        ("last_offset", "offset", INTEGER),
        ("leader_epoch", "leader_epoch", INTEGER),
        ("topic_id", "topic_id", TEXT),
    ),
    _position,
)


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter with its position, where it has one, spread over columns."""

    letter: DeadLetter
    topic: str | None
    partition: int | None
    record_offset: int | None


HEAD_BYTES = 512
"""Bytes of a dead letter that are kept, and characters of what is said about it."""


def stored_dead_letter(letter: DeadLetter) -> StoredDeadLetter:
    """The row of a dead letter."""
    letter = replace(letter, head=letter.head[:HEAD_BYTES], detail=letter.detail[:HEAD_BYTES])
    if letter.position is None:
        return StoredDeadLetter(letter, None, None, None)
    where = letter.position.partition
    return StoredDeadLetter(letter, where.topic, where.partition, letter.position.offset)


DEAD_LETTERS: Shape[StoredDeadLetter] = Shape(
    "data.dead_letters",
    (
        *((name, f"letter.{name}", TEXT) for name in ("reason", "detail")),
        ("head", "letter.head", BLOB),
        ("size_bytes", "letter.size_bytes", INTEGER),
        ("source", "letter.source", TEXT),
        ("received_at", "letter.received_ns", TIME),
        ("topic", "topic", TEXT),
        *_columns(INTEGER, "partition", "record_offset"),
    ),
)
BASELINES = Shape(
    "data.baselines",
    (
        *_columns(TEXT, "name", "kind", "digest"),
        ("fitted_where", "where", TEXT),
        *_columns(INTEGER, "trajectories", "calls"),
        ("trajectories_digest", "trajectories_digest", TEXT),
        ("created_at", "created_ns", TIME),
        ("subjects", "subjects", LIST),
        *_columns(TEXT, "active_for", "path", "signed_by"),
    ),
    BaselineInfo,
)
LINEAGE = Shape(
    "data.lineage",
    (
        *_columns(TEXT, "model", "relation", "value", "digest"),
        ("recorded_at", "recorded_ns", TIME),
        ("detail", "detail", DOCUMENT),
    ),
    LineageEntry,
)
