"""The daemon as a process: exit codes and messages at its start, and its end."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from telltale.client import MARKER
from tests.acceptance.processes import wait_until


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "{}:{}".format(*listener.getsockname())


def process(tmp_path: Path, settings: dict[str, Any]) -> subprocess.Popen[str]:
    config = tmp_path / "telltale.yaml"
    config.write_text(json.dumps(settings))
    return subprocess.Popen(
        [sys.executable, "-m", "telltale", "run", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_process_ends_with_0_on_sigterm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = {
        "data": str(data),
        "otlp": {"http": "127.0.0.1:0", "grpc": "127.0.0.1:0"},
        "api": {"listen": "127.0.0.1:0"},
    }
    daemon = process(tmp_path, settings)
    try:
        wait_until("start", lambda: (data / MARKER).exists() or daemon.poll() is not None)
        second = process(tmp_path, settings)
        _, complaint = second.communicate(timeout=60)
        assert second.returncode == 75
        assert str(data) in complaint
        before = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=30)
        assert daemon.returncode == 0, log
        assert time.monotonic() - before < 10
        assert not (data / MARKER).exists()
    finally:
        daemon.kill()
        daemon.wait()


def test_the_process_ends_with_64_on_a_busy_port(tmp_path: Path, taken: str) -> None:
    daemon = process(
        tmp_path,
        {
            "data": str(tmp_path / "data"),
            "otlp": {"http": taken, "grpc": None},
            "api": {"listen": "127.0.0.1:0"},
        },
    )
    _, log = daemon.communicate(timeout=60)
    assert daemon.returncode == 64
    assert "otlp.http: cannot listen on" in log
