"""What stands before every route: who may ask, how much, and what a browser may do with it."""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telltale.api.errors import error_response, log_failure

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes come by IP address and without a token; they say nothing but whether the daemon is well.
"""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """`body_bytes`: of a request. `body_s`: seconds for a request's body to arrive. `rows`: most
    rows of one query. `queries`: queries at once.
    """

    body_bytes: int = 1_048_576
    body_s: float = 15.0
    rows: int = 100_000
    queries: int = 4


class Lockout:
    """Peers that gave wrong tokens too often, for a while. `tries` in `window_s` are allowed.

    Bounded: past `peers` the ones longest quiet are forgotten.
    """

    def __init__(self, tries: int = 20, window_s: float = 60.0, peers: int = 10_000) -> None:
        self._tries = tries
        self._window_s = window_s
        self._peers = peers
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def is_out(self, peer: str, now_s: float) -> bool:
        """Whether the peer has to wait, right token or not."""
        count, since = self._failures.get(peer, (0, now_s))
        return count >= self._tries and now_s - since < self._window_s

    def failed(self, peer: str, now_s: float) -> None:
        """The peer gave a wrong token."""
        count, since = self._failures.pop(peer, (0, now_s))
        if now_s - since >= self._window_s:
            count, since = 0, now_s
        self._failures[peer] = (count + 1, since)
        if len(self._failures) > self._peers:
            self._failures.popitem(last=False)


class Guard:
    """ASGI middleware: host and origin checks, token, body limits, security headers, no stack
    traces.

    `hosts`: names besides loopback that a request may be addressed to; `*` allows any. A page of
    another site cannot reach a daemon on loopback even if its name resolves there (DNS rebinding).
    `token`: asked for as `Authorization: Bearer`, or as the password of `Basic` by browsers; ""
    asks for none. Only its digest is kept.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str, limits: Limits) -> None:
        self._app = app
        self._any_host = "*" in hosts
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._digest = hashlib.sha256(token.encode()).digest() if token else None
        self._limits = limits
        self._lockout = Lockout()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, self._limited(receive), guarded_send)
        except Exception as error:  # the border of the API: no trace content leaves through it
            log_failure(error)
            if started:
                raise ConnectionAbortedError("response cut") from None
            await error_response(500, "internal error")(scope, receive, guarded_send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["path"] in OPEN_PATHS:
            return None
        host = _hostname(headers.get("host", ""))
        if not self._any_host and host not in self._hosts:
            return error_response(421, "unknown host; add it to api.hosts")
        origin = headers.get("origin")
        if origin is not None and not self._same_site(origin, host):
            return error_response(403, "cross-origin requests are not allowed")
        if headers.get("sec-fetch-site") == "cross-site" and not (
            headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        ):
            return error_response(403, "cross-origin requests are not allowed")
        if self._digest is not None:
            refusal = self._without_token(scope, headers.get("authorization", ""))
            if refusal is not None:
                return refusal
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return error_response(400, "content-length is no number")
        if int(length[:20]) > self._limits.body_bytes:
            return error_response(413, f"the body is over {self._limits.body_bytes} bytes")
        return None

    def _without_token(self, scope: Scope, authorization: str) -> Response | None:
        peer = str(scope["client"][0]) if scope.get("client") else ""
        now_s = asyncio.get_running_loop().time()
        if self._lockout.is_out(peer, now_s):
            return error_response(429, "too many wrong tokens", headers={"Retry-After": "60"})
        if self._knows_token(authorization):
            return None
        if authorization:
            self._lockout.failed(peer, now_s)
        challenge = {"WWW-Authenticate": 'Basic realm="telltale", charset="UTF-8"'}
        return error_response(401, "a token is needed", headers=challenge)

    def _same_site(self, origin: str, host: str) -> bool:
        named = _hostname(urlsplit(origin).netloc) if origin.startswith("http") else ""
        return named == host if self._any_host else named in self._hosts

    def _knows_token(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        given = credentials.strip().encode("latin-1")  # the bytes as they came
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                given = b""
        elif scheme.lower() != "bearer":
            given = b""
        # Digests of one length, compared in constant time, whatever was given.
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest or b"")

    def _limited(self, receive: Receive) -> Receive:
        limits = self._limits
        read = 0
        complete = False
        deadline = asyncio.get_running_loop().time() + limits.body_s

        async def limited() -> Message:
            nonlocal read, complete
            if complete:
                return await receive()  # only waits for the client to go away
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly") from None
            read += len(message.get("body", b""))
            if read > limits.body_bytes:
                raise HTTPException(413, f"the body is over {limits.body_bytes} bytes")
            complete = not message.get("more_body", False)
            return message

        return limited


def _hostname(host: str) -> str:
    """The name of `name:port` or `[v6]:port`, lower case, without a final dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")
