"""One batch of changes: encoded as Arrow outside the writer, applied in one transaction by it."""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import duckdb
import pyarrow as pa

from contracts.labels import Labels
from contracts.ports import Changes
from contracts.trajectory import Trajectory
from storage.columns import BLOB, TEXT, Shape
from storage.places import Places
from storage.rows import (
    ACTIONS,
    ALERTS,
    CALLS,
    DEAD_LETTERS,
    EVIDENCE,
    GAPS,
    LOGS,
    OPPORTUNITIES,
    POSITIONS,
    SPANS,
    STANDINGS,
    SUMMARIES,
    VERDICTS,
    StoredAlert,
    TrajectorySummary,
    stored_dead_letter,
    verdict_document,
)

Row = TypeVar("Row")

NO_LABELS = Labels((), ())
REWRITTEN = ("data.calls", "data.actions", "data.opportunities", "data.members")
"""Tables whose rows of a trajectory are replaced when it changes, besides its own row."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """`appended`: (table, rows) that carry the commit's number; `plain`: (table, rows, verb) that
    do not; `touched`: trajectory ids whose stored rows go first; `settled`: state and calls judged
    of those whose rows stay; `traces`: ids of traces with new rows.
    """

    appended: tuple[tuple[str, pa.Table], ...]
    plain: tuple[tuple[str, pa.Table, str], ...]
    conflicts: pa.Table | None
    touched: tuple[str, ...]
    settled: pa.Table | None
    traces: tuple[str, ...]
    duplicates: int


def encode(changes: Changes) -> Encoded:
    """`changes` as Arrow tables. Never raises for what a span, a call or a label contains."""
    every = {t.trajectory_id: t for t in changes.trajectories}
    settled = [t for name, t in every.items() if name in changes.settled]
    trajectories = {name: t for name, t in every.items() if name not in changes.settled}
    labels = [changes.labels.get(name, NO_LABELS) for name in trajectories]
    appended = _filled(
        (SPANS, changes.spans),
        (LOGS, changes.logs),
        (CALLS, [call for t in trajectories.values() for call in t.calls]),
        (ACTIONS, [action for made in labels for action in made.actions]),
        (OPPORTUNITIES, [chance for made in labels for chance in made.opportunities]),
        (SUMMARIES, list(map(_summary, trajectories.values(), labels))),
        (EVIDENCE, changes.evidence),
    )
    traces = {s.trace_id for s in changes.spans} | {
        log.trace_id for log in changes.logs if log.trace_id
    }
    if traces:
        appended.append(("data.traces", pa.table({"trace_id": TEXT.build(list(traces))})))
    members = [(trace, t.trajectory_id) for t in trajectories.values() for trace in t.trace_ids]
    if members:
        names = ("trace_id", "trajectory_id")
        columns = zip(*members, strict=True)
        made = {name: TEXT.build(column) for name, column in zip(names, columns, strict=True)}
        appended.append(("data.members", pa.table(made)))

    plain: list[tuple[str, pa.Table, str]] = []
    for table, rows in _filled(
        (DEAD_LETTERS, [stored_dead_letter(letter) for letter in changes.dead_letters]),
        (GAPS, changes.gaps),
    ):
        plain.append((table, rows, "INSERT"))
    alerts = {a.alert_id: a for a in reversed(changes.alerts)}
    for table, rows in _filled(
        (
            ALERTS,
            [StoredAlert(a, verdict_document(a.verdict)) for a in reversed(alerts.values())],
        ),
    ):
        plain.append((table, rows, "INSERT OR IGNORE"))
    verdicts = {(v.subject, v.category, v.reference): v for v in changes.verdicts}
    for table, rows in _filled(
        (VERDICTS, list(verdicts.values())), (POSITIONS, list(changes.positions.values()))
    ):
        plain.append((table, rows, "INSERT OR REPLACE"))
    if changes.detector_states:
        states = pa.table(
            {
                "key": TEXT.build(list(changes.detector_states)),
                "state": BLOB.build(list(changes.detector_states.values())),
            }
        )
        plain.append(("data.detector_states", states, "INSERT OR REPLACE"))
    return Encoded(
        tuple(appended),
        tuple(plain),
        SPANS.arrow(changes.conflicts) if changes.conflicts else None,
        tuple({*trajectories, *changes.removed}),
        STANDINGS.arrow(settled) if settled else None,
        tuple(traces),
        changes.duplicates,
    )


def _filled(*parts: tuple[Shape[Any], Sequence[Any]]) -> list[tuple[str, pa.Table]]:
    return [(shape.table, shape.arrow(rows)) for shape, rows in parts if rows]


def _summary(trajectory: Trajectory, labels: Labels) -> TrajectorySummary:
    outcomes = [call.outcome for call in trajectory.calls]
    return TrajectorySummary(
        trajectory,
        len(outcomes),
        outcomes.count("error"),
        outcomes.count("denied"),
        tuple(sorted({action.category for action in labels.actions})),
    )


def apply(
    connection: duckdb.DuckDBPyConnection, encoded: Encoded, places: Places | None = None
) -> int:
    """Write a batch; its number. The caller has begun the transaction and commits it.

    `places`: to be told by `places.wrote` once it is durable.
    """
    places = places or Places()
    connection.execute(
        "UPDATE data.totals SET value = value + if(name = 'batch', 1, ?) "
        "WHERE name IN ('batch', 'duplicates')",
        [encoded.duplicates],
    )
    ((batch,),) = connection.execute(
        "SELECT value FROM data.totals WHERE name = 'batch'"
    ).fetchall()
    if encoded.touched:
        old = places.batches(connection, encoded.touched)
        if old is not None:
            _forget(connection, encoded.touched, *old)
    if encoded.settled is not None:
        _settle(connection, encoded.settled, places)
    if encoded.traces:
        places.add_traces(connection, encoded.traces)
    for table, rows in encoded.appended:
        insert(connection, table, rows, select=f"*, {batch} AS batch")
    if encoded.conflicts is not None:
        insert(
            connection,
            "data.conflicts",
            encoded.conflicts,
            select=f"*, {batch} AS batch",
            unless="ANTI JOIN data.conflicts USING (trace_id, span_id, digest)",
        )
    for table, rows, verb in encoded.plain:
        insert(connection, table, rows, verb)
    return int(batch)


def _forget(
    connection: duckdb.DuckDBPyConnection, touched: Sequence[str], first: int, last: int
) -> None:
    """Delete what is stored of trajectories whose rows are in the batches `first` to `last`."""
    connection.register("touched", pa.table({"trajectory_id": TEXT.build(touched)}))
    try:
        # The rows of a trajectory carry the batch of its own row, so zone maps skip the rest.
        for table in (*REWRITTEN, "data.trajectories"):
            connection.execute(
                f"DELETE FROM {table} WHERE batch BETWEEN ? AND ? "
                "AND trajectory_id IN (SELECT trajectory_id FROM touched)",
                [first, last],
            )
    finally:
        connection.unregister("touched")


def _settle(connection: duckdb.DuckDBPyConnection, standings: pa.Table, places: Places) -> None:
    """Bring the state of stored trajectories up to date. Their batch stays that of their calls."""
    names = cast("list[str]", standings.column("trajectory_id").to_pylist())
    stored = places.batches(connection, names)
    if stored is None:
        return  # deleted meanwhile
    connection.register("standings", standings)
    try:
        connection.execute(
            "UPDATE data.trajectories AS t SET state = s.state, judged_calls = s.judged_calls "
            "FROM standings AS s WHERE t.batch BETWEEN ? AND ? "
            "AND t.trajectory_id = s.trajectory_id",
            [*stored],
        )
    finally:
        connection.unregister("standings")


def insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: pa.Table,
    verb: str = "INSERT",
    select: str = "*",
    unless: str = "",
) -> None:
    """Insert Arrow rows by column name, inside the caller's transaction."""
    connection.register("incoming", rows)
    try:
        connection.execute(f"{verb} INTO {table} BY NAME SELECT {select} FROM incoming {unless}")
    finally:
        connection.unregister("incoming")
