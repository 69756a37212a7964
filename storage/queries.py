"""Every statement that reads the store for the pipeline, one function each."""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import duckdb
import pyarrow as pa

from contracts.ports import Restored
from contracts.record import Partition, Position
from contracts.trajectory import Call, Trajectory
from contracts.verdict import Alert
from storage.columns import TEXT, TIME
from storage.rows import ALERTS, CALLS, LOGS, POSITIONS, SPANS, TRAJECTORIES

NOTHING = Restored((), (), {})


def ledger(cursor: duckdb.DuckDBPyConnection) -> Mapping[Partition, Position]:
    """Last position stored per partition."""
    rows = cursor.execute(f"SELECT {POSITIONS.select()} FROM data.positions").fetchall()
    return {position.partition: position for position in POSITIONS.read(rows)}


def detector_states(cursor: duckdb.DuckDBPyConnection) -> Mapping[str, bytes]:
    """Detector state by key."""
    return dict(cursor.execute("SELECT key, state FROM data.detector_states").fetchall())


def totals(cursor: duckdb.DuckDBPyConnection) -> Mapping[str, int]:
    """`batch` (number of the last commit) and `duplicates` (spans received again)."""
    return dict(cursor.execute("SELECT name, value FROM data.totals").fetchall())


def restore_traces(
    cursor: duckdb.DuckDBPyConnection,
    trace_ids: Sequence[str],
    batches: tuple[int, int] | None = None,
) -> Restored:
    """Spans and logs of the traces, and what was judged of the trajectories they belong to.

    `batches`: first and last batch with rows of them, if known.
    """
    with _wanted(cursor, trace_ids):
        if batches is None:
            ((first, last),) = cursor.execute(
                "SELECT min(batch), max(batch) FROM data.traces "
                "WHERE trace_id IN (SELECT id FROM wanted)"
            ).fetchall()
            if first is None:
                return NOTHING
        else:
            first, last = batches
        # The range lets zone maps skip the row groups of other times.
        condition = "WHERE batch BETWEEN ? AND ? AND trace_id IN (SELECT id FROM wanted)"
        span_rows = cursor.execute(
            f"SELECT {SPANS.select()} FROM data.spans {condition}", [first, last]
        ).fetchall()
        # A conflicting span may have decided what a call is, so the joiner needs it again, after
        # the one that came first.
        span_rows += cursor.execute(
            f"SELECT {SPANS.select()} FROM data.conflicts WHERE trace_id IN (SELECT id FROM wanted)"
        ).fetchall()
        log_rows = cursor.execute(
            f"SELECT {LOGS.select()} FROM data.logs {condition}", [first, last]
        ).fetchall()
        # A trajectory is written again after each of its traces, never before the first.
        judged = cursor.execute(
            "SELECT trajectory_id, judged_calls FROM data.trajectories "
            "WHERE batch >= $1 AND trajectory_id IN (SELECT trajectory_id FROM data.members "
            "WHERE batch >= $1 AND trace_id IN (SELECT id FROM wanted))",
            [first],
        ).fetchall()
    return Restored(tuple(SPANS.read(span_rows)), tuple(LOGS.read(log_rows)), dict(judged))


def traces_of(cursor: duckdb.DuckDBPyConnection, trajectory_ids: Sequence[str]) -> list[str]:
    """Ids of all traces of those trajectories."""
    with _wanted(cursor, trajectory_ids):
        rows = cursor.execute(
            "SELECT DISTINCT trace_id FROM data.members "
            "WHERE trajectory_id IN (SELECT id FROM wanted)"
        ).fetchall()
    return [str(trace_id) for (trace_id,) in rows]


def open_trajectories(
    cursor: duckdb.DuckDBPyConnection, limit: int, heard_before_ns: int | None
) -> list[str]:
    """Ids of trajectories not complete, those heard of last first, all or those heard of before."""
    rows = cursor.execute(
        "SELECT trajectory_id FROM data.trajectories WHERE state <> 'complete' "
        "AND ($before IS NULL OR last_received_at < make_timestamp_ns($before)::TIMESTAMPTZ_NS) "
        "ORDER BY last_received_at DESC, trajectory_id LIMIT $limit",
        {"before": heard_before_ns, "limit": limit},
    ).fetchall()
    return [str(trajectory_id) for (trajectory_id,) in rows]


def trajectories(
    cursor: duckdb.DuckDBPyConnection, trajectory_ids: Sequence[str], with_calls: bool
) -> list[Trajectory]:
    """Those trajectories, ordered by (ended_ns, trajectory_id)."""
    with _wanted(cursor, trajectory_ids):
        rows = cursor.execute(
            f"SELECT {TRAJECTORIES.select()}, batch FROM data.trajectories "
            "WHERE trajectory_id IN (SELECT id FROM wanted) ORDER BY ended_at, trajectory_id"
        ).fetchall()
        calls: dict[str, list[Call]] = {}
        if with_calls and rows:
            batches = [row[-1] for row in rows]
            call_rows = cursor.execute(
                f"SELECT {CALLS.select()} FROM data.calls WHERE batch BETWEEN ? AND ? "
                "AND trajectory_id IN (SELECT id FROM wanted) ORDER BY trajectory_id, step",
                [min(batches), max(batches)],
            ).fetchall()
            for call in CALLS.read(call_rows):
                calls.setdefault(call.trajectory_id, []).append(call)
    read = TRAJECTORIES.read([row[:-1] for row in rows])
    if not with_calls:
        return read
    return [_with_calls(found, tuple(calls.get(found.trajectory_id, ()))) for found in read]


def _with_calls(trajectory: Trajectory, calls: tuple[Call, ...]) -> Trajectory:
    return trajectory if not calls else replace(trajectory, calls=calls)


def pending_alerts(cursor: duckdb.DuckDBPyConnection, limit: int) -> Sequence[Alert]:
    """Alerts not delivered, oldest first."""
    rows = cursor.execute(
        f"SELECT {ALERTS.select()} FROM data.alerts WHERE delivered_at IS NULL "
        "ORDER BY raised_at, place LIMIT ?",
        [limit],
    ).fetchall()
    return [stored.alert for stored in ALERTS.read(rows)]


def mark_delivered(
    connection: duckdb.DuckDBPyConnection, alert_ids: Sequence[str], at_ns: int
) -> None:
    """Take alerts out of the outbox; unknown ids and those delivered before are left alone."""
    delivered = pa.table(
        {"alert_id": TEXT.build(alert_ids), "at": TIME.build([at_ns] * len(alert_ids))}
    )
    connection.register("delivered", delivered)
    try:
        connection.execute(
            "UPDATE data.alerts SET delivered_at = delivered.at FROM delivered "
            "WHERE alerts.alert_id = delivered.alert_id AND delivered_at IS NULL"
        )
    finally:
        connection.unregister("delivered")


@contextmanager
def _wanted(cursor: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> Generator[None]:
    """`ids` as the table `wanted(id)` for as long as the context lasts."""
    cursor.register("wanted", pa.table({"id": TEXT.build(ids)}))
    try:
        yield
    finally:
        cursor.unregister("wanted")
