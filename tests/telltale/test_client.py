"""How commands ask: the daemon where one runs, the store where none does, with equal answers."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.replay import ReplaySource
from contracts.baseline import LineageEntry
from contracts.errors import ConfigError, PermanentError, QueryRefused, RetryableError
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale import admin
from telltale.app import App
from telltale.client import MARKER, NotFound, connect, daemon, existing, opened, running
from telltale.config import Settings
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import STUDENT, free, records


@pytest.fixture
def settings(tmp_path: Path, pack: RulePack) -> Settings:
    """Of a data folder with ten trajectories."""
    made = free(tmp_path / "data")
    clock = ManualClock()
    store = Store(made.data, clock)
    pipeline = Pipeline(stages(made, store, pack), store)
    replay(ReplaySource(iter(records(STUDENT, 10))), pipeline, store, clock)
    store.close()
    return made


@pytest.fixture
def app(settings: Settings) -> Iterator[App]:
    made = App(settings)
    try:
        made.start()
        yield made
    finally:
        made.close()


QUESTIONS = ("/api/v1/trajectories", "/api/v1/subjects", "/api/v1/verdicts", "/api/v1/alerts")


def test_answers_are_the_same_with_and_without_a_daemon(settings: Settings) -> None:
    sql = "SELECT tool, count(*) AS n FROM calls GROUP BY tool ORDER BY tool"
    with connect(settings) as client:
        without = [client.get(path) for path in QUESTIONS], client.rows(sql)
    app = App(settings)
    try:
        app.start()
        assert running(settings) is not None
        with connect(settings) as client:
            assert ([client.get(path) for path in QUESTIONS], client.rows(sql)) == without
    finally:
        app.close()
    assert running(settings) is None


def test_errors_are_the_same_with_and_without_a_daemon(settings: Settings) -> None:
    def complaints() -> list[str]:
        found: list[str] = []
        with connect(settings) as client:
            for ask, kind in (
                (lambda: client.get("/api/v1/trajectories/t-unknown"), NotFound),
                (lambda: client.rows("DROP TABLE calls"), QueryRefused),
                (lambda: client.get("/api/v1/trajectories", {"limit": 0}), PermanentError),
            ):
                with pytest.raises(kind) as caught:
                    ask()
                found.append(str(caught.value))
        return found

    without = complaints()
    app = App(settings)
    try:
        app.start()
        assert complaints() == without
    finally:
        app.close()


def test_while_a_daemon_runs_a_copy_is_opened_and_goes_again(app: App, settings: Settings) -> None:
    with opened(settings) as store:
        assert len(list(store.trajectories(""))) == 10
        copies = list((settings.data / "copies").iterdir())
        assert len(copies) == 1
        assert oct(copies[0].stat().st_mode & 0o777) == "0o700"
    assert list((settings.data / "copies").iterdir()) == []


def test_changes_go_through_the_daemon(app: App, settings: Settings) -> None:
    entry = LineageEntry("m-student", "teacher", "m-base", "", 1)
    admin.add_lineage(settings, entry)
    assert [e.value for e in app.store.lineage("m-student")] == ["m-base"]
    receipt = admin.forget(settings, "environment = 'live'", "asked to")
    assert receipt["trajectories"] == 10
    assert app.store.read("SELECT count(*) FROM calls") == [(0,)]


def test_changes_without_a_daemon_go_to_the_store(settings: Settings) -> None:
    assert admin.retain(settings, 100_000)["trajectories"] == 0
    assert admin.forget(settings, "true", "asked to")["trajectories"] == 10


def test_a_daemon_that_asks_for_a_token_names_the_key(settings: Settings) -> None:
    api = settings.api.model_copy(update={"token": Settings(api={"token": "right"}).api.token})  # type: ignore[arg-type]  # as YAML gives it
    app = App(settings.model_copy(update={"api": api}))
    try:
        app.start()
        with connect(settings) as client, pytest.raises(ConfigError) as caught:
            client.get("/api/v1/subjects")
        assert caught.value.key == "api.token"
        with connect(settings.model_copy(update={"api": api})) as client:
            assert client.get("/api/v1/subjects")
    finally:
        app.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 999999999}'])
def test_a_marker_that_speaks_of_no_daemon_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    assert daemon(tmp_path) is None


def test_a_daemon_that_does_not_answer_is_a_matter_of_trying_again(settings: Settings) -> None:
    marker = {"pid": os.getpid(), "api": "http://127.0.0.1:9"}
    (settings.data / MARKER).write_text(json.dumps(marker))
    with connect(settings) as client, pytest.raises(RetryableError, match="does not answer"):
        client.get("/api/v1/subjects")


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no store") as caught:
        existing(free(tmp_path))
    assert caught.value.key == "data"
