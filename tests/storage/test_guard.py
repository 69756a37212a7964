"""The parse-tree allowlist alone: attacks are refused, what responders ask is not."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from contracts.errors import QueryRefused
from contracts.testing import ManualClock
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
