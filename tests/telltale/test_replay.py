"""Replay: counts, batches, repeats, and the way through a running daemon."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.replay import ReplaySource
from contracts.errors import RetryableError
from contracts.record import Record
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale.app import App
from telltale.cli import invoke
from telltale.client import daemon
from telltale.pipeline import Pipeline
from telltale.replay import Counts, replay
from telltale.send import send
from telltale.stages import stages
from tests.telltale.conftest import STUDENT, free, records


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    made = Store(tmp_path / "data", clock)
    yield made
    made.close()


def counted(store: Store, stream: list[Record], pack: RulePack, clock: ManualClock) -> Counts:
    pipeline = Pipeline(stages(free(clock_folder(store)), store, pack), store)
    return replay(ReplaySource(iter(stream)), pipeline, store, clock)


def clock_folder(store: Store) -> Path:
    ((path,),) = store.read("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL LIMIT 1")
    return Path(str(path)).parent


def test_counts_are_what_the_store_holds(store: Store, pack: RulePack, clock: ManualClock) -> None:
    counts = counted(store, records(STUDENT, 30), pack, clock)
    ((spans,),) = store.read("SELECT count(*) FROM spans")
    ((calls,),) = store.read("SELECT count(*) FROM calls")
    assert (counts.payloads, counts.spans, counts.calls) == (6, spans, calls)
    assert counts.trajectories == 30
    assert (counts.duplicates, counts.conflicts, counts.dead_letters) == (0, 0, 0)
    assert store.read("SELECT DISTINCT state FROM trajectories") == [("complete",)]


def test_a_repeat_brings_nothing_new(store: Store, pack: RulePack, clock: ManualClock) -> None:
    stream = records(STUDENT, 10)
    first = counted(store, stream, pack, clock)
    again = counted(store, stream, pack, clock)
    assert again.spans == 0
    assert again.duplicates == first.spans
    assert store.read("SELECT DISTINCT state FROM trajectories") == [("complete",)]
    assert store.verify().problems == ()


def test_what_was_left_open_is_judged_at_the_end(
    store: Store, pack: RulePack, clock: ManualClock
) -> None:
    stream = records(STUDENT, 20)
    pipeline = Pipeline(stages(free(clock_folder(store)), store, pack), store)
    step = pipeline.process(stream[:2], (), clock.now_ns(), clock.now_ns())
    store.commit(step.changes)
    assert store.read("SELECT DISTINCT state FROM trajectories") == [("open",)]
    counted(store, stream[2:], pack, clock)
    assert store.read("SELECT state, count(*) FROM trajectories GROUP BY 1") == [("complete", 20)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(free(tmp_path / "daemon"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_running_daemon_gets_the_files(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for index, record in enumerate(records(STUDENT, 10)):
        (folder / f"{index}.binpb").write_bytes(record.payload)
    (folder / "bad.binpb").write_bytes(b"\xff\xff\xff")
    capsys.readouterr()
    code = invoke(["replay", str(folder), "--data", str(tmp_path / "daemon"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code in (0, 1)
    assert told["payloads"] == 3
    assert told["dead_letters"] == 1
    assert app.store.read("SELECT count(*) FROM trajectories") == [(10,)]


def test_a_daemon_without_a_receiver_is_told_apart(app: App, tmp_path: Path) -> None:
    marker = daemon(tmp_path / "daemon")
    assert marker is not None
    with pytest.raises(RetryableError, match=r"otlp\.http"):
        send([], {**marker, "otlp_http": ""}, lambda _: None)
    nobody = {**marker, "otlp_http": "http://127.0.0.1:9"}
    with pytest.raises(RetryableError, match="does not answer"):
        send(records(STUDENT, 1), nobody, lambda _: None)
