"""Clients that send slowly, wrongly or too much at once."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from collector.inbox import OtlpInbox
from collector.otlp import decode
from collector.otlp_http import HttpReceiver
from collector.receiver_limits import ReceiverLimits

HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
EMPTY = HEAD + b"Content-Length: 0\r\n\r\n"

Connect = Callable[[], socket.socket]


@pytest.fixture
def serve(inbox: OtlpInbox, pipeline: object) -> Iterator[Callable[..., Connect]]:
    with ExitStack() as stack:

        def start(**limits: float) -> Connect:
            receiver = HttpReceiver(inbox, decode, port=0, limits=ReceiverLimits(**limits))  # type: ignore[arg-type]  # names checked by the class
            receiver.start()
            stack.callback(receiver.close, 2.0)

            def connect() -> socket.socket:
                return stack.enter_context(socket.create_connection(receiver.address, timeout=10))

            return connect

        yield start


def seconds_until_closed(connection: socket.socket, drip: bytes = b"") -> float:
    """How long until the other side ends the connection, sending `drip` now and then."""
    started = time.monotonic()
    connection.settimeout(0.05)
    while time.monotonic() - started < 10.0:
        try:
            if drip:
                connection.send(drip)
            if not connection.recv(4096):
                return time.monotonic() - started
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - started
    raise AssertionError("still open")


def status(connection: socket.socket, request: bytes) -> int:
    connection.sendall(request)
    return int(connection.recv(65536).split()[1])


@pytest.mark.parametrize(
    ("sent", "drip"),
    [(b"", b""), (b"POST /v1", b""), (HEAD, b""), (HEAD, b"x: y\r\n"), (b"", b"P")],
    ids=["nothing", "cut line", "cut headers", "a header now and then", "a byte now and then"],
)
def test_headers_have_a_deadline(serve: Callable[..., Connect], sent: bytes, drip: bytes) -> None:
    connection = serve(header_timeout_s=0.4)()
    connection.sendall(sent)
    assert 0.2 < seconds_until_closed(connection, drip) < 4.0


@pytest.mark.parametrize("drip", [b"", b"\x00"], ids=["silent", "a byte now and then"])
def test_bodies_have_a_deadline(serve: Callable[..., Connect], drip: bytes) -> None:
    connection = serve(body_timeout_s=0.4)()
    connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n\x0a")
    assert 0.2 < seconds_until_closed(connection, drip) < 8.0


def test_endless_bodies_end_at_the_deadline_even_after_the_answer(
    serve: Callable[..., Connect],
) -> None:
    connection = serve(body_timeout_s=0.5, payload_bytes=1000)()
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"400\r\n" + bytes(0x400) + b"\r\n"
    assert seconds_until_closed(connection, chunk) < 8.0


def test_the_second_request_of_a_connection_has_deadlines_too(
    serve: Callable[..., Connect],
) -> None:
    connection = serve(header_timeout_s=0.4)()
    assert status(connection, EMPTY) == 200
    time.sleep(0.8)  # idle between requests is no slow header
    assert status(connection, EMPTY) == 200
    connection.sendall(HEAD)
    assert seconds_until_closed(connection) < 4.0


def test_idle_connections_are_closed(serve: Callable[..., Connect]) -> None:
    connection = serve(keep_alive_s=1)()
    assert status(connection, EMPTY) == 200
    assert 0.5 < seconds_until_closed(connection) < 8.0


def test_pipelined_requests_are_answered(serve: Callable[..., Connect]) -> None:
    connection = serve()()
    connection.sendall(EMPTY * 3)
    received = b""
    while received.count(b"HTTP/1.1 200") < 3:
        received += connection.recv(65536)


def test_a_crowd_of_slow_clients_does_not_keep_others_out(serve: Callable[..., Connect]) -> None:
    connect = serve(connections=20)
    slow: list[socket.socket] = []
    for number in range(60):
        slow.append(connect())
        if number % 2:
            slow[-1].sendall(HEAD + b"Content-Length: 10\r\n\r\n\x0a")
    for _ in range(5):
        started = time.monotonic()
        with connect() as normal:
            assert status(normal, EMPTY) == 200
        assert time.monotonic() - started < 5.0
    assert seconds_until_closed(slow[0]) < 3.0  # the one that waited longest made room


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n Folded: y\r\n\r\n"[:20] + b"\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
    ],
    ids=["CL and TE", "two CL", "negative", "long header", "many headers", "NUL", "TLS"],
)
def test_malformed_requests_are_refused(
    serve: Callable[..., Connect], request_bytes: bytes
) -> None:
    connection = serve(header_timeout_s=1.0)()
    try:
        connection.sendall(request_bytes)
        received = connection.recv(65536)
    except ConnectionResetError:
        received = b""
    assert received == b"" or int(received.split()[1]) in (400, 431)
    assert seconds_until_closed(connection) < 4.0
