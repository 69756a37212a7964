"""The daemon as a whole: what it says when it cannot start, and how it runs and ends."""

import http.client
import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Busy, ConfigError, DataFolderInUse
from contracts.testing import ManualClock
from storage.store import Store
from telltale.app import App
from telltale.client import MARKER
from telltale.config import Settings
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import rule_pack, stages
from tests.telltale.conftest import STUDENT, free, records

Start = Callable[[Settings], App]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts daemons that are stopped at the end."""
    started: list[App] = []

    def go(settings: Settings) -> App:
        app = App(settings)
        started.append(app)
        app.start()
        return app

    yield go
    for app in started:
        app.close()


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "{}:{}".format(*listener.getsockname())


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        return str(response.read().decode())


def send(app: App, payload: bytes) -> int:
    host, port = app.receivers[0].address
    with closing(http.client.HTTPConnection(host, port, timeout=20)) as connection:
        connection.request(
            "POST", "/v1/traces", payload, {"Content-Type": "application/x-protobuf"}
        )
        return connection.getresponse().status


def metric(app: App, name: str) -> float:
    line = re.search(rf"^{re.escape(name)} (\S+)$", get(app.server.url + "/metrics"), re.M)
    assert line, name
    return float(line[1])


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def test_a_second_daemon_on_the_folder_is_refused_and_the_first_goes_on(
    tmp_path: Path, start: Start
) -> None:
    first = start(free(tmp_path))
    with pytest.raises(DataFolderInUse):
        App(free(tmp_path))
    assert send(first, records(STUDENT, 2)[0].payload) == 200
    assert json.loads((tmp_path / MARKER).read_text())["api"] == first.server.url


@pytest.mark.parametrize("key", ["api.listen", "otlp.http", "otlp.grpc"])
def test_a_busy_port_is_named_and_everything_is_let_go(
    key: str, tmp_path: Path, taken: str, start: Start
) -> None:
    settings = free(tmp_path)
    section, name = key.split(".")
    changed = getattr(settings, section).model_copy(update={name: taken})
    with pytest.raises(ConfigError) as caught:
        start(settings.model_copy(update={section: changed}))
    assert caught.value.key == key
    assert taken.rpartition(":")[2] in str(caught.value)


def test_after_a_failed_start_the_folder_is_free(tmp_path: Path, taken: str) -> None:
    settings = free(tmp_path)
    busy = settings.model_copy(update={"otlp": settings.otlp.model_copy(update={"http": taken})})
    app = App(busy)
    try:
        with pytest.raises(ConfigError):
            app.start()
    finally:
        app.close()
    assert not (tmp_path / MARKER).exists()
    Store(tmp_path, ManualClock()).close()


def test_an_unreachable_broker_stops_nothing_and_shows(tmp_path: Path, start: Start) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = Settings.model_validate(
            {
                **free(tmp_path).model_dump(),
                "kafka": {"bootstrap_servers": ["{}:{}".format(*nobody.getsockname())]},
            }
        )
        app = start(settings)
        waits: list[float] = []
        for record in records(STUDENT, 10, per_record=1):
            before = time.monotonic()
            assert send(app, record.payload) == 200
            waits.append(time.monotonic() - before)
        assert sorted(waits)[len(waits) // 2] < 0.9
        eventually(lambda: metric(app, 'telltale_source_up{source="kafka"}') == 0)
        assert metric(app, 'telltale_source_up{source="otlp"}') == 1
        failures = 'telltale_stage_failures_total{stage="source_unavailable"}'
        eventually(lambda: metric(app, failures) == 1)
        assert get(app.server.url + "/readyz")


def test_what_was_turned_away_or_lost_to_redaction_is_counted(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a rule that breaks")

    monkeypatch.setattr("collector.redact.Redactor._span", broken)
    settings = free(tmp_path)
    small = settings.otlp.model_copy(update={"queue_requests": 1})
    app = start(settings.model_copy(update={"otlp": small}))
    assert metric(app, "telltale_payloads_turned_away_total") == 0
    assert metric(app, "telltale_redaction_errors_total") == 0
    (record,) = records(STUDENT, 1)

    def fill() -> None:
        for _ in range(100):
            app.inbox.submit(record.payload, "traces", "otlp_proto", "otlp_http")

    with pytest.raises(Busy):
        fill()
    eventually(lambda: metric(app, "telltale_payloads_turned_away_total") == 1)
    eventually(lambda: metric(app, "telltale_redaction_errors_total") > 1)


def test_half_open_requests_to_the_api_are_closed(tmp_path: Path, start: Start) -> None:
    app = start(free(tmp_path))
    with socket.create_connection(app.server.address, timeout=15) as half:
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        before = time.monotonic()
        try:
            left = half.recv(100)
        except ConnectionResetError:
            left = b""
        assert left == b""
        assert time.monotonic() - before < 10
    assert get(app.server.url + "/healthz")


def test_retention_is_enforced_at_start(tmp_path: Path, start: Start) -> None:
    clock = ManualClock()  # 2026-01-01: long ago for the daemon's own clock
    settings = free(tmp_path)
    store = Store(tmp_path, clock)
    pipeline = Pipeline(stages(settings, store, rule_pack(settings)), store)
    from collector.replay import ReplaySource

    assert replay(ReplaySource(iter(records(STUDENT, 5))), pipeline, store, clock).calls > 5
    store.close()
    storage = settings.storage.model_copy(update={"retention_days": 30})
    app = start(settings.model_copy(update={"storage": storage}))
    eventually(lambda: app.store.read("SELECT count(*) FROM trajectories") == [(0,)])
    assert app.store.read("SELECT reason FROM data.receipts") == [("older than 30 days",)]


def test_the_public_address_is_in_links(tmp_path: Path) -> None:
    settings = free(tmp_path)
    settings = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"url": "https://telltale.example"}),
            "alertmanager": settings.alertmanager.model_copy(
                update={"urls": ("http://127.0.0.1:9",), "runbooks": "https://books.example"}
            ),
        }
    )
    app = App(settings)
    try:
        app.start()
        sink: Any = vars(app.delivery)["_sink"]
        assert vars(sink)["_page"] == "https://telltale.example"
        assert vars(sink)["_runbooks"] == "https://books.example"
    finally:
        app.close()


def test_one_bound_for_a_payload_holds_at_the_receiver_too(tmp_path: Path, start: Start) -> None:
    settings = free(tmp_path)
    limits = settings.otlp.limits.model_copy(update={"payload_bytes": 2_000})
    otlp = settings.otlp.model_copy(update={"limits": limits})
    app = start(settings.model_copy(update={"otlp": otlp}))
    (record,) = records(STUDENT, 20, per_record=20)
    assert len(record.payload) > 2_000
    assert send(app, record.payload) == 413


def test_a_stop_under_load_is_quick_and_answers_everybody(tmp_path: Path, start: Start) -> None:
    app = start(free(tmp_path))
    answers: list[int] = []
    stop = threading.Event()
    chunks = records(STUDENT, 400, per_record=20)

    def load(offset: int) -> None:
        for index in range(offset, len(chunks) * 50, 8):
            if stop.is_set():
                return
            try:
                answers.append(send(app, chunks[index % len(chunks)].payload))
            except OSError:
                return  # nobody listens any more

    threads = [threading.Thread(target=load, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answers) > 8)
    before = time.monotonic()
    app.close()
    took_s = time.monotonic() - before
    stop.set()
    for thread in threads:
        thread.join(20)
    assert took_s < 10
    assert set(answers) <= {200, 429, 503}
    assert not (tmp_path / MARKER).exists()
    store = Store(tmp_path, ManualClock())
    assert store.verify().problems == ()
    store.close()
    app.close()  # again changes nothing


def test_a_loop_that_dies_ends_the_daemon(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = start(free(tmp_path))

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(app.pipeline, "process", broken)
    assert app.wait(60)
    assert app.failed == "ZeroDivisionError: a defect"
    assert "the loop died" in caplog.text
