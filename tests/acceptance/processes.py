"""Programs the acceptance tests start on free ports, and stop."""

import http.server
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def wait_until(what: str, condition: Callable[[], bool], timeout_s: float = 180.0) -> None:
    """Return once `condition` holds; AssertionError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    wake = threading.Event()
    while time.monotonic() < deadline:
        if condition():
            return
        wake.wait(0.2)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")


def get_json(url: str) -> Any:
    """The JSON document at `url`."""
    with urllib.request.urlopen(url, timeout=60) as response:
        return json.load(response)


def answers(url: str) -> bool:
    """Whether `url` gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def running(command: list[str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """The process for as long as the context lasts; SIGTERM, then SIGKILL after 30 s."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def telltale(*arguments: str) -> list[str]:
    """The command line of `telltale ARGUMENTS`."""
    return [sys.executable, "-m", "telltale", *arguments]


def run_command(*command: str, codes: tuple[int, ...] = (0,)) -> str:
    """Standard output of a command; AssertionError with its output on another exit code."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in codes, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Webhook:
    """A receiver of Alertmanager's webhook notifications on a free port."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.alerts += json.loads(body)["alerts"]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Webhook":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
