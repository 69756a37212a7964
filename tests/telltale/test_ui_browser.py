"""The pages in a real browser: hostile text does not run, with and without the CSP."""

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import uvicorn
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telltale.api.application import create_app
from telltale.api.testing import Fleet, sample_fleet

pytestmark = pytest.mark.chromium

ATTACKS = (
    "<script>fetch('/ran')</script>",
    "\"'><img src=/x onerror=fetch('/ran')>",
    "</title></pre><svg onload=fetch('/ran')>",
    "</dd><iframe srcdoc=\"<script>parent.fetch('/ran')</script>\">",
)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed (Debian's package: chromium)")
    return found


class Watch:
    """Remembers requests; `without_csp` takes the policy away, so that only escaping protects."""

    def __init__(self, app: ASGIApp, without_csp: bool) -> None:
        self._app = app
        self._without_csp = without_csp
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.paths.append(scope["path"])

        async def unprotected(message: Message) -> None:
            if self._without_csp and message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value)
                    for name, value in message["headers"]
                    if name.lower() != b"content-security-policy"
                ]
            await send(message)

        await self._app(scope, receive, unprotected)


@contextmanager
def served(app: ASGIApp, without_csp: bool = False) -> Generator[tuple[str, Watch]]:
    """The app on a free port of loopback."""
    watch = Watch(app, without_csp)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(watch, log_level="error", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", watch
        finally:
            server.should_exit = True
            thread.join(20)


def visit(chromium: str, url: str, profile: Path) -> str:
    """The page's elements after its scripts, if any, have run."""
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=2000",
        "--dump-dom",
        url,
    ]
    done = subprocess.run(command, capture_output=True, timeout=90, check=True)
    return done.stdout.decode()


def addresses(fleet: Fleet) -> list[str]:
    subject = fleet.explanations[0].alert.subject
    return [
        "/",
        "/subject?" + urlencode(subject._asdict()),
        "/alerts",
        "/alerts/" + quote(fleet.explanations[0].alert.alert_id, safe=""),
        "/trajectories?" + urlencode({"agent": subject.agent}),
        "/trajectory?" + urlencode({"id": fleet.details[0].trajectory.trajectory_id}),
        "/doctor",
    ]


def test_the_watch_notices_a_script_that_runs(chromium: str, tmp_path: Path) -> None:
    async def unsafe(scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = HTMLResponse("<p>" + ATTACKS[0])
        await response(scope, receive, send)

    with served(unsafe) as (url, watch):
        visit(chromium, url + "/", tmp_path)
        assert "/ran" in watch.paths


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_text_does_not_run_even_without_the_policy(
    attack: str, chromium: str, tmp_path: Path
) -> None:
    fleet = sample_fleet(attack)
    with served(create_app(fleet), without_csp=True) as (url, watch):
        for address in addresses(fleet):
            page = visit(chromium, url + address, tmp_path)
            assert "</html>" in page
            assert not re.search("<(script|iframe|img)", page), address[:30]
        assert watch.paths.count("/style.css") >= 1
        assert "/ran" not in watch.paths
        assert "/x" not in watch.paths


def test_the_policy_stops_a_script_that_got_into_a_page(chromium: str, tmp_path: Path) -> None:
    app = create_app(sample_fleet())

    @app.get("/broken")
    def broken() -> HTMLResponse:
        return HTMLResponse("<p>" + "".join(ATTACKS))

    with served(app) as (url, watch):
        visit(chromium, url + "/broken", tmp_path)
        assert "/broken" in watch.paths
        assert "/ran" not in watch.paths
