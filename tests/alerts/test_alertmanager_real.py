"""Alerts reach a real Alertmanager, are one alert however often they come, and end."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from alerts.alertmanager import Alertmanager
from contracts.clock import SystemClock
from contracts.verdict import Alert

pytestmark = pytest.mark.prometheus


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of an Alertmanager that runs for this module."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("Alertmanager is not installed (Debian's package: prometheus-alertmanager)")
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: httpx2.get(f"{url}/-/ready").is_success)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_for(true: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if true():
                return
        except httpx2.HTTPError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


def held(address: str, **matchers: str) -> list[dict[str, Any]]:
    """The alerts that Alertmanager holds to be active."""
    filters = [f'{name}="{value}"' for name, value in matchers.items()]
    answer = httpx2.get(f"{address}/api/v2/alerts", params={"filter": filters, "active": "true"})
    found: list[dict[str, Any]] = json.loads(answer.content)
    return found


def test_an_alert_is_held_once_and_ends(address: str, alert: Callable[..., Alert]) -> None:
    clock = SystemClock()
    pager = Alertmanager([address], clock, page="http://telltale.example:8686")
    made = alert(alert_id="0123456789abcdef", raised_ns=clock.now_ns() - 10**9)
    for _ in range(3):
        pager.send([made])
    wait_for(lambda: len(held(address, alert_id=made.alert_id)) == 1)
    (entry,) = held(address, alertname="TelltaleDrift", subject="production/billing/7/student-8b")
    assert entry["labels"]["severity"] == "high"
    assert entry["annotations"]["page"].endswith("/alerts/0123456789abcdef")
    assert entry["generatorURL"] == entry["annotations"]["page"]
    pager.resolve([made])
    wait_for(lambda: held(address, alert_id=made.alert_id) == [])
    pager.close()


def test_hostile_names_are_accepted(address: str, alert: Callable[..., Alert]) -> None:
    clock = SystemClock()
    pager = Alertmanager([address], clock)
    bad = '"}\n{{ .X }}\ud800\x00' + "x" * 10_000
    hostile = alert(
        alert_id="hostile",
        raised_ns=clock.now_ns(),
        summary=bad,
        reference=bad,
        category=bad,
        subject=alert().subject._replace(agent=bad),
    )
    empty = alert(
        alert_id="empty",
        raised_ns=clock.now_ns(),
        kind="integrity",
        category="",
        reference="gap",
        subject=alert().subject._replace(environment="", agent="", agent_version="", model=""),
    )
    pager.send([hostile, empty])
    wait_for(lambda: len(held(address, alert_id="hostile") + held(address, alert_id="empty")) == 2)
    pager.close()
