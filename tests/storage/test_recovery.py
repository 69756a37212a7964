"""What survives: kills, fatal errors, broken logs, migrations that fail half-way."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from contracts.errors import Busy, ConfigError, StoreUnavailable
from contracts.ports import Changes
from contracts.record import Partition, Position
from contracts.testing import ManualClock, Spans
from contracts.trajectory import Trajectory
from storage.config import StorageSettings
from storage.database import open_database
from storage.engine import LOG_TOPIC
from storage.migrations import Migration, apply, shipped
from storage.runner import query_file
from storage.store import Store
from storage.writer import Writer

PARTITION = Partition("otlp_spans", 0)

# Commits batches of five spans with their offset as fast as it can, and tells each that is durable.
WRITER = """
import sys
from pathlib import Path
from contracts.clock import SystemClock
from contracts.ports import Changes
from contracts.record import Partition, Position
from contracts.testing import Spans
from storage.config import StorageSettings
from storage.store import Store

settings = StorageSettings(checkpoint_wal_mb=1, checkpoint_interval_s=0.05)
store = Store(Path(sys.argv[1]), SystemClock(), settings)
partition = Partition("otlp_spans", 0)
done = store.ledger().get(partition)
offset = done.offset if done else -1
while True:
    offset += 1
    spans = Spans(offset + 1)
    batch = [spans.span("x" * 500) for _ in range(5)]
    store.commit(Changes(spans=batch, positions={partition: Position(partition, offset)}))
    print(offset, flush=True)
"""


def test_twenty_kills_lose_and_double_nothing(tmp_path: Path, clock: ManualClock) -> None:
    chance = random.Random(7)
    acknowledged = -1
    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = int(writer.stdout.readline())  # it has started
        threading.Timer(chance.uniform(0.0, 0.15), writer.send_signal, [signal.SIGKILL]).start()
        for line in writer.stdout:
            acknowledged = int(line) if line.endswith("\n") else acknowledged
        writer.wait()
        writer.stdout.close()
    store = Store(tmp_path, clock)
    stored = store.ledger()[PARTITION].offset
    assert stored in (acknowledged, acknowledged + 1)  # the last may be durable, not yet told
    rows = store.read("SELECT trace_id, count(*), count(DISTINCT span_id) FROM spans GROUP BY 1")
    assert sorted(rows) == [(f"{trace:032x}", 5, 5) for trace in range(1, stored + 2)]
    assert store.verify().problems == ()
    store.close()


def fatal(*_: object) -> None:
    raise duckdb.FatalException("FATAL Error: injected")


def broken_disk(*_: object) -> None:
    raise duckdb.IOException('IO Error: Could not write file "x.wal": No space left on device')


def changes(offset: int) -> Changes:
    return Changes(
        spans=[Spans(offset + 1).span("x")], positions={PARTITION: Position(PARTITION, offset)}
    )


def test_after_a_fatal_error_nothing_goes_until_the_store_is_reopened(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(changes(0))
    with monkeypatch.context() as broken:
        broken.setattr("storage.changes.apply", fatal)
        with pytest.raises(StoreUnavailable, match="must be reopened"):
            store.commit(changes(1))
    for use in (store.ledger, lambda: store.commit(changes(1)), lambda: store.query("SELECT 1")):
        with pytest.raises(StoreUnavailable, match="must be reopened"):
            use()
    store.reopen()
    assert store.ledger()[PARTITION].offset == 0
    store.commit(changes(1))
    assert len(store.restore_traces(frozenset({f"{2:032x}"})).spans) == 1


def test_a_full_disk_is_named_and_passes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("storage.changes.apply", broken_disk)
        with pytest.raises(StoreUnavailable, match="disk of the data folder is full"):
            store.commit(changes(0))
    store.reopen()
    store.commit(changes(0))
    assert store.ledger()[PARTITION].offset == 0


# The size limit on files stands in for a full disk: the log cannot grow beyond it (EFBIG).
LIMITED = """
import resource, signal, sys
from pathlib import Path
from contracts.errors import StoreUnavailable
from contracts.ports import Changes
from contracts.record import Partition, Position
from contracts.testing import ManualClock, Spans
from storage.store import Store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]), ManualClock())
partition = Partition("otlp_spans", 0)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
stored, failures = 0, 0
for offset in range(40):
    spans = Spans(offset + 1)
    batch = [spans.span("x", {"text": f"{offset}-{i}" * 2000}) for i in range(20)]
    while True:
        try:
            done = store.ledger().get(partition)
            if done is None or done.offset < offset:
                position = Position(partition, offset)
                store.commit(Changes(spans=batch, positions={partition: position}))
            break
        except StoreUnavailable:
            failures += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            store.reopen()
    stored += len(batch)
rows = store.read("SELECT count(*), count(DISTINCT span_id) FROM spans")
print(failures > 0, rows == [(stored, stored)], store.verify().problems == ())
store.close()
"""


def test_write_errors_of_the_system_lose_and_double_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["True", "True", "True"], done.stderr[-2000:]


def crash(folder: Path, commits: int) -> Path:
    """A store whose process was killed with `commits` commits in its log; the log."""
    script = """
import os, sys
from pathlib import Path
from contracts.ports import Changes
from contracts.record import Partition, Position
from contracts.testing import ManualClock, Spans
from storage.store import Store
store = Store(Path(sys.argv[1]), ManualClock())
partition = Partition("otlp_spans", 0)
for offset in range(int(sys.argv[2])):
    store.commit(
        Changes(
            spans=[Spans(offset + 1).span("x")],
            positions={partition: Position(partition, offset)},
        )
    )
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(folder), str(commits)], check=True)
    return folder / "telltale.duckdb.wal"


def test_a_torn_log_gives_a_prefix_with_its_own_offset(tmp_path: Path, clock: ManualClock) -> None:
    log = crash(tmp_path, 10)
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) * 2 // 3])
    store = Store(tmp_path, clock)
    offset = store.ledger()[PARTITION].offset
    assert 0 <= offset < 9
    assert store.read("SELECT count(*) FROM spans") == [(offset + 1,)]
    store.close()


def test_a_corrupt_log_is_kept_aside_and_recorded(tmp_path: Path, clock: ManualClock) -> None:
    log = crash(tmp_path, 10)
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    log.write_bytes(damaged)
    store = Store(tmp_path, clock)
    assert store.ledger() == {}  # data and offsets rewind together
    (kept,) = tmp_path.glob("*.corrupt-*")
    assert kept.read_bytes() == damaged
    gaps = store.read("SELECT topic, last_offset, reason FROM gaps")
    assert gaps == [(LOG_TOPIC, len(damaged), f"corrupt, kept as {kept.name}")]
    store.commit(changes(0))
    store.close()
    again = Store(tmp_path, clock)
    assert again.ledger()[PARTITION].offset == 0
    again.close()


def test_a_query_without_a_daemon_sees_what_is_only_in_the_log(tmp_path: Path) -> None:
    crash(tmp_path, 3)
    before = (tmp_path / "telltale.duckdb.wal").read_bytes()
    assert query_file(tmp_path, "SELECT count(*) AS n FROM spans").to_pylist() == [{"n": 3}]
    assert (tmp_path / "telltale.duckdb.wal").read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "telltale.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigError, match=r"telltale\.duckdb cannot be opened"):
        Store(tmp_path, clock)
    assert (tmp_path / "telltale.duckdb").read_bytes() == b"not a database" * 1000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_read_only_folder_is_named(tmp_path: Path, clock: ManualClock) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            Store(tmp_path, clock)
    finally:
        tmp_path.chmod(0o700)


def test_a_second_process_is_told_who_owns_the_folder(store: Store, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom contracts.testing import ManualClock\n"
        "from contracts.errors import DataFolderInUse\nfrom storage.store import Store\n"
        "try:\n    Store(Path(sys.argv[1]), ManualClock(), wait_s=0)\n"
        "except DataFolderInUse as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"in use by process {os.getpid()}" in done.stdout
    store.commit(changes(0))  # undisturbed


# -- migrations ------------------------------------------------------------------------------------


def tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    return {str(name) for (name,) in rows} - {"migrations"}


ONE = Migration("0001_one", "CREATE TABLE one (x INT); INSERT INTO one VALUES (1)")
TWO = Migration("0002_two", "CREATE TABLE two (x INT); CREATE TABLE one (x INT)")
TWO_RIGHT = Migration("0002_two", "CREATE TABLE two (x INT)")


def test_migrations_run_once_and_one_that_fails_half_way_leaves_no_trace() -> None:
    connection = duckdb.connect()
    assert apply(connection, [ONE], 5) == ("0001_one",)
    assert apply(connection, [ONE], 6) == ()
    with pytest.raises(duckdb.CatalogException):
        apply(connection, [ONE, TWO], 7)
    assert tables(connection) == {"one"}
    assert apply(connection, [ONE, TWO_RIGHT], 8) == ("0002_two",)
    assert tables(connection) == {"one", "two"}
    rows = connection.execute("SELECT name, epoch_ns(applied_at) FROM data.migrations").fetchall()
    assert rows == [("0001_one", 5), ("0002_two", 8)]


def test_an_old_store_is_copied_before_its_schema_changes(tmp_path: Path) -> None:
    path, settings = tmp_path / "telltale.duckdb", StorageSettings()
    open_database(path, settings, [ONE], 5)[0].close()
    assert list(tmp_path.glob("*.before-*")) == []
    connection, _ = open_database(path, settings, [ONE, TWO_RIGHT], 6)
    assert tables(connection) == {"one", "two"}
    connection.close()
    (copy,) = tmp_path.glob("*.before-0002_two")
    assert tables(duckdb.connect(str(copy), read_only=True)) == {"one"}


def test_only_a_log_refused_for_its_content_is_set_aside(tmp_path: Path) -> None:
    """The name of a folder, a lock or a bad disk must not cost the log of a whole store."""
    folder = tmp_path / "replaying wal file corrupt wal"
    log = crash(folder, 3)
    script = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print(1); time.sleep(60)"
    other = subprocess.Popen(
        [sys.executable, "-uc", script, str(folder / "telltale.duckdb")], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(ConfigError, match="open in another process"):
            Store(folder, ManualClock())
        assert log.exists()
        assert list(folder.glob("*.corrupt-*")) == []
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_a_file_of_another_version_is_refused() -> None:
    connection = duckdb.connect()
    apply(connection, [ONE, TWO_RIGHT], 5)
    with pytest.raises(ConfigError, match="0002_two"):
        apply(connection, [ONE], 6)
    with pytest.raises(ConfigError, match="another version"):
        apply(connection, [TWO_RIGHT, ONE], 6)


def test_shipped_migrations_are_ordered_and_leave_nothing_in_the_log(
    tmp_path: Path, clock: ManualClock
) -> None:
    names = [migration.name for migration in shipped()]
    assert names == sorted(names)
    assert len(set(name[:4] for name in names)) == len(names)
    store = Store(tmp_path, clock)
    log = tmp_path / "telltale.duckdb.wal"
    assert not log.exists() or log.stat().st_size == 0
    store.close()


# -- the writer ------------------------------------------------------------------------------------


def test_the_log_is_folded_in_when_it_is_large(tmp_path: Path, clock: ManualClock) -> None:
    store = Store(tmp_path, clock, StorageSettings(checkpoint_wal_mb=1))
    log = tmp_path / "telltale.duckdb.wal"
    sizes: list[int] = []
    for offset in range(60):
        spans = Spans(offset + 1)
        store.commit(Changes(spans=[spans.span("x", {"text": str(i) * 900}) for i in range(60)]))
        sizes.append(log.stat().st_size if log.exists() else 0)
    assert max(sizes) < 2_500_000
    assert min(sizes[20:]) < max(sizes) / 2
    store.close()


def test_a_full_queue_is_busy_and_a_stopped_writer_says_so() -> None:
    writer = Writer(1, lambda: None)
    hold, started = threading.Event(), threading.Event()
    ran: list[int] = []

    def wait() -> None:
        started.set()
        hold.wait(60)
        ran.append(1)

    threads = [threading.Thread(target=writer.run, args=[wait])]
    threads[0].start()
    started.wait(60)
    threads.append(threading.Thread(target=writer.run, args=[lambda: ran.append(2)]))
    threads[1].start()
    deadline = time.monotonic() + 60
    while not writer.waiting:
        assert time.monotonic() < deadline
    with pytest.raises(Busy) as busy:
        writer.run(lambda: ran.append(3))
    assert busy.value.retry_after_s > 0
    hold.set()
    for thread in threads:
        thread.join()
    writer.stop()
    assert ran == [1, 2]
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.run(lambda: None)


def test_readers_see_whole_commits_while_the_writer_runs(store: Store) -> None:
    stop = threading.Event()
    torn: list[tuple[int, int]] = []

    def read() -> None:
        while not stop.is_set():
            ((spans, batches),) = store.read("SELECT count(*), max(batch) FROM data.spans")
            if spans != 3 * (batches or 0):
                torn.append((spans, batches))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for offset in range(60):
        spans = Spans(offset + 1)
        store.commit(Changes(spans=[spans.span("x") for _ in range(3)]))
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_a_reader_is_interrupted_by_reopening_and_says_so(store: Store) -> None:
    problems: list[str] = []

    def read() -> None:
        try:
            store.read("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a <> b")
        except StoreUnavailable as error:
            problems.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    store.reopen()
    reader.join(10)
    assert problems == ["the database was closed or reopened meanwhile"]
    store.commit(changes(0))


def test_iterating_while_trajectories_are_rewritten(store: Store) -> None:
    made = [
        Trajectory(f"{i:04}", "trace", "e", "s", "a", "1", "m", "", "", 1, i, 3, "complete", "", ())
        for i in range(600)
    ]
    store.commit(Changes(trajectories=made))
    seen: list[str] = []
    for trajectory in store.trajectories("true"):
        if not seen:
            store.commit(Changes(removed=[t.trajectory_id for t in made[300:]]))
        seen.append(trajectory.trajectory_id)
    assert seen == [t.trajectory_id for t in made[:300]]


def test_the_lock_is_free_again_after_a_failed_start(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "telltale.duckdb").write_bytes(b"x" * 9000)
    with pytest.raises(ConfigError):
        Store(tmp_path, clock)
    (tmp_path / "telltale.duckdb").unlink()
    Store(tmp_path, clock, wait_s=0).close()
