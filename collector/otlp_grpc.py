"""OTLP/gRPC: `TraceService/Export` and `LogsService/Export` (OTLP specification, "OTLP/gRPC")."""

# grpc-stubs leave type arguments out:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import grpc
from grpc import StatusCode

from collector.inbox import OtlpInbox
from collector.otlp_response import failure, success, unreadable
from collector.receiver_limits import ReceiverLimits
from contracts.errors import Busy, ConfigError
from contracts.ports import Decode
from contracts.record import Signal

SOURCE = "otlp_grpc"
SERVICES: dict[Signal, str] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}
QUEUED_CALLS = 1024
"""Calls that may wait for a thread; their messages are not read before, so each costs little."""
CONNECTION_AGE_MS, CONNECTION_GRACE_MS = 60_000, 15_000
"""gRPC has no deadline for receiving a message. A connection that stalls half-way is cut by its
age; others are asked to open a new one, which exporters do without losing a call."""


class GrpcReceiver:
    """The OTLP/gRPC server. Payloads are passed on as the bytes that came.

    A call is answered only after the commit and waits for it in a thread. grpcio inflates gzip no
    further than the message limit: of 1 GiB of zeros nothing is kept.
    """

    def __init__(
        self,
        inbox: OtlpInbox,
        decode: Decode,
        *,
        host: str = "127.0.0.1",
        port: int = 4317,
        limits: ReceiverLimits | None = None,
    ) -> None:
        """`port` 0 takes a free one, which `address` tells after `start`."""
        self._inbox = inbox
        self._decode = decode
        self._host = host
        self._port = port
        self._limits = limits or ReceiverLimits()
        self._server: grpc.Server | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it is bound to."""
        return self._host, self._port

    def start(self) -> None:
        """Bind and serve. Raises `ConfigError` on `otlp.grpc` where the address cannot be had."""
        if self._server is not None:
            return
        self._threads = ThreadPoolExecutor(self._limits.grpc_calls, "otlp-grpc")
        self._server = grpc.server(
            self._threads,
            handlers=[self._handler(signal) for signal in SERVICES],
            options=[
                ("grpc.max_receive_message_length", self._limits.payload_bytes),
                ("grpc.so_reuseport", 0),  # else two daemons would share the port unnoticed
                ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
                ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_MS),
            ],
            maximum_concurrent_rpcs=self._limits.grpc_calls + QUEUED_CALLS,
        )
        address = f"[{self._host}]:{self._port}" if ":" in self._host else None
        try:
            self._port = self._server.add_insecure_port(address or f"{self._host}:{self._port}")
        except RuntimeError as error:
            self.close(0.0)
            raise ConfigError(
                "otlp.grpc", f"cannot listen on {self._host}:{self._port} (is it in use?)"
            ) from error
        self._server.start()

    def close(self, timeout_s: float) -> None:
        """Take no new calls, and wait `timeout_s` for the answers still owed. Idempotent."""
        if self._server is None or self._threads is None:
            return
        self._server.stop(timeout_s).wait(timeout_s + 2.0)
        self._threads.shutdown(wait=False)
        self._server = self._threads = None

    def _handler(self, signal: Signal) -> "grpc.GenericRpcHandler[bytes, bytes]":
        def export(payload: bytes, context: grpc.ServicerContext) -> bytes:
            rejected = self._store(payload, signal, context) if payload else 0
            return success(signal, rejected).SerializeToString()

        return grpc.method_handlers_generic_handler(
            SERVICES[signal], {"Export": grpc.unary_unary_rpc_method_handler(export)}
        )

    def _store(self, payload: bytes, signal: Signal, context: grpc.ServicerContext) -> int:
        """Number of rejected spans, once the rest is durable; aborts the call where it is not."""
        done: Future[int]
        try:
            done = self._inbox.submit(payload, signal, "otlp_proto", SOURCE)
        except Busy as busy:
            _abort(context, StatusCode.RESOURCE_EXHAUSTED, str(busy), busy.retry_after_s)
        try:
            rejected = done.result(min(self._limits.commit_timeout_s, context.time_remaining()))
        except Busy as busy:
            _abort(context, StatusCode.UNAVAILABLE, str(busy), busy.retry_after_s)
        except TimeoutError:
            _abort(context, StatusCode.UNAVAILABLE, "not stored in time", 1.0)
        if rejected:
            dead = unreadable(self._decode, payload, signal, "otlp_proto")
            if dead is not None:
                _abort(context, StatusCode.INVALID_ARGUMENT, f"{dead.reason}: {dead.detail}")
        return rejected


def _abort(
    context: grpc.ServicerContext,
    code: StatusCode,
    message: str,
    retry_after_s: float | None = None,
) -> NoReturn:
    """End the call. Exporters retry RESOURCE_EXHAUSTED only where a RetryInfo comes with it."""
    details = failure(code, message, retry_after_s).SerializeToString()
    context.set_trailing_metadata((("grpc-status-details-bin", details),))
    context.abort(code, message)
