"""Who may ask the API, how much, and what browsers are told."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from telltale.api.application import create_app
from telltale.api.guard import SECURITY_HEADERS, Limits, Lockout
from telltale.api.testing import Fleet, sample_fleet

PATHS = ("/api/v1/verdicts", "/metrics", "/openapi.json")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(sample_fleet()), base_url="http://127.0.0.1:8686") as client:
        yield client


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1:8686", "[::1]:8686", "LOCALHOST.", "localhost:1"],
)
def test_loopback_names_are_known(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/verdicts", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8686",
        "",
        "0.0.0.0",
        "[::2]",
    ],
)
def test_a_name_that_was_rebound_to_loopback_is_refused(client: TestClient, host: str) -> None:
    for path in PATHS:
        assert client.get(path, headers={"host": host}).status_code == 421
    assert client.get("/healthz", headers={"host": host}).status_code == 200
    assert client.get("/readyz", headers={"host": host}).status_code == 200


def test_further_hosts() -> None:
    named = TestClient(
        create_app(Fleet(), hosts=["Telltale.internal"]), base_url="http://localhost"
    )
    headers = {"host": "telltale.internal:8686"}
    assert named.get("/metrics", headers=headers).status_code == 200
    assert named.get("/metrics", headers={"host": "other.internal"}).status_code == 421
    anyone = TestClient(create_app(Fleet(), hosts=["*"]), base_url="http://localhost")
    assert anyone.get("/metrics", headers={"host": "10.0.0.7:8686"}).status_code == 200
    cross = {"host": "10.0.0.7:8686", "origin": "http://evil.example"}
    assert anyone.get("/metrics", headers=cross).status_code == 403
    same = {"host": "10.0.0.7:8686", "origin": "http://10.0.0.7:8686"}
    assert anyone.get("/metrics", headers=same).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "file://", "https://localhost.x"]
)
def test_other_origins_are_refused(client: TestClient, origin: str) -> None:
    response = client.post("/api/v1/query", json={"sql": "select 1"}, headers={"origin": origin})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    preflight = client.options("/api/v1/query", headers={"origin": origin})
    assert preflight.status_code == 403


def test_own_origin_and_links_from_elsewhere_are_fine(client: TestClient) -> None:
    own = {"origin": "http://localhost:8686"}
    assert client.post("/api/v1/query", json={"sql": "select 1"}, headers=own).status_code == 200
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/api/v1/alerts", headers=link).status_code == 200
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/api/v1/alerts", headers=embedded).status_code == 403
    form = client.post("/api/v1/query", json={"sql": "select 1"}, headers=link)
    assert form.status_code == 403


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for path in (*PATHS, "/healthz", "/nothing", "/api/v1/alerts/x"):
        headers = client.get(path).headers
        for name, value in SECURITY_HEADERS.items():
            assert headers[name] == value
        assert headers["cache-control"] == "no-store"
    assert "script-src" not in SECURITY_HEADERS["Content-Security-Policy"]  # none: no script at all


TOKEN = "tötken-" + "x" * 32


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"someone:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer " + TOKEN, 200),
        ("bearer " + TOKEN, 200),
        ("Bearer " + TOKEN[:-1], 401),
        ("Bearer " + TOKEN + "x", 401),
        ("Token " + TOKEN, 401),
        (basic(TOKEN), 200),
        (basic("wrong"), 401),
        ("Basic !!!", 401),
        ("Basic ", 401),
        ("Bearer \xff\xfe", 401),
    ],
)
def test_token(authorization: str | None, status: int) -> None:
    client = TestClient(create_app(Fleet(), token=TOKEN), base_url="http://localhost")
    encoded = None if authorization is None else authorization.encode("utf-8")
    headers = [] if encoded is None else [(b"authorization", encoded)]
    for path in PATHS:
        assert client.get(path, headers=headers).status_code == status
    assert client.get("/healthz").status_code == 200


def test_a_refused_token_is_asked_for_and_not_repeated() -> None:
    client = TestClient(create_app(Fleet(), token=TOKEN), base_url="http://localhost")
    response = client.get("/metrics", headers={"authorization": "Bearer guess"})
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert "guess" not in response.text


def test_guessing_locks_the_guesser_out_and_nobody_else() -> None:
    app = create_app(Fleet(), token=TOKEN)
    guesser = TestClient(app, base_url="http://localhost", client=("192.0.2.1", 1))
    other = TestClient(app, base_url="http://localhost", client=("192.0.2.2", 1))
    right = [(b"authorization", b"Bearer " + TOKEN.encode())]
    statuses = [
        guesser.get("/metrics", headers={"authorization": f"Bearer {n}"}).status_code
        for n in range(25)
    ]
    assert statuses == [401] * 20 + [429] * 5
    assert guesser.get("/metrics", headers=right).status_code == 429
    assert guesser.get("/healthz").status_code == 200
    assert other.get("/metrics", headers=right).status_code == 200
    for _ in range(50):  # asking without a token, as browsers first do, is no guess
        assert other.get("/metrics").status_code == 401


def test_a_lockout_ends_and_its_memory_is_bounded() -> None:
    lockout = Lockout(tries=2, window_s=60, peers=3)
    for peer in ("a", "a", "b"):
        lockout.failed(peer, 0.0)
    assert lockout.is_out("a", 59.0)
    assert not lockout.is_out("b", 59.0)
    assert not lockout.is_out("a", 60.0)
    lockout.failed("a", 61.0)
    assert not lockout.is_out("a", 61.0)
    for number in range(100):
        lockout.failed(str(number), 62.0)
        lockout.failed(str(number), 62.0)
    assert sum(lockout.is_out(str(number), 63.0) for number in range(100)) <= 3


ROUTES = {
    "/": {"GET"},
    "/healthz": {"GET"},
    "/readyz": {"GET"},
    "/metrics": {"GET"},
    "/openapi.json": {"GET", "HEAD"},
    "/api/v1/query": {"POST"},
    "/api/v1/verdicts": {"GET"},
    "/api/v1/alerts": {"GET"},
    "/api/v1/trajectories": {"GET"},
    "/api/v1/subjects": {"GET"},
    "/api/v1/doctor": {"GET"},
}


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_only_the_routes_and_methods_there_are(path: str, client: TestClient) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        body = {"sql": "select 1"} if method == "POST" else None
        status = client.request(method, path, json=body).status_code
        assert (status == 200) == (method in ROUTES[path]), method
    for odd in (path + "//", "/" + path, path.upper() + "X", path + "/%2e%2e/x", path + "%00"):
        url = "http://127.0.0.1:8686" + odd
        status = client.get(url, follow_redirects=False).status_code
        assert status in (400, 404, 405) or path == "/", odd


def test_bodies_are_bounded(client: TestClient) -> None:
    large = b'{"sql": "' + b"x" * 1_100_000 + b'"}'
    assert client.post("/api/v1/query", content=large).status_code == 413
    chunks = (large[i : i + 50_000] for i in range(0, len(large), 50_000))
    assert client.post("/api/v1/query", content=chunks).status_code == 413
    lie = {"content-length": "x"}
    assert client.get("/api/v1/verdicts", headers=lie).status_code == 400


def test_a_body_that_does_not_come_is_given_up() -> None:
    app = create_app(Fleet(), limits=Limits(body_s=0.05))
    sent: list[Message] = []

    async def receive() -> Message:
        if not sent and not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.sleep(30)
        raise AssertionError("waited for the whole body")

    async def send(message: Message) -> None:
        sent.append(message)

    asked: list[bool] = []
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/v1/query",
        "raw_path": b"/api/v1/query",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8686),
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    assert sent[0]["status"] == 408
