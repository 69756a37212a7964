"""Answers to OTLP exports: what was rejected, or why the whole request was."""

from collections.abc import Sequence
from typing import cast

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no py.typed
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no py.typed
from grpc import StatusCode
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from contracts.ports import Decode
from contracts.record import DeadLetter, Encoding, Record, Signal

OF_THE_WHOLE_PAYLOAD = frozenset(
    {"empty", "unknown_encoding", "invalid_protobuf", "invalid_json", "too_large", "too_deep"}
)
"""Dead-letter reasons that mean that nothing of the payload could be read."""


def success(signal: Signal, rejected: int) -> Message:
    """The export response; its `partial_success` is set where something was rejected."""
    if not rejected:
        return ExportTraceServiceResponse() if signal == "traces" else ExportLogsServiceResponse()
    why = "set aside as dead letters; do not send them again"
    if signal == "traces":
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=why)
        )
    return ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=why)
    )


def failure(code: StatusCode, message: str, retry_after_s: float | None = None) -> Message:
    """A `google.rpc.Status`; with a `RetryInfo` detail where the sender should try again."""
    status = Status(code=code.value[0], message=message)
    if retry_after_s is not None:
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(int(retry_after_s * 1e9))
        status.details.add().Pack(retry)
    return cast(Message, status)


def encoded(message: Message, encoding: Encoding) -> bytes:
    """`message` in the request's encoding (OTLP specification, "OTLP/HTTP Response")."""
    if encoding == "otlp_json":
        return MessageToJson(message, indent=None).encode()
    return message.SerializeToString()


def unreadable(
    decode: Decode, payload: bytes, signal: Signal, encoding: Encoding
) -> DeadLetter | None:
    """The dead letter of a payload of which nothing could be read, else None.

    For payloads of which the pipeline rejected something: it tells how many spans, and only a
    request whose bytes are no OTLP at all is answered as the sender's error.
    """
    records: Sequence[Record] = (Record(payload, signal, encoding, "", 0),)
    decoded = decode(records)[0]
    if decoded.spans or decoded.logs:
        return None
    return next((d for d in decoded.dead_letters if d.reason in OF_THE_WHOLE_PAYLOAD), None)
