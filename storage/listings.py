"""What people ask of the store: alerts, verdicts, evidence, subjects, summaries of trajectories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Alert, Evidence, Verdict
from storage import queries
from storage.rows import ALERTS, EVIDENCE, VERDICTS


@dataclass(frozen=True, slots=True)
class TrajectorySummary:
    """A row of the view `trajectories`. `categories`: ids of those with an action, sorted."""

    trajectory_id: str
    environment: str
    agent: str
    agent_version: str
    model: str
    started_ns: int
    ended_ns: int
    state: str
    calls: int
    errors: int
    denied: int
    categories: Sequence[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is stored of a subject. `arguments_states`: calls by state of their arguments."""

    subject: Subject
    trajectories: int
    calls: int
    first_received_ns: int
    last_received_ns: int
    arguments_states: Mapping[str, int]


SUMMARY = (
    "trajectory_id, environment, agent, agent_version, model, epoch_ns(started_at), "
    "epoch_ns(ended_at), state, calls, errors, denied, categories"
)


def alerts(cursor: duckdb.DuckDBPyConnection, limit: int, offset: int) -> Sequence[Alert]:
    """Newest first."""
    rows = cursor.execute(
        f"SELECT {ALERTS.select()} FROM data.alerts ORDER BY raised_at DESC, place DESC "
        "LIMIT ? OFFSET ?",
        [limit, offset],
    ).fetchall()
    return [stored.alert for stored in ALERTS.read(rows)]


def alert(cursor: duckdb.DuckDBPyConnection, alert_id: str) -> Alert | None:
    """By its id or the start of it; None where there is none, or more than one."""
    rows = cursor.execute(
        f"SELECT {ALERTS.select()} FROM data.alerts WHERE starts_with(alert_id, ?) LIMIT 2",
        [alert_id],
    ).fetchall()
    found = [stored.alert for stored in ALERTS.read(rows)]
    return found[0] if len(found) == 1 else None


def delivered(cursor: duckdb.DuckDBPyConnection) -> Sequence[Alert]:
    """The newest thousand alerts that a receiver has taken, oldest first."""
    rows = cursor.execute(
        f"SELECT {ALERTS.select()} FROM data.alerts WHERE delivered_at IS NOT NULL "
        "ORDER BY raised_at DESC, place DESC LIMIT 1000"
    ).fetchall()
    return [stored.alert for stored in reversed(ALERTS.read(rows))]


def outbox_size(cursor: duckdb.DuckDBPyConnection) -> int:
    """Alerts not delivered yet."""
    (size,) = cursor.execute(
        "SELECT count(*) FROM data.alerts WHERE delivered_at IS NULL"
    ).fetchone() or (0,)
    return int(size)


def verdicts(cursor: duckdb.DuckDBPyConnection) -> Sequence[Verdict]:
    """The state now, by subject, category and reference."""
    rows = cursor.execute(
        f"SELECT {VERDICTS.select()} FROM data.verdicts "
        "ORDER BY environment, agent, agent_version, model, category, reference"
    ).fetchall()
    return VERDICTS.read(rows)


def evidence(
    cursor: duckdb.DuckDBPyConnection, subject: Subject, category: str, reference: str, most: int
) -> Sequence[Evidence]:
    """The last `most` rows of one test, in order of `n`; parts of one trajectory share it, and come
    in the order they were judged in.
    """
    rows = cursor.execute(
        f"SELECT {EVIDENCE.select()} FROM data.evidence WHERE environment = ? AND agent = ? "
        "AND agent_version = ? AND model = ? AND category = ? AND reference = ? "
        "ORDER BY n DESC, batch DESC, rowid DESC LIMIT ?",
        [*subject, category, reference, most],
    ).fetchall()
    return list(reversed(EVIDENCE.read(rows)))


def summaries(
    cursor: duckdb.DuckDBPyConnection,
    equal: Mapping[str, str],
    category: str,
    tool: str,
    since_ns: int | None,
    until_ns: int | None,
    limit: int,
    offset: int,
) -> Sequence[TrajectorySummary]:
    """Trajectories, those that started last first. `equal`: column to the value it must have."""
    conditions = ["true"]
    values: list[object] = []
    for column, value in equal.items():
        conditions.append(f"{column} = ?")
        values.append(value)
    if category:
        conditions.append("list_contains(categories, ?)")
        values.append(category)
    if tool:
        conditions.append("trajectory_id IN (SELECT trajectory_id FROM data.calls WHERE tool = ?)")
        values.append(tool)
    if since_ns is not None:
        conditions.append("epoch_ns(started_at) >= ?")
        values.append(since_ns)
    if until_ns is not None:
        conditions.append("epoch_ns(started_at) < ?")
        values.append(until_ns)
    rows = cursor.execute(
        f"SELECT {SUMMARY} FROM data.trajectories WHERE {' AND '.join(conditions)} "
        "ORDER BY started_at DESC, trajectory_id LIMIT ? OFFSET ?",
        [*values, limit, offset],
    ).fetchall()
    return [TrajectorySummary(*row) for row in rows]


def summaries_of(
    cursor: duckdb.DuckDBPyConnection, trajectory_ids: Sequence[str]
) -> Sequence[TrajectorySummary]:
    """Those trajectories, in the order asked for; unknown ids are left out."""
    rows = cursor.execute(
        f"SELECT {SUMMARY} FROM data.trajectories WHERE list_contains(?, trajectory_id)",
        [list(trajectory_ids)],
    ).fetchall()
    found = {row[0]: TrajectorySummary(*row) for row in rows}
    return [found[each] for each in trajectory_ids if each in found]


def newest(cursor: duckdb.DuckDBPyConnection, limit: int) -> Sequence[Trajectory]:
    """The trajectories heard of last, with their calls, in whatever state."""
    rows = cursor.execute(
        "SELECT trajectory_id FROM data.trajectories ORDER BY last_received_at DESC LIMIT ?",
        [limit],
    ).fetchall()
    return queries.trajectories(cursor, [row[0] for row in rows], with_calls=True)


def trajectory(cursor: duckdb.DuckDBPyConnection, trajectory_id: str) -> Trajectory | None:
    """One trajectory with its calls, in whatever state; None where there is none."""
    found = queries.trajectories(cursor, [trajectory_id], with_calls=True)
    return found[0] if found else None


def subjects(cursor: duckdb.DuckDBPyConnection) -> Sequence[Seen]:
    """All subjects, those heard of last first."""
    states: dict[str, dict[str, int]] = {}
    key = "data.label(t.environment, t.agent, t.agent_version, t.model)"
    for label, state, count in cursor.execute(
        f"SELECT {key}, c.arguments_state, count(*) FROM data.calls c "
        "JOIN data.trajectories t USING (trajectory_id) GROUP BY ALL"
    ).fetchall():
        states.setdefault(label, {})[state] = count
    rows = cursor.execute(
        "SELECT environment, agent, agent_version, model, count(*), sum(calls)::BIGINT, "
        "epoch_ns(min(started_at)), epoch_ns(max(last_received_at)) AS last "
        "FROM data.trajectories GROUP BY environment, agent, agent_version, model "
        "ORDER BY last DESC"
    ).fetchall()
    found: list[Seen] = []
    for environment, agent, agent_version, model, trajectories, calls, first, last in rows:
        subject = Subject(environment, agent, agent_version, model)
        seen = states.get(subject.label(), {})
        found.append(Seen(subject, trajectories, calls, first, last, seen))
    return found


def first_seen(
    cursor: duckdb.DuckDBPyConnection, trajectory_ids: Sequence[str], column: str
) -> Mapping[str, int]:
    """Values of a column of `calls` in those trajectories, and when each was first called."""
    rows = cursor.execute(
        f"SELECT {column}, epoch_ns(min(started_at)) FROM data.calls "
        f"WHERE list_contains(?, trajectory_id) GROUP BY {column}",
        [list(trajectory_ids)],
    ).fetchall()
    return {str(value): int(at) for value, at in rows if value}


def used(
    cursor: duckdb.DuckDBPyConnection, equal: Mapping[str, str], column: str
) -> Mapping[str, tuple[int, int]]:
    """Values of a column of `calls` in all trajectories with `equal` (column to value), and when
    each was first and last called; calls without a time do not count.
    """
    conditions = " AND ".join(["c.started_at > 'epoch'", *(f"t.{name} = ?" for name in equal)])
    rows = cursor.execute(
        f"SELECT c.{column}, epoch_ns(min(c.started_at)), epoch_ns(max(c.started_at)) "
        "FROM data.calls c JOIN data.trajectories t USING (trajectory_id) "
        f"WHERE {conditions} GROUP BY c.{column}",
        list(equal.values()),
    ).fetchall()
    return {str(value): (int(first), int(last)) for value, first, last in rows if value}


def dialects(
    cursor: duckdb.DuckDBPyConnection,
) -> Sequence[tuple[str, str, int]]:
    """(dialect, source, calls) of all stored calls."""
    return cursor.execute(
        "SELECT dialect, source, count(*) FROM data.calls GROUP BY ALL ORDER BY ALL"
    ).fetchall()
