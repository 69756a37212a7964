"""The parse-tree allowlist alone: attacks are refused, what responders ask is not."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from contracts.errors import QueryRefused
from contracts.testing import ManualClock
from storage.functions import FUNCTIONS, TABLE_FUNCTIONS
from storage.guard import VIEWS, check_query
from storage.store import Store


def statements(name: str) -> list[str]:
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("--")]


ATTACKS = [
    *statements("attacks.sql"),
    "SELECT " + "+".join(["1"] * 30_000),
    " UNION ALL ".join(["SELECT 1"] * 20_000),
    "",
    " ;; ",
    "\x00",
    "SELECT '\ud800'",
]
RESPONDER_QUERIES = statements("responder_queries.sql")


@pytest.fixture(scope="module")
def cursor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder: Path = tmp_path_factory.mktemp("guard")
    Store(folder, ManualClock()).close()
    with duckdb.connect(str(folder / "telltale.duckdb"), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("sql", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_are_refused_by_the_guard_alone(
    cursor: duckdb.DuckDBPyConnection, sql: str
) -> None:
    with pytest.raises(QueryRefused):
        check_query(cursor, sql)


@pytest.mark.parametrize("sql", RESPONDER_QUERIES)
def test_queries_of_responders_pass(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    check_query(cursor, sql)
    cursor.execute(sql).fetchall()


def test_every_view_is_there_and_no_other(cursor: duckdb.DuckDBPyConnection) -> None:
    views = cursor.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert {name for (name,) in views} == VIEWS


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "SELECT *\nFROM nowhere",
            r"line 2, column 6: there is no view nowhere; there are: .*calls",
        ),
        ("SELECT\n  getenv('x')", r"line 2, column 3: the function getenv is not allowed"),
        ("SELECT 'é', FROM FROM calls", r"line 1, column 18: syntax error"),
        ("DROP VIEW calls", "only a SELECT"),
    ],
)
def test_a_refusal_says_what_and_where(
    cursor: duckdb.DuckDBPyConnection, sql: str, said: str
) -> None:
    with pytest.raises(QueryRefused, match=said):
        check_query(cursor, sql)


def test_allowed_functions_exist_and_none_has_side_effects(
    cursor: duckdb.DuckDBPyConnection,
) -> None:
    """Version-bound: a new DuckDB may rename a function or give it another meaning."""
    rows = cursor.execute(
        "SELECT lower(function_name), function_type, stability, has_side_effects "
        "FROM duckdb_functions()"
    ).fetchall()
    kinds = {"scalar", "aggregate", "window", "macro", "table", "table_macro"}
    assert {kind for (_, kind, _, _) in rows} <= kinds | {"pragma"}
    assert {name for (name, *_) in rows} >= FUNCTIONS | TABLE_FUNCTIONS
    effects = {name for (name, _, stability, effect) in rows if effect or stability == "VOLATILE"}
    assert effects & FUNCTIONS == {"random"}
    pragmas = {name for (name, kind, *_) in rows if kind == "pragma"}
    assert not pragmas & (FUNCTIONS | TABLE_FUNCTIONS)


FORBIDDEN_TABLES = [
    "read_text('/etc/passwd')",
    "glob('/*')",
    "query('SELECT 1')",
    "duckdb_settings()",
    "data.calls",
    "sqlite_master",
    "'/etc/passwd'",
    "enable_logging()",
]
FORBIDDEN_VALUES = [
    "getenv('HOME')",
    "current_setting('threads')",
    "nextval('data.alert_order')",
    "sleep_ms(1000)",
    "main.lower('x')",
    "data.label('a', 'b', 'c', 'd')",
]
TABLE_PLACES = [
    "SELECT * FROM {}",
    "SELECT * FROM calls, {}",
    "SELECT * FROM calls LEFT JOIN {} ON true",
    "SELECT * FROM calls POSITIONAL JOIN {}",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM {}))",
    "WITH a AS (SELECT * FROM {}) SELECT 1",
    "WITH a AS MATERIALIZED (WITH b AS (FROM {}) FROM b) SELECT * FROM a",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT 1 FROM a, {}) SELECT * FROM a",
    "SELECT 1 EXCEPT SELECT 1 FROM {}",
    "(SELECT 1) UNION BY NAME (SELECT 1 FROM {})",
    "DESCRIBE SELECT * FROM {}",
    "SUMMARIZE SELECT * FROM {}",
    "SELECT * FROM (PIVOT {} ON tool IN ('a') USING count(*))",
    "SELECT * FROM (UNPIVOT {} ON a INTO NAME n VALUE v)",
    "SELECT * FROM {} USING SAMPLE 5",
]
VALUE_PLACES = [
    "SELECT {}",
    "SELECT * FROM calls WHERE tool = {}",
    "SELECT tool FROM calls GROUP BY {}",
    "SELECT tool FROM calls GROUP BY GROUPING SETS (({}), (tool))",
    "SELECT tool FROM calls GROUP BY tool HAVING {} = 'x'",
    "SELECT tool FROM calls QUALIFY {} = 'x'",
    "SELECT tool FROM calls ORDER BY {}",
    "SELECT tool FROM calls LIMIT {}",
    "SELECT tool FROM calls LIMIT 1 OFFSET {}",
    "SELECT DISTINCT ON ({}) tool FROM calls",
    "SELECT CASE {} WHEN 1 THEN 2 END",
    "SELECT CASE WHEN true THEN 1 ELSE {} END",
    "SELECT 1 IN (2, {})",
    "SELECT 1 BETWEEN 0 AND {}",
    "SELECT [1, {}]",
    "SELECT {{'a': {}}}",
    "SELECT MAP {{'a': {}}}",
    "SELECT ({})::VARCHAR",
    "SELECT TRY({})",
    "SELECT NOT ({} IS NULL)",
    "SELECT list_transform([1], lambda x: {})",
    "SELECT [{} FOR x IN [1]]",
    "SELECT sum(1) OVER (PARTITION BY {})",
    "SELECT sum(1) OVER (ORDER BY {})",
    "SELECT sum(1) OVER (ORDER BY 1 ROWS BETWEEN {} PRECEDING AND CURRENT ROW)",
    "SELECT lag(1, 1, {}) OVER ()",
    "SELECT sum(1) FILTER ({} = 'x') FROM calls",
    "SELECT string_agg(tool, ',' ORDER BY {}) FROM calls",
    "SELECT max({}) OVER w FROM calls WINDOW w AS (ORDER BY step)",
    "SELECT * FROM calls JOIN spans ON {} = 'x'",
    "SELECT * FROM calls ASOF JOIN spans ON calls.started_at >= {}",
    "SELECT * FROM (VALUES (1, {}))",
    "SELECT * FROM range({})",
    "SELECT * FROM unnest([{}])",
    "SELECT * REPLACE ({} AS tool) FROM calls",
    "SELECT COLUMNS(c -> {}) FROM calls",
    "SELECT (calls).tool, {} FROM calls",
    "SELECT 'x' COLLATE nocase = {}",
    "SELECT INTERVAL ({}) DAY",
    "SELECT extract(year FROM {})",
    "SELECT {} AT TIME ZONE 'UTC'",
    "SELECT (SELECT {})",
    "SELECT EXISTS (SELECT {})",
    "SELECT 1 = ANY (SELECT {})",
]


@pytest.mark.parametrize("place", TABLE_PLACES)
def test_no_place_hides_a_forbidden_table(cursor: duckdb.DuckDBPyConnection, place: str) -> None:
    check_query(cursor, place.format("calls"))  # the place itself is fine
    for table in FORBIDDEN_TABLES:
        with pytest.raises(QueryRefused):
            check_query(cursor, place.format(table))


@pytest.mark.parametrize("place", VALUE_PLACES)
def test_no_place_hides_a_forbidden_value(cursor: duckdb.DuckDBPyConnection, place: str) -> None:
    check_query(cursor, place.format("lower('x')"))  # the place itself is fine
    for value in [*FORBIDDEN_VALUES, *(f"(SELECT 1 FROM {table})" for table in FORBIDDEN_TABLES)]:
        with pytest.raises(QueryRefused):
            check_query(cursor, place.format(value))
