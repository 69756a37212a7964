"""How a command asks: the running daemon over HTTP, or, where none runs, the same API in process.

Either way the answers are those of the API, so a command has one way to read.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa

from contracts.clock import SystemClock
from contracts.errors import (
    ConfigError,
    DataFolderInUse,
    PermanentError,
    QueryRefused,
    RetryableError,
)
from storage.folder import DATABASE
from storage.store import Store
from telltale import keys
from telltale.config import Settings

MARKER = "daemon.json"
"""In the data folder while a daemon runs: where its API listens."""
TIMEOUT_S = 120.0


class NotFound(PermanentError):
    """What was asked for does not exist."""


class Client:
    """Requests to the API. Not thread-safe."""

    def __init__(
        self, base_url: str, token: str, transport: httpx2.AsyncBaseTransport, admin: bytes = b""
    ) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if admin:
            self._headers["Telltale-Admin"] = admin.hex()
        self._transport = transport

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """The JSON document at `path`. Raises `NotFound`, `QueryRefused`, `RetryableError`."""
        return self._ask("GET", path, params=dict(parameters or {})).json()

    def post(self, path: str, document: Mapping[str, object]) -> bytes:
        """The body of the answer to a JSON document. Raises as `get`."""
        return self._ask("POST", path, json=dict(document)).content

    def query(self, sql: str, form: str) -> tuple[bytes, bool]:
        """The rows of one SELECT as `arrow`, `csv` or `parquet`, and whether there were more."""
        answer = self._ask("POST", "/api/v1/query", json={"sql": sql, "format": form})
        return answer.content, answer.headers.get("Telltale-Truncated", "") == "true"

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of one SELECT as dictionaries."""
        body, _ = self.query(sql, "arrow")
        rows: list[dict[str, Any]] = pa.ipc.open_stream(body).read_all().to_pylist()
        return rows

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        async def ask() -> httpx2.Response:
            async with httpx2.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                transport=self._transport,
                timeout=TIMEOUT_S,
            ) as client:
                return await client.request(method, path, **options)

        try:
            response = asyncio.run(ask())
        except httpx2.HTTPError as error:
            raise RetryableError(f"{self._base_url} does not answer: {error}") from error
        if response.is_success:
            return response
        raise _error(response)


def _error(response: httpx2.Response) -> Exception:
    try:
        error = response.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "", f"the API answered {response.status_code}"
    if response.status_code == 404:
        return NotFound(message)
    if response.status_code == 401:
        return ConfigError("api.token", message)
    if response.status_code in (429, 503):
        return RetryableError(message)
    return QueryRefused(message) if code == "query_refused" else PermanentError(message)


def daemon(data: Path) -> Mapping[str, str] | None:
    """The marker of the daemon that runs on `data`; None where none does."""
    try:
        marker = json.loads((data / MARKER).read_text())
        os.kill(int(marker["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return {str(key): str(value) for key, value in marker.items()}


def running(settings: Settings) -> Client | None:
    """A client that may change things, of the daemon on the data folder; None where none runs."""
    marker = daemon(settings.data)
    if marker is None:
        return None
    token = settings.api.token.get_secret_value()
    admin = keys.secret(settings.data, keys.ADMIN)
    return Client(marker["api"], token, httpx2.AsyncHTTPTransport(), admin)


def existing(settings: Settings) -> Settings:
    """`settings`, where its data folder holds a store. Raises `ConfigError`."""
    if not (settings.data / DATABASE).is_file():
        raise ConfigError("data", f"there is no store in {settings.data}; see --data")
    return settings


@contextmanager
def connect(settings: Settings) -> Generator[Client]:
    """A client of the daemon on the data folder, else of the store in it."""
    token = settings.api.token.get_secret_value()
    found = running(settings)
    if found is not None:
        yield found
        return
    from telltale.api.application import create_app
    from telltale.explain import Explainer
    from telltale.reads import Reads
    from telltale.stages import rule_pack

    with opened(settings) as store:
        labeller = rule_pack(settings)
        reads = Reads(
            store,
            labeller,
            labeller.tools,
            Explainer(store, labeller, settings),
            settings.storage.query,
        )
        transport = httpx2.ASGITransport(create_app(reads, token=token), raise_app_exceptions=True)
        yield Client("http://127.0.0.1", token, transport)


@contextmanager
def opened(settings: Settings) -> Generator[Store]:
    """The store for reading and writing in this process, or, while a daemon runs, a copy of it.

    What a command writes to a copy is not kept. Raises `ConfigError` where there is no store.
    """
    existing(settings)
    clock = SystemClock()
    copy: Path | None = None
    try:
        store = Store(settings.data, clock, settings.storage, wait_s=0.5)
    except DataFolderInUse:
        client = running(settings)
        if client is None:
            raise
        copy = Path(json.loads(client.post("/api/v1/admin/copy", {}))["folder"])
        store = Store(copy, clock, settings.storage)
    try:
        yield store
    finally:
        store.close()
        if copy is not None:
            shutil.rmtree(copy)
