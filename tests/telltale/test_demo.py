"""The demo: alarm, explanation, page; and nothing left behind."""

import time
import urllib.request
from pathlib import Path

import pytest

from telltale.demo import Demo


def test_the_demo_alarms_shows_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    before = time.monotonic()
    demo = Demo(said.append)
    try:
        shown = demo.run()
        assert time.monotonic() - before < 60
        assert shown.alert.kind == "drift"
        assert shown.alert.verdict is not None
        assert shown.alert.verdict.state == "alarm"
        assert shown.alert.trajectory_ids
        assert {verdict.reference for verdict in shown.verdicts} == {"benign-tasks"}
        with urllib.request.urlopen(shown.url, timeout=10) as response:
            assert shown.alert.category in response.read().decode()
        assert [line.split(":")[0] for line in said] == ["teacher", "baseline", "student"]
        data: Path = shown.data
        assert data.is_dir()
    finally:
        demo.close()
    assert not data.exists()
    demo.close()
