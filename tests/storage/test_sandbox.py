"""The child process: each of its layers alone, its limits, and the way there and back."""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from contracts.errors import ConfigError, DataFolderInUse, QueryRefused, StoreUnavailable
from contracts.ports import Changes
from contracts.testing import ManualClock, Spans, call
from contracts.trajectory import Trajectory
from storage.config import QueryLimits
from storage.runner import query_file, run_query
from storage.store import Store

SECRET = "the-secret-outside"
SHORT = QueryLimits(timeout_s=1.0, max_rows=1000)
HEAVY = ("repeat(", "pad(", "printf(", "format(", "sleep_ms", "resize(", "series(1", "range(1000")


def trajectory(name: str, calls: int = 3) -> Trajectory:
    made = tuple(call("rm", {"path": "/x"}, step=i, trajectory_id=name) for i in range(calls))
    return Trajectory(
        name, "trace", "test", "s", "a", "1", "m", "", "", 1, 2, 3, "complete", "", (), 0, made
    )


def fill(store: Store) -> None:
    store.commit(
        Changes(spans=[Spans().span("x")], trajectories=[trajectory(f"t{i}") for i in range(500)])
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sandbox")
    (made / "secret.txt").write_text(SECRET)
    store = Store(made / "data", ManualClock())
    fill(store)
    store.close()
    return made / "data"


def statements(name: str) -> list[str]:
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("--")]


def state(folder: Path) -> dict[str, str]:
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Runs statements one after another under one layer, and tells what each gave.
CHILD = """
import json, sys, duckdb
from storage import guard, landlock, sandbox
request = json.loads(sys.stdin.read())
if request["layer"] == "engine":
    sandbox.restrict = lambda readable: False
if request["layer"] == "kernel":
    landlock.no_new_privileges()
    assert landlock.restrict((request["database"], *sandbox._NEEDED)), "no landlock"
    connection = duckdb.connect(request["database"], read_only=True)
else:
    connection = sandbox.prepare(request)
answers = []
for sql in request["statements"]:
    try:
        if request["layer"] == "all":
            guard.check_query(connection, sql)
        if request["layer"] == "all":  # as the product fetches: Python's time zones are files
            answers.append([sql, repr(connection.sql(sql).to_arrow_table().num_rows)])
        else:
            answers.append([sql, repr(connection.execute(sql).fetchall())])
    except Exception as error:
        answers.append([sql, None])
print(json.dumps(answers))
"""


def run_layer(folder: Path, layer: str, sqls: list[str]) -> dict[str, str | None]:
    request = {
        **SHORT.model_dump(),
        "timeout_s": 20,
        "database": str(folder / "telltale.duckdb"),
        "statements": sqls,
        "layer": layer,
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
    )
    if "no landlock" in done.stderr:
        pytest.skip("the kernel has no Landlock")
    assert done.returncode == 0, done.stderr[-2000:]
    answers = {sql: answer for sql, answer in json.loads(done.stdout)}
    assert len(answers) == len(set(sqls))
    return answers


def file_attacks(folder: Path) -> list[str]:
    database, secret = folder / "telltale.duckdb", folder.parent / "secret.txt"
    own = [
        f"COPY (SELECT 'x'::BLOB) TO '{database}{suffix}' (FORMAT blob, USE_TMP_FILE {temporary})"
        for suffix in ("", ".wal", ".wal.checkpoint", ".wal.recovery")
        for temporary in ("false", "true")
    ]
    return [
        *own,
        f"SELECT content FROM read_blob('{database}')",
        f"SELECT content FROM read_blob('{database}.wal')",
        f"FROM read_duckdb('{database}', table_name := 'totals')",
        f"SELECT content FROM read_text('{secret}')",
        f"FROM '{secret}'",
        f"FROM read_csv('{secret}', header = false)",
        f"FROM glob('{folder.parent}/*')",
        f"COPY (SELECT 1) TO '{folder.parent}/planted.csv'",
        f"EXPORT DATABASE '{folder.parent}/planted'",
        f"ATTACH '{folder.parent}/planted.duckdb' AS planted",
        f"CALL enable_logging(storage = 'file', storage_path = '{folder.parent}/planted')",
        "INSERT INTO data.totals VALUES ('planted', 1)",
        "WITH x AS (DELETE FROM data.totals RETURNING *) SELECT * FROM x",
    ]


def test_the_engine_settings_alone_keep_files_and_rows_unchanged(folder: Path) -> None:
    """The guard and Landlock off: what DuckDB itself refuses after `prepare`."""
    before = state(folder)
    attacks = file_attacks(folder)
    listed = [a for a in statements("attacks.sql") if not any(word in a for word in HEAVY)]
    answers = run_layer(folder, "engine", attacks + listed)
    assert state(folder) == before
    assert not [sql for sql in attacks if answers[sql] not in (None, "[]")]
    assert SECRET not in json.dumps(answers)
    assert "root:" not in json.dumps(answers)


def test_landlock_alone_keeps_files_unchanged_and_others_unread(folder: Path) -> None:
    """DuckDB wide open: the kernel refuses everything but reading the one file."""
    before = state(folder)
    attacks = [a for a in file_attacks(folder) if "enable_logging" not in a]
    answers = run_layer(folder, "kernel", [*attacks, "FROM read_text('/etc/passwd')"])
    assert state(folder) == before
    assert SECRET not in json.dumps(answers)
    assert "root:" not in json.dumps(answers)


def test_queries_of_responders_answer_within_all_layers(folder: Path) -> None:
    queries = statements("responder_queries.sql")
    answers = run_layer(folder, "all", queries)
    with duckdb.connect(str(folder / "telltale.duckdb"), read_only=True) as plain:
        for sql in queries:
            if "SAMPLE" not in sql:
                assert answers[sql] == str(len(plain.execute(sql).fetchall())), sql
            assert answers[sql] is not None, sql


def test_a_result_comes_back_as_arrow(folder: Path) -> None:
    table = query_file(
        folder, "SELECT tool, count(*) AS n, max(started_at) AS t FROM calls GROUP BY tool"
    )
    assert table.column_names == ["tool", "n", "t"]
    assert table.column("n").to_pylist() == [1500]
    assert str(table.schema.field("t").type) == "timestamp[us, tz=UTC]"
    assert query_file(folder, "SELECT * FROM alerts").num_rows == 0


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM", "line 1, column"),
        ("SELECT nope FROM calls", "nope"),
        ("SELECT tool::BIGINT FROM calls", "Could not convert"),
        ("SELECT * FROM calls", "more than 1,000 rows"),
        ("COPY calls TO 'x'", "only a SELECT"),
        ("SELECT * FROM read_text('/etc/passwd')", "read_text is not allowed"),
    ],
)
def test_a_refusal_tells_why_and_no_path(folder: Path, sql: str, said: str) -> None:
    with pytest.raises(QueryRefused, match=said) as refused:
        query_file(folder, sql, SHORT)
    assert str(folder) not in str(refused.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM calls a, calls b, calls c, calls d WHERE a.step + b.step > c.step",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
        "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
        "SELECT array_agg(a.range) FROM range(1000000000) a",
        "WITH RECURSIVE r(n, s) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, s || s FROM r"
        " WHERE n < 60) SELECT max(length(s)) FROM r",
        "SELECT string_agg(tool || range::VARCHAR, ',') FROM calls, range(100000000)",
    ],
)
def test_a_hog_ends_within_its_deadline(folder: Path, sql: str) -> None:
    started = time.monotonic()
    query_file(folder, "SELECT 1", SHORT)
    idle_s = time.monotonic() - started  # the interpreter's start, on a machine as busy as now
    started = time.monotonic()
    with pytest.raises(QueryRefused, match=r"longer than|memory"):
        query_file(folder, sql, SHORT)
    assert time.monotonic() - started < SHORT.timeout_s + 1 + 3 * idle_s


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no store"):
        query_file(tmp_path, "SELECT 1")


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "telltale.duckdb").write_bytes(b"x" * 20_000)
    with pytest.raises(StoreUnavailable):
        query_file(tmp_path, "SELECT 1")


@pytest.fixture
def live(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    store = Store(tmp_path / "data", clock)
    fill(store)
    yield store
    store.close()


def test_the_daemon_answers_while_it_owns_the_file(live: Store, tmp_path: Path) -> None:
    with pytest.raises(DataFolderInUse, match=str(os.getpid())):
        query_file(tmp_path / "data", "SELECT 1")
    count = "SELECT count(*) AS n FROM trajectories"
    assert live.query(count).to_pylist() == [{"n": 500}]
    snapshots = tmp_path / "data" / "snapshots"
    (first,) = snapshots.iterdir()
    assert live.query(count).to_pylist() == [{"n": 500}]
    assert list(snapshots.iterdir()) == [first]  # nothing was written: the same copy serves
    live.commit(Changes(trajectories=[trajectory("new")]))
    deadline = time.monotonic() + 60
    while live.query(count).to_pylist() != [{"n": 501}]:
        assert time.monotonic() < deadline
    assert first not in snapshots.iterdir()
    live.close()
    assert not snapshots.exists()
    assert query_file(tmp_path / "data", count).to_pylist() == [{"n": 501}]


def test_commits_go_on_while_queries_run(live: Store) -> None:
    results: list[int] = []

    def ask() -> None:
        table = live.query("SELECT count(*) AS n, count(DISTINCT trajectory_id) AS t FROM calls")
        ((row),) = table.to_pylist()
        assert row["n"] == 3 * row["t"]  # a trajectory is never half there
        results.append(row["t"])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    made = 0
    while any(thread.is_alive() for thread in threads):
        live.commit(Changes(trajectories=[trajectory(f"n{made}")]))
        made += 1
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert made > 3
    live.reopen()
    assert len(list(live.trajectories("", with_calls=False))) == 500 + made


def test_a_child_that_cannot_start_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StoreUnavailable, match="did not start"):
        run_query(folder / "telltale.duckdb", "SELECT 1", SHORT)
