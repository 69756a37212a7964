"""Conditions over the view `trajectories`, as `--where` takes them."""

import threading

import duckdb

from contracts.errors import BadCondition, QueryRefused
from storage.guard import check_expression, parse

_PREFIX = "SELECT 1 FROM trajectories WHERE "
# What may not follow the expression: each would change which trajectories are meant.
_EMPTY = ("group_expressions", "group_sets", "having", "qualify", "sample", "modifiers")

USER_ERRORS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.InvalidTypeException,
    duckdb.NotImplementedException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.TypeMismatchException,
)
"""DuckDB's exceptions that are the fault of the SQL, not of the store."""


def check_condition(cursor: duckdb.DuckDBPyConnection, where: str) -> str:
    """The condition, `true` for an empty one, if it is one expression with known functions.

    Raises `BadCondition` that says what is at fault and where; an unknown column is named.
    """
    if not where.strip():
        return "true"
    try:
        node = parse(cursor, where, _PREFIX)
        if node.get("type") != "SELECT_NODE" or any(node.get(key) for key in _EMPTY):
            raise QueryRefused("it must be one expression, without ORDER BY, LIMIT and the like")
        check_expression(where, len(_PREFIX), {**node["where_clause"]})
    except QueryRefused as error:
        raise BadCondition(f"{where!r}: {error}") from error
    return where


def matching(
    cursor: duckdb.DuckDBPyConnection, where: str, timeout_s: float, complete: bool = True
) -> list[str]:
    """Ids of trajectories that meet the condition, ordered by (ended_ns, trajectory_id).

    `complete`: only those that are. Raises `BadCondition`, also past `timeout_s`: unlike SQL of
    responders, a condition runs in this process.
    """
    condition = check_condition(cursor, where)
    state = "state = 'complete' AND " if complete else ""
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        cursor.interrupt()

    watchdog = threading.Timer(timeout_s, stop)
    watchdog.start()
    try:
        rows = cursor.execute(
            f"SELECT trajectory_id FROM trajectories WHERE {state}(\n{condition}\n) "
            "ORDER BY ended_ns, trajectory_id"
        ).fetchall()
    except duckdb.InterruptException as error:
        if not expired.is_set():
            raise  # the store is being reopened
        raise BadCondition(f"{where!r}: it took longer than {timeout_s:g} s") from error
    except USER_ERRORS as error:
        # An unknown column does not bind; text compared with a number fails on a value.
        lines = str(error).splitlines()
        said = [line for line in lines if line and not line.startswith(("LINE", " ", "\t"))]
        raise BadCondition(f"{where!r}: {' '.join(said[:2])[:400]}") from error
    finally:
        watchdog.cancel()
    return [str(trajectory_id) for (trajectory_id,) in rows]
