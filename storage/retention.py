"""What is deleted, when, with a receipt; and whether what is kept is whole."""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from storage.columns import TEXT
from storage.database import is_damage

DAY_NS = 86_400 * 10**9

_OF_TRAJECTORY = (
    "data.calls",
    "data.actions",
    "data.opportunities",
    "data.members",
    "data.trajectories",
)
_OF_TRACE = ("data.spans", "data.conflicts", "data.logs", "data.traces")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one deletion took; a row of `data.receipts`.

    `first_ended_ns`, `last_ended_ns`: range of the trajectories' ends, None where there were none.
    `trajectories_digest`: hex SHA-256 over the sorted ids, one a line, so that a later question
    whether a trajectory was deleted can be answered without keeping the ids.
    """

    reason: str
    deleted_ns: int
    trajectories: int
    calls: int
    spans: int
    dead_letters: int
    first_ended_ns: int | None
    last_ended_ns: int | None
    trajectories_digest: str


@dataclass(frozen=True, slots=True)
class Verification:
    """`rows`: number of rows by table. `problems`: one sentence each; () where all holds."""

    rows: Mapping[str, int]
    problems: tuple[str, ...]


def expired(connection: duckdb.DuckDBPyConnection, before_ns: int) -> list[str]:
    """Ids of trajectories that nothing was heard of since `before_ns`, by the time of receipt:
    an agent chooses the times in its spans.
    """
    rows = connection.execute(
        "SELECT trajectory_id FROM data.trajectories "
        "WHERE last_received_at < make_timestamp_ns(?)::TIMESTAMPTZ_NS",
        [before_ns],
    ).fetchall()
    return [str(trajectory_id) for (trajectory_id,) in rows]


def delete(
    connection: duckdb.DuckDBPyConnection,
    trajectory_ids: Sequence[str],
    reason: str,
    now_ns: int,
    before_ns: int | None = None,
) -> Receipt:
    """Delete trajectories and every trace that no other trajectory needs, inside the caller's
    transaction.

    `before_ns`: also delete what was received before and belongs to no trajectory: spans without
    calls, and dead letters. Evidence, verdicts and alerts stay: they hold numbers and ids, and what
    was decided must remain explainable.
    """
    connection.register("doomed", pa.table({"trajectory_id": TEXT.build(sorted(trajectory_ids))}))
    try:
        return _delete(connection, trajectory_ids, reason, now_ns, before_ns)
    finally:
        connection.unregister("doomed")


def _delete(
    connection: duckdb.DuckDBPyConnection,
    trajectory_ids: Sequence[str],
    reason: str,
    now_ns: int,
    before_ns: int | None,
) -> Receipt:
    ((trajectories, first_ns, last_ns),) = connection.execute(
        "SELECT count(*), min(epoch_ns(ended_at)), max(epoch_ns(ended_at)) FROM data.trajectories "
        "WHERE trajectory_id IN (SELECT trajectory_id FROM doomed)"
    ).fetchall()
    connection.execute(
        "CREATE TEMP TABLE freed AS SELECT DISTINCT trace_id FROM data.members "
        "WHERE trajectory_id IN (SELECT trajectory_id FROM doomed) AND trace_id NOT IN "
        "(SELECT trace_id FROM data.members "
        "WHERE trajectory_id NOT IN (SELECT trajectory_id FROM doomed))"
    )
    dead_letters = 0
    if before_ns is not None:
        connection.execute(
            "INSERT INTO freed SELECT trace_id FROM data.spans "
            "WHERE trace_id NOT IN (SELECT trace_id FROM data.members) GROUP BY trace_id "
            "HAVING max(received_at) < make_timestamp_ns(?)::TIMESTAMPTZ_NS",
            [before_ns],
        )
        dead_letters = _rows_deleted(
            connection,
            "DELETE FROM data.dead_letters "
            "WHERE received_at < make_timestamp_ns(?)::TIMESTAMPTZ_NS",
            [before_ns],
        )
    calls = spans = 0
    for table in _OF_TRAJECTORY:
        deleted = _rows_deleted(
            connection,
            f"DELETE FROM {table} WHERE trajectory_id IN (SELECT trajectory_id FROM doomed)",
        )
        calls = deleted if table == "data.calls" else calls
    for table in _OF_TRACE:
        deleted = _rows_deleted(
            connection, f"DELETE FROM {table} WHERE trace_id IN (SELECT trace_id FROM freed)"
        )
        spans = deleted if table == "data.spans" else spans
    connection.execute("DROP TABLE freed")
    digest = hashlib.sha256("".join(f"{i}\n" for i in sorted(trajectory_ids)).encode()).hexdigest()
    receipt = Receipt(
        reason, now_ns, trajectories, calls, spans, dead_letters, first_ns, last_ns, digest
    )
    connection.execute(
        "INSERT INTO data.receipts VALUES (make_timestamp_ns(?), ?, ?, ?, ?, ?, "
        "make_timestamp_ns(?), make_timestamp_ns(?), ?)",
        [now_ns, reason, trajectories, calls, spans, dead_letters, first_ns, last_ns, digest],
    )
    return receipt


def _rows_deleted(
    connection: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[int] = ()
) -> int:
    ((count,),) = connection.execute(statement, list(parameters)).fetchall()
    return int(count)


# Each gives the number of offenders; the key is what the operator reads.
_CHECKS = {
    "spans stored more than once": """
        SELECT count(*) FROM (SELECT 1 FROM data.spans GROUP BY trace_id, span_id
                              HAVING count(*) > 1)""",
    "trajectories stored more than once": """
        SELECT count(*) FROM (SELECT 1 FROM data.trajectories GROUP BY trajectory_id
                              HAVING count(*) > 1)""",
    "trajectories whose calls are not steps 0, 1, 2, ... or are not as many as they say": """
        SELECT count(*) FROM data.trajectories LEFT JOIN (
            SELECT trajectory_id, count(*) AS n, count(DISTINCT step) AS steps, max(step) AS last,
                   count(*) FILTER (WHERE outcome = 'error') AS errors,
                   count(*) FILTER (WHERE outcome = 'denied') AS denied
            FROM data.calls GROUP BY trajectory_id
        ) c USING (trajectory_id)
        WHERE coalesce(c.n, 0) <> calls OR coalesce(c.steps, 0) <> calls
           OR coalesce(c.last, -1) <> calls - 1
           OR coalesce(c.errors, 0) <> trajectories.errors
           OR coalesce(c.denied, 0) <> trajectories.denied""",
    "calls of no trajectory": """
        SELECT count(*) FROM data.calls ANTI JOIN data.trajectories USING (trajectory_id)""",
    "actions of no call": """
        SELECT count(*) FROM data.actions ANTI JOIN data.calls USING (trajectory_id, step)""",
    "opportunities of no call": """
        SELECT count(*) FROM data.opportunities ANTI JOIN data.calls USING (trajectory_id, step)""",
    "traces of no trajectory": """
        SELECT count(*) FROM data.members ANTI JOIN data.trajectories USING (trajectory_id)""",
    "spans that no trace leads to": """
        SELECT count(*) FROM data.spans ANTI JOIN data.traces USING (trace_id, batch)""",
    "conflicting spans without the span that came first": """
        SELECT count(*) FROM data.conflicts ANTI JOIN data.spans USING (trace_id, span_id)""",
    "rows of commits that never were": """
        SELECT count(*) FROM (
            SELECT batch FROM data.spans UNION ALL SELECT batch FROM data.trajectories
            UNION ALL SELECT batch FROM data.calls
        ) WHERE batch > (SELECT value FROM data.totals WHERE name = 'batch')""",
}


def verify(cursor: duckdb.DuckDBPyConnection) -> Verification:
    """Read every block, count every table, and check what no constraint enforces: each span once,
    no orphans.
    """
    tables = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'data' ORDER BY table_name"
    ).fetchall()
    rows: dict[str, int] = {}
    problems: list[str] = []
    for (name,) in tables:
        try:
            # Hashing whole rows reads all columns; DuckDB compares each block with its checksum.
            ((count, _),) = cursor.execute(
                f'SELECT count(*), bit_xor(hash(t)) FROM data."{name}" t'
            ).fetchall()
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            problems.append(f"the table {name} is damaged: restore a backup")
        else:
            rows[str(name)] = int(count)
    if problems:
        return Verification(rows, tuple(problems))
    for what, statement in _CHECKS.items():
        ((count,),) = cursor.execute(statement).fetchall()
        if count:
            problems.append(f"{count:,} {what}")
    return Verification(rows, tuple(problems))
