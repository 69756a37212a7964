"""OTLP/HTTP: an agent's own exporter pointed at us (OTLP specification, "OTLP/HTTP")."""

import asyncio
import math
import socket
import threading

import uvicorn
from grpc import StatusCode
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from collector.connection_guard import guarded
from collector.inbox import OtlpInbox
from collector.inflate import Gunzip
from collector.otlp_response import encoded, failure, success, unreadable
from collector.receiver_limits import ReceiverLimits
from contracts.errors import BadPayload, Busy, ConfigError
from contracts.ports import Decode
from contracts.record import Encoding, Signal

SOURCE = "otlp_http"
ENCODINGS: dict[str, Encoding] = {
    "application/x-protobuf": "otlp_proto",
    "application/json": "otlp_json",
}
MEDIA_TYPES: dict[Encoding, str] = {encoding: media for media, encoding in ENCODINGS.items()}
CLOSE = {"connection": "close"}
HEADERS_MOST, HEADER_BYTES_MOST = 200, 64 << 10
START_TIMEOUT_S = 10.0


class _Refused(Exception):
    """An answer other than 200."""

    def __init__(
        self, status: int, code: StatusCode, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def _try_again(status: int, code: StatusCode, busy: Busy) -> _Refused:
    return _Refused(
        status, code, str(busy), {"retry-after": str(max(1, math.ceil(busy.retry_after_s)))}
    )


def _too_large(most: int) -> _Refused:
    message = f"the body exceeds {most} bytes; send smaller batches"
    return _Refused(413, StatusCode.INVALID_ARGUMENT, message)


class OtlpHttpApp:
    """The ASGI application: POST `.../v1/traces` and `.../v1/logs`, under any path prefix.

    Answers 200 only after the commit. Runs in one event loop; not thread-safe.
    """

    def __init__(self, inbox: OtlpInbox, decode: Decode, limits: ReceiverLimits) -> None:
        self._inbox = inbox
        self._decode = decode
        self._limits = limits
        self._receiving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # An error in a request whose encoding we do not know is told in JSON.
        encoding = ENCODINGS.get(media, "otlp_json")
        try:
            _check_head(request)
            signal = _signal(request)
            if media not in ENCODINGS:
                raise _Refused(
                    415,
                    StatusCode.INVALID_ARGUMENT,
                    f"content-type must be one of {', '.join(ENCODINGS)}",
                )
            payload = await self._payload(request)
            if not payload and encoding == "otlp_json":
                raise _Refused(400, StatusCode.INVALID_ARGUMENT, "an empty body is not JSON")
            rejected = await self._store(payload, signal, encoding) if payload else 0
            content, status, headers = encoded(success(signal, rejected), encoding), 200, {}
        except _Refused as refused:
            content = encoded(failure(refused.code, refused.message), encoding)
            status, headers = refused.status, refused.headers
        except ClientDisconnect:
            return
        response = Response(content, status, headers, MEDIA_TYPES[encoding])
        await response(scope, receive, send)

    async def _payload(self, request: Request) -> bytes:
        """The inflated body. Raises `_Refused`."""
        limits = self._limits
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip"):
            raise _Refused(
                415,
                StatusCode.INVALID_ARGUMENT,
                "content-encoding must be gzip or identity",
                {"accept-encoding": "gzip, identity"},
            )
        most = limits.request_bytes
        if coding == "identity":
            most = min(most, limits.payload_bytes)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        gunzip = (
            Gunzip(limits.payload_bytes, limits.inflate_ratio, limits.inflate_floor_bytes)
            if coding == "gzip"
            else None
        )
        pieces: list[bytes] = []
        received = size = 0
        try:
            async for raw in request.stream():
                received += len(raw)
                if received > most:
                    raise _too_large(most)
                piece = gunzip.feed(raw) if gunzip else raw
                pieces.append(piece)
                size += len(piece)
                self._receiving += len(piece)
                if self._receiving > limits.receiving_bytes:
                    raise _try_again(
                        503,
                        StatusCode.UNAVAILABLE,
                        Busy("too many large requests at the same time"),
                    )
            if gunzip:
                gunzip.finish()
        except BadPayload as bad:
            status = 413 if bad.reason == "too_large" else 400
            raise _Refused(status, StatusCode.INVALID_ARGUMENT, str(bad)) from bad
        finally:
            self._receiving -= size
        return b"".join(pieces)

    async def _store(self, payload: bytes, signal: Signal, encoding: Encoding) -> int:
        """Number of rejected spans, once the rest is durable. Raises `_Refused`."""
        try:
            done = self._inbox.submit(payload, signal, encoding, SOURCE)
        except Busy as busy:
            raise _try_again(429, StatusCode.RESOURCE_EXHAUSTED, busy) from busy
        try:
            rejected = await asyncio.wait_for(
                asyncio.wrap_future(done), self._limits.commit_timeout_s
            )
        except Busy as busy:
            raise _try_again(503, StatusCode.UNAVAILABLE, busy) from busy
        except TimeoutError as error:
            raise _try_again(503, StatusCode.UNAVAILABLE, Busy("not stored in time")) from error
        if rejected:
            dead = await asyncio.to_thread(unreadable, self._decode, payload, signal, encoding)
            if dead is not None:
                status = 413 if dead.reason == "too_large" else 400
                message = f"{dead.reason}: {dead.detail}"
                raise _Refused(status, StatusCode.INVALID_ARGUMENT, message)
        return rejected


def _check_head(request: Request) -> None:
    """Refuse what h11 lets pass: heads that came in one piece, however large, and two lengths."""
    head = request.headers.raw
    if len(head) > HEADERS_MOST or sum(len(k) + len(v) for k, v in head) > HEADER_BYTES_MOST:
        raise _Refused(431, StatusCode.INVALID_ARGUMENT, "too many headers", CLOSE)
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        # RFC 9112 section 6.3: a proxy before us may have read the other one (request smuggling).
        raise _Refused(
            400, StatusCode.INVALID_ARGUMENT, "content-length and transfer-encoding", CLOSE
        )


def _signal(request: Request) -> Signal:
    path = request.url.path.rstrip("/")
    if path.endswith("/v1/traces"):
        signal: Signal = "traces"
    elif path.endswith("/v1/logs"):
        signal = "logs"
    else:
        raise _Refused(404, StatusCode.NOT_FOUND, "only /v1/traces and /v1/logs are served here")
    if request.method != "POST":
        raise _Refused(
            405, StatusCode.INVALID_ARGUMENT, "only POST is served here", {"allow": "POST"}
        )
    return signal


def _bound(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(
            "otlp.http", f"cannot listen on {host}:{port} ({error.strerror})"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class HttpReceiver:
    """The OTLP/HTTP server, in a thread with an event loop of its own."""

    def __init__(
        self,
        inbox: OtlpInbox,
        decode: Decode,
        *,
        host: str = "127.0.0.1",
        port: int = 4318,
        limits: ReceiverLimits | None = None,
    ) -> None:
        """`port` 0 takes a free one, which `address` tells after `start`."""
        limits = limits or ReceiverLimits()
        self._bind = (host, port)
        self._thread: threading.Thread | None = None
        self._server = _Server(
            uvicorn.Config(
                OtlpHttpApp(inbox, decode, limits),
                http=guarded(limits),
                ws="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=limits.keep_alive_s,
            )
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it is bound to."""
        return self._bind

    def start(self) -> None:
        """Bind and serve. Raises `ConfigError` on `otlp.http` where the address cannot be had."""
        if self._thread is not None:
            return
        listener = _bound(*self._bind)
        self._bind = (self._bind[0], int(listener.getsockname()[1]))
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="otlp-http", daemon=True
        )
        self._thread.start()
        self._server.serving.wait(START_TIMEOUT_S)

    def close(self, timeout_s: float) -> None:
        """Take no new requests, and wait `timeout_s` for the answers still owed. Idempotent."""
        if self._thread is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, int(timeout_s))
        self._server.should_exit = True
        self._thread.join(timeout_s + 2.0)
