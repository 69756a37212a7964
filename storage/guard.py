"""The allowlist over DuckDB's own parse tree: what SQL from outside may consist of.

In DuckDB 2.0 the statement type SELECT is not read-only (`WITH x AS (DELETE ...) SELECT`), and
functions like `query()`, `enable_logging()` or `read_blob()` reach everything from within a SELECT.
So every node must be one that is known here; anything unknown is refused.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import duckdb

from contracts.errors import QueryRefused
from storage.functions import FUNCTIONS, TABLE_FUNCTIONS

VIEWS = frozenset(
    {
        "spans",
        "calls",
        "actions",
        "opportunities",
        "trajectories",
        "verdicts",
        "evidence",
        "alerts",
        "gaps",
        "dead_letters",
        "subjects",
        "lineage",
        "baselines",
    }
)
"""The public views; `storage/sql` creates them."""

MAX_SQL = 100_000
"""Characters of a query. 20,000 UNIONs take minutes to plan, and fit only beyond this."""

MAX_NODES = 20_000
"""Nodes of the tree; a generous hand-written query has some hundreds."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESERVED = re.compile(r"(duckdb|pragma|sqlite|pg|information_schema)(_|$)", re.IGNORECASE)
"""Names of catalog tables that a CTE may not take, so that no scoping mistake can reach them."""

_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLES = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EMPTY", "PIVOT"})
_OTHERS = frozenset(
    {
        "EXPRESSION_LIST",
        "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER",
        "ORDER_MODIFIER",
        "DISTINCT_MODIFIER",
        "ORDER_DEFAULT",
        "ASCENDING",
        "DESCENDING",
        "ORDER_ASCENDING",
        "ORDER_DESCENDING",
    }
)
_EXPRESSIONS = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "LAMBDA",
        "OPERATOR",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "TYPE",
        "WINDOW",
    }
)
# Objects without a type: parts of the nodes above, named by the keys they may have.
_PARTS = tuple(
    frozenset(keys.split())
    for keys in (
        "map",
        "key value",
        "node named_param_map",
        "aliases key_targets materialized payload_aggregates query_node",
        "name expression",
        "then_expr when_expr",
        "kind text",
        "path",
        "alias star_expr values",
        "entries pivot_enum pivot_expressions unpivot_names",
        "is_percentage method repeatable sample_rate sample_size seed",
        "id type_info",
        "type value is_null",
    )
)


def check_query(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Nothing, if `sql` is one SELECT over the public views with known functions.

    Raises `QueryRefused` that says what is at fault and where.
    """
    node = parse(cursor, sql)
    _Walk(sql, 0).query(node, frozenset())


def parse(cursor: duckdb.DuckDBPyConnection, sql: str, prefix: str = "") -> Mapping[str, Any]:
    """The tree of a single SELECT, `prefix` and `sql`. Raises `QueryRefused` for anything else,
    with places counted from the start of `sql`.
    """
    if len(sql) > MAX_SQL:
        raise QueryRefused(f"the query has {len(sql):,} characters; at most {MAX_SQL:,} are read")
    if not sql.strip(" \t\r\n;"):
        raise QueryRefused("the query is empty")
    try:
        ((text,),) = cursor.execute("SELECT json_serialize_sql(?)", [prefix + sql]).fetchall()
    except duckdb.Error as error:
        raise QueryRefused(f"the query cannot be read: {str(error).splitlines()[0]}") from error
    tree = cast("dict[str, Any]", json.loads(text))
    if tree.get("error", True):
        message = str(tree.get("error_message", "unknown error"))
        if tree.get("error_type") != "parser":
            raise QueryRefused("only a SELECT is allowed, and only one")
        place = _place(sql, tree.get("position"), len(prefix))
        raise QueryRefused(f"{place}{message}")
    statements = cast("list[dict[str, Any]]", tree.get("statements", []))
    if len(statements) != 1:
        raise QueryRefused("only a SELECT is allowed, and only one")
    if statements[0].get("named_param_map"):
        raise QueryRefused("parameters ($1, ?) have no value here")
    return cast("Mapping[str, Any]", statements[0]["node"])


def check_expression(sql: str, start: int, node: Mapping[str, Any]) -> None:
    """As `check_query`, for the tree of an expression whose subqueries may read the views.

    `start`: bytes that stood before `sql` when it was parsed.
    """
    _Walk(sql, start).any(node, frozenset())


def _place(sql: str, position: object, start: int) -> str:
    """`line 2, column 5: ` for a byte position after `start`; "" where there is none."""
    text = sql.encode(errors="replace")
    if not str(position).isdigit() or not start <= int(str(position)) <= start + len(text):
        return ""
    before = text[: int(str(position)) - start].decode(errors="replace")
    line = before.count("\n") + 1
    return f"line {line}, column {len(before) - before.rfind(chr(10))}: "


class _Walk:
    """One pass over a tree. `scope`: lower-case names of the CTEs that a table name may mean."""

    def __init__(self, sql: str, start: int) -> None:
        self._sql = sql
        self._start = start
        self._left = MAX_NODES

    def any(self, node: object, scope: frozenset[str]) -> None:
        """Check a node of any kind."""
        if isinstance(node, list):
            for item in cast("list[object]", node):
                self.any(item, scope)
        elif isinstance(node, dict):
            self._left -= 1
            if self._left < 0:
                raise QueryRefused(f"the query has more than {MAX_NODES:,} parts")
            self._node(cast("dict[str, Any]", node), scope)

    def query(self, node: Mapping[str, Any], scope: frozenset[str]) -> None:
        """Check a query node, whose CTEs join the scope one after the other."""
        if node.get("type") not in _QUERIES:
            raise QueryRefused(f"{_noun(node)} is not allowed; only SELECT is")
        inner = scope
        for entry in node["cte_map"]["map"]:
            name = str(entry["key"])
            if not _NAME.fullmatch(name) or _RESERVED.match(name) or name.lower() in VIEWS:
                raise QueryRefused(f"choose another name for the CTE {name}")
            self._fields(entry["value"], inner, skip=("query_node",))
            self.query(entry["value"]["query_node"], inner)
            inner |= {name.lower()}
        if node["type"] == "RECURSIVE_CTE_NODE":
            # Only the right side sees the name: the left one would mean a real table by it.
            self.any(node["left"], inner)
            self.any(node["right"], inner | {str(node["cte_name"]).lower()})
            self._fields(node, inner, skip=("cte_map", "left", "right"))
        else:
            self._fields(node, inner, skip=("cte_map",))

    def _node(self, node: dict[str, Any], scope: frozenset[str]) -> None:
        kind = node.get("type")
        kind = kind if isinstance(kind, str) else ""  # the type of a value is an object
        if "class" in node:
            self._expression(node, scope)
        elif kind in _QUERIES:
            self.query(node, scope)
        elif kind in _TABLES:
            self._table(node, scope)
        elif kind == "SHOW_REF":
            # DESCRIBE and SUMMARIZE of a query; SHOW and the like carry none.
            if node.get("query") is None:
                raise QueryRefused("SHOW is not allowed; use DESCRIBE with one of the views")
            self.any(node["query"], scope)
        elif kind in _OTHERS or any(node.keys() <= part for part in _PARTS):
            self._fields(node, scope)
        else:
            raise QueryRefused(f"{_noun(node)} is not allowed")

    def _fields(
        self, node: Mapping[str, Any], scope: frozenset[str], skip: tuple[str, ...] = ()
    ) -> None:
        for key, value in node.items():
            if key not in skip:
                self.any(value, scope)

    def _expression(self, node: dict[str, Any], scope: frozenset[str]) -> None:
        kind = node["class"]
        if kind not in _EXPRESSIONS:
            raise QueryRefused(f"{self._where(node)}{_noun(node)} is not allowed")
        if kind in ("FUNCTION", "WINDOW"):
            self._function(node, FUNCTIONS)
        elif kind == "TYPE" and not _plain(node, "type_name"):
            raise QueryRefused(f"{self._where(node)}a type must be named without a schema")
        self._fields(node, scope)

    def _function(self, node: dict[str, Any], allowed: frozenset[str]) -> None:
        name = str(node.get("function_name", "")).lower()
        if not _plain(node, "function_name") or name not in allowed:
            raise QueryRefused(
                f"{self._where(node)}the function {node.get('function_name')} is not allowed"
            )

    def _table(self, node: dict[str, Any], scope: frozenset[str]) -> None:
        kind = node["type"]
        if kind == "BASE_TABLE":
            name = str(node.get("table_name", "")).lower()
            if not _plain(node, "table_name") or name not in VIEWS | scope:
                shown = ".".join(node.get("qualified_name", {}).get("path", [])) or name
                raise QueryRefused(
                    f"{self._where(node)}there is no view {shown}; there are: "
                    + ", ".join(sorted(VIEWS))
                )
            if node.get("at_clause") is not None:
                raise QueryRefused(f"{self._where(node)}AT is not allowed")
        if kind == "TABLE_FUNCTION":
            function = node.get("function")
            if not isinstance(function, dict) or "function_name" not in function:
                raise QueryRefused(f"{self._where(node)}this table function is not allowed")
            called = cast("dict[str, Any]", function)
            self._function(called, TABLE_FUNCTIONS)
            self._fields(called, scope)
            self._fields(node, scope, skip=("function",))
            return
        self._fields(node, scope)

    def _where(self, node: Mapping[str, Any]) -> str:
        return _place(self._sql, node.get("query_location"), self._start)


def _plain(node: Mapping[str, Any], field: str) -> bool:
    """Whether a name stands alone, without schema or catalog, however the tree spells that."""
    qualified = any(node.get(key) for key in ("schema", "catalog", "schema_name", "catalog_name"))
    path = node.get("qualified_name", {}).get("path", [])
    return not qualified and path == [node.get(field)]


def _noun(node: Mapping[str, Any]) -> str:
    kind = str(node.get("type") or node.get("class") or "/".join(sorted(node)))
    return kind.removesuffix("_NODE").removesuffix("_QUERY").replace("_", " ")
