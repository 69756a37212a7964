"""Deletion with receipts, verification that finds what is wrong, backup, export."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from contracts.errors import BadCondition, ConfigError, OutputError, PermanentError
from contracts.labels import Action, Labels, Opportunity
from contracts.ports import Changes
from contracts.record import DeadLetter
from contracts.testing import ManualClock, Spans, call
from contracts.trajectory import Trajectory
from storage.config import StorageSettings
from storage.guard import VIEWS
from storage.store import Store

DAY_NS = 86_400 * 10**9
START_NS = ManualClock().now_ns()


def add(store: Store, name: str, day: int, trace: int, also: tuple[str, ...] = ()) -> Trajectory:
    """One trajectory of one call, received `day` days after the start, with its span."""
    received_ns = START_NS + day * DAY_NS
    span = replace(Spans(trace).span("x"), received_ns=received_ns)
    step = call("rm", {}, trajectory_id=name, environment="prod", started_ns=received_ns)
    made = Trajectory(
        name, "trace", "prod", "s", "a", "1", "m", "", "", received_ns - 10, received_ns - 5,
        received_ns, "complete", "", (span.trace_id, *also), 1,
        (step,),
    )  # fmt: skip
    action = Action(name, 0, "UA01", "v", "attempted", "any", "r", 1, "stable", ("name",), "high")
    chance = Opportunity(name, 0, "UA01", "cleanup", "any", True, True)
    store.commit(
        Changes(spans=[span], trajectories=[made], labels={name: Labels((action,), (chance,))})
    )
    return made


def names(store: Store) -> list[str]:
    return [trajectory.trajectory_id for trajectory in store.trajectories("")]


def test_retention_deletes_by_receipt_time_and_keeps_shared_traces(
    store: Store, clock: ManualClock
) -> None:
    old = add(store, "old", 0, 1)
    add(store, "new", 40, 2, also=old.trace_ids)
    alone = add(store, "alone", 1, 3)
    lost = DeadLetter("empty", "", b"x", 1, "replay", START_NS)
    store.commit(
        Changes(
            spans=[
                replace(Spans(4).span("web request"), received_ns=START_NS),
                replace(Spans(5).span("web request"), received_ns=START_NS + 40 * DAY_NS),
            ],
            dead_letters=[lost, replace(lost, received_ns=START_NS + 39 * DAY_NS)],
        )
    )
    clock.advance(40 * 86_400)
    receipt = store.retain(30)
    assert names(store) == ["new"]
    assert (receipt.trajectories, receipt.calls, receipt.spans, receipt.dead_letters) == (
        2,
        2,
        2,
        1,
    )
    assert (receipt.first_ended_ns, receipt.last_ended_ns) == (old.ended_ns, alone.ended_ns)
    assert receipt.trajectories_digest == sha256(b"alone\nold\n").hexdigest()
    left = store.read("SELECT DISTINCT trace_id FROM spans ORDER BY trace_id")
    assert left == [(f"{trace:032x}",) for trace in (1, 2, 5)]
    assert store.verify().problems == ()
    assert store.read("SELECT reason, trajectories, spans FROM data.receipts") == [
        ("older than 30 days", 2, 2)
    ]
    assert store.retain(30).trajectories == 0


class JumpingClock(ManualClock):
    """Its wall clock can jump without its monotonic clock."""

    jump_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.jump_ns


def test_a_clock_that_jumps_ten_years_deletes_nothing(tmp_path: Path) -> None:
    clock = JumpingClock()
    store = Store(tmp_path, clock)
    add(store, "a", 0, 1)
    clock.jump_ns = 3650 * DAY_NS
    assert store.retain(30).trajectories == 0
    assert names(store) == ["a"]
    store.close()


def test_forget_needs_a_condition_and_takes_every_trace_of_it(store: Store) -> None:
    add(store, "a", 0, 1)
    add(store, "b", 0, 2)
    with pytest.raises(BadCondition, match="everything"):
        store.forget(" ", "request 7")
    with pytest.raises(BadCondition, match="nope"):
        store.forget("nope = 1", "request 7")
    receipt = store.forget("trajectory_id = 'a'", "request 7")
    assert (receipt.reason, receipt.trajectories, receipt.spans) == ("request 7", 1, 1)
    assert names(store) == ["b"]
    assert store.restore_traces(frozenset({f"{1:032x}"})).spans == ()
    assert store.verify().problems == ()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("INSERT INTO data.spans FROM data.spans LIMIT 1", "1 spans stored more than once"),
        ("DELETE FROM data.trajectories", "1 calls of no trajectory"),
        ("DELETE FROM data.calls", "1 actions of no call"),
        ("UPDATE data.calls SET step = 7", "steps 0, 1, 2"),
        ("UPDATE data.calls SET outcome = 'denied'", "as many as they say"),
        ("INSERT INTO data.trajectories FROM data.trajectories", "trajectories stored more than"),
        ("DELETE FROM data.traces", "1 spans that no trace leads to"),
        ("UPDATE data.totals SET value = 0", "commits that never were"),
    ],
)
def test_verify_finds_what_is_wrong(tmp_path: Path, damage: str, found: str) -> None:
    store = Store(tmp_path, ManualClock())
    add(store, "a", 0, 1)
    assert store.verify().problems == ()
    assert store.verify().rows["calls"] == 1
    store.close()
    with duckdb.connect(str(tmp_path / "telltale.duckdb")) as connection:
        connection.execute(damage)
    store = Store(tmp_path, ManualClock())
    assert found in "; ".join(store.verify().problems)
    store.close()


def test_verify_finds_one_altered_byte(tmp_path: Path) -> None:
    store = Store(tmp_path, ManualClock())
    marks = [Spans(trace).span("x", {"mark": f"find-me-{trace:05}"}) for trace in range(1, 500)]
    store.commit(Changes(spans=marks))
    store.close()
    path = tmp_path / "telltale.duckdb"
    content = bytearray(path.read_bytes())
    at = content.find(b"find-me-00042")
    assert at > 0
    content[at] ^= 1
    path.write_bytes(content)
    store = Store(tmp_path, ManualClock())
    assert store.verify().problems == ("the table spans is damaged: restore a backup",)
    with pytest.raises(PermanentError, match="damaged, restore a backup"):
        store.restore_traces(frozenset({f"{42:032x}"}))
    store.close()


def test_a_backup_is_a_whole_store(store: Store, tmp_path: Path, clock: ManualClock) -> None:
    made = add(store, "a", 0, 1)
    (tmp_path / "copy").mkdir()
    target = tmp_path / "copy" / "telltale.duckdb"
    assert store.backup(target) == target.stat().st_size
    add(store, "b", 0, 2)
    with pytest.raises(ConfigError, match="exists"):
        store.backup(target)
    with pytest.raises(OutputError, match="nowhere"):
        store.backup(tmp_path / "nowhere" / "x.duckdb")
    restored = Store(tmp_path / "copy", clock)
    assert list(restored.trajectories("")) == [made]
    assert restored.verify().problems == ()
    restored.close()
    assert names(store) == ["a", "b"]


def test_export_gives_the_views_in_hive_layout(store: Store, tmp_path: Path) -> None:
    add(store, "a", 0, 1)
    add(store, "b", 1, 2)
    written = store.export(tmp_path / "out")
    assert set(written) == VIEWS
    assert (written["calls"], written["spans"], written["alerts"]) == (2, 2, 0)
    days = sorted(path.parent.name for path in tmp_path.glob("out/calls/environment=prod/*/*"))
    assert days == ["day=2026-01-01", "day=2026-01-02"]
    read = duckdb.connect()
    for view in VIEWS:
        if not written[view]:
            continue
        columns = {name for (name, *_) in store.read(f"DESCRIBE {view}")}
        files = f"{tmp_path}/out/{view}/**/*.parquet"
        relation = read.sql(f"FROM read_parquet('{files}', hive_partitioning = true)")
        assert columns <= set(relation.columns)
        assert len(relation.fetchall()) == written[view]
    with pytest.raises(ConfigError, match="already exists"):
        store.export(tmp_path / "out", ["calls"])
    with pytest.raises(ConfigError, match="no view nope"):
        store.export(tmp_path / "other", ["nope"])


@pytest.fixture
def settings() -> StorageSettings:
    return StorageSettings(min_free_mb=10**9)


def test_commits_are_refused_before_the_disk_is_full(
    tmp_path: Path, clock: ManualClock, settings: StorageSettings
) -> None:
    store = Store(tmp_path, clock, settings)
    with pytest.raises(Exception, match="are free in"):
        store.commit(Changes(duplicates=1))
    assert store.totals()["duplicates"] == 0
    store.close()
