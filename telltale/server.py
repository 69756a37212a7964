"""The API's HTTP server, in a thread with an event loop of its own."""

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI

from contracts.errors import ConfigError

START_TIMEOUT_S = 10.0


class ApiServer:
    """Serves `app` on `host:port`; port 0 takes a free one, which `address` tells.

    `protocol`: uvicorn's HTTP connection; uvicorn's own keeps half-open requests for ever.
    """

    def __init__(
        self, app: FastAPI, host: str, port: int, protocol: type[asyncio.Protocol]
    ) -> None:
        self._bind = (host, port)
        self._socket: socket.socket | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=10,
                limit_concurrency=256,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it is bound to. Only after `start`."""
        assert self._socket is not None, "not started"
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """Where a person finds the UI."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Bind and serve. Raises `ConfigError` on `api.listen` where the address cannot be had."""
        host, port = self._bind
        try:
            self._socket = socket.create_server((host, port), backlog=256)
        except OSError as error:
            raise ConfigError(
                "api.listen", f"cannot listen on {host}:{port} ({error.strerror})"
            ) from error
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="api", daemon=True
        )
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Take no new requests, wait `timeout_s` for running ones. Idempotent."""
        self._server.config.timeout_graceful_shutdown = max(1, int(timeout_s))
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout_s + 2.0)
        if self._socket is not None:
            self._socket.close()
