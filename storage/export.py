"""The public views as Parquet files that any tool reads."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from contracts.errors import ConfigError, OutputError
from storage.guard import VIEWS

# Views with a place in time are cut into `<view>/environment=<...>/day=<YYYY-MM-DD>/*.parquet`.
_OF_TRAJECTORY = "JOIN (SELECT trajectory_id, environment, started_at AS began FROM trajectories)"
_PARTITIONED = {
    "calls": "SELECT *, started_at::DATE AS day FROM calls",
    "trajectories": "SELECT *, started_at::DATE AS day FROM trajectories",
    "actions": f"SELECT * EXCLUDE (began), began::DATE AS day FROM actions {_OF_TRAJECTORY} "
    "USING (trajectory_id)",
    "opportunities": f"SELECT * EXCLUDE (began), began::DATE AS day FROM opportunities "
    f"{_OF_TRAJECTORY} USING (trajectory_id)",
    "spans": "SELECT spans.*, coalesce(environment, '') AS environment, started_at::DATE AS day "
    "FROM spans LEFT JOIN (SELECT trace_id, any_value(environment) AS environment "
    "FROM data.members JOIN data.trajectories USING (trajectory_id) GROUP BY trace_id) "
    "USING (trace_id)",
}


def export(
    cursor: duckdb.DuckDBPyConnection, folder: Path, views: Sequence[str] = ()
) -> dict[str, int]:
    """Rows written by view. `views`: their names; () means all.

    `calls`, `trajectories`, `actions`, `opportunities` and `spans` are written in hive layout, the
    others as one file. All of one moment: one read transaction. Raises `ConfigError` for an unknown
    view and a folder that already holds an export, `OutputError` for one that cannot be written.
    """
    unknown = sorted(set(views) - VIEWS)
    if unknown:
        raise ConfigError(
            "views", f"there is no view {unknown[0]}; there are: {', '.join(sorted(VIEWS))}"
        )
    written: dict[str, int] = {}
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    try:
        for view in sorted(views or VIEWS):
            written[view] = _write(cursor, view, folder / view)
    finally:
        cursor.execute("ROLLBACK")
    return written


def _write(cursor: duckdb.DuckDBPyConnection, view: str, target: Path) -> int:
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError("output", f"{target} already exists; export into a new folder") from None
    except OSError as error:
        raise OutputError(target, str(error.strerror)) from error
    path = str(target).replace("'", "''")
    if view in _PARTITIONED:
        statement = (
            f"COPY ({_PARTITIONED[view]}) TO '{path}' "
            "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (environment, day))"
        )
    else:
        statement = f"COPY {view} TO '{path}/{view}.parquet' (FORMAT parquet, COMPRESSION zstd)"
    ((rows,),) = cursor.execute(statement).fetchall()
    return int(rows)
