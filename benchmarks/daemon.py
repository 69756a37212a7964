"""The daemon as a process of its own on a data folder, to be started, asked, stopped and killed."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.commands import telltale

START_S, STOP_S = 120.0, 60.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Daemon:
    """A daemon on `data`. `settings`: of its configuration; by default it receives nothing."""

    def __init__(self, data: Path, settings: Mapping[str, Any]) -> None:
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        self._config = data.parent / f"{data.name}.yaml"
        self._api = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._config.write_text(
            json.dumps(
                {
                    "data": str(data),
                    "otlp": {"http": None, "grpc": None},
                    "api": {"listen": self._api},
                    **settings,
                }
            )
        )

    def start(self) -> None:
        """Start the process; it does not serve yet."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "telltale", "run", "--config", str(self._config)],
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Until it serves. Raises `TimeoutError`, `RuntimeError` where it ended."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._process is not None, "not started"
            if self._process.poll() is not None:
                raise RuntimeError(f"the daemon ended: {self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://{self._api}/healthz", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        raise TimeoutError("the daemon does not serve")

    def end(self, number: signal.Signals) -> int:
        """Send the signal; the exit code."""
        assert self._process is not None, "not started"
        self._process.send_signal(number)
        return self._process.wait(STOP_S)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query, with the daemon running or not; none before the first commit."""
        if not (self.data / "telltale.duckdb").exists():
            return []
        text = telltale("query", sql, "--format", "json", data=self.data)
        rows: list[dict[str, Any]] = json.loads(text)
        return rows
