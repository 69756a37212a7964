"""Searches: what they find, and that no value of them is ever read as SQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.replay import ReplaySource
from contracts.errors import QueryRefused
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale.hunting import quoted, search_sql
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import STUDENT, free, records

ATTACKS = [
    "' OR '1'='1",
    "'; DROP TABLE calls; --",
    "x' UNION SELECT * FROM calls --",
    "\\' OR 1=1 --",
    "''''",
    "$$; SELECT 1; $$",
    "%' OR true --",
    "\x00' OR true",
    "') OR true --",
    "x'); COPY calls TO '/tmp/out'; --",
    "\N{RIGHT SINGLE QUOTATION MARK} OR 1=1 --",
    "E'\\x27 OR 1=1'",
]
FILTERS = ("environment", "agent", "model", "category", "tool", "since", "until")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, pack: RulePack) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("hunting")
    clock = ManualClock()
    made = Store(folder, clock)
    pipeline = Pipeline(stages(free(folder), made, pack), made)
    replay(ReplaySource(iter(records(STUDENT, 40))), pipeline, made, clock)
    yield made
    made.close()


def found(store: Store, sequence: str = "", argument: str = "", **filters: str) -> set[str]:
    return {str(row[0]) for row in store.read(search_sql(sequence, argument, filters, 1000))}


def test_no_condition_finds_all(store: Store) -> None:
    assert len(found(store)) == 40


def test_conditions_narrow(store: Store) -> None:
    assert found(store, agent="ops-agent") == found(store)
    assert found(store, agent="other") == set()
    deleting = found(store, argument="rm -rf")
    assert 0 < len(deleting) < 40
    assert deleting == found(store, argument="rm -rf", tool="run_*")
    assert found(store, sequence="read_file > write_file") != set()
    assert found(store, sequence="write_file > read_file") == set()
    assert found(store, category="UA01") & deleting
    assert found(store, since="2030-01-01T00:00:00Z") == set()
    assert len(search_sql("", "", {}, 3).split("LIMIT 3")) == 2


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("where", ["sequence", "argument", *FILTERS[:5]])
def test_an_injection_is_a_text_that_nothing_matches(store: Store, attack: str, where: str) -> None:
    assert found(store, **{where: attack}) == set()
    assert len(found(store)) == 40


@pytest.mark.parametrize("attack", ATTACKS[:3])
@pytest.mark.parametrize("where", ["since", "until"])
def test_a_time_that_is_none_is_refused(store: Store, attack: str, where: str) -> None:
    with pytest.raises(QueryRefused):
        store.query(search_sql("", "", {where: attack}, 10))


def test_the_search_is_one_that_the_sandbox_takes(store: Store) -> None:
    sql = search_sql("run_*>run_*", "df", dict.fromkeys(("tool", "agent"), "*"), 10)
    assert store.query(sql).num_rows == 0
    assert store.query(search_sql("run_*>run_*", "df", {"tool": "*"}, 10)).num_rows > 0


@given(st.text())
def test_a_quoted_text_has_no_end_inside(text: str) -> None:
    literal = quoted(text)
    assert literal[0] == literal[-1] == "'"
    assert "'" not in literal[1:-1].replace("''", "")


def test_quoting_gives_the_text_back(store: Store, tmp_path: Path) -> None:
    for text in (*ATTACKS, str(tmp_path)):
        if "\x00" not in text:
            assert store.read(f"SELECT {quoted(text)}") == [(text,)]
