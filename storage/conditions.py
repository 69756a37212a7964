"""Conditions over the view `trajectories`, as `--where` takes them."""

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


def bad_condition(where: str, error: duckdb.Error) -> BadCondition:
    """The error for a condition that does not bind (an unknown column) or fails on a value."""
    lines = str(error).splitlines()
    said = [line for line in lines if line and not line.startswith(("LINE", " ", "\t"))]
    return BadCondition(f"{where!r}: {' '.join(said[:2])[:400]}")
