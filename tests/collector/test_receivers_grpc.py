# grpc-stubs leave type arguments out:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, cast

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no py.typed
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no py.typed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector.inbox import OtlpInbox
from collector.otlp import decode
from collector.otlp_grpc import GrpcReceiver
from collector.receiver_limits import ReceiverLimits
from contracts.errors import ConfigError
from contracts.testing import ManualClock

if TYPE_CHECKING:
    from tests.collector.conftest import Pipeline

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


def export(
    receiver: GrpcReceiver,
    payload: bytes,
    method: str = TRACES,
    timeout: float = 20.0,
    compression: grpc.Compression | None = None,
) -> bytes:
    """The bytes of the answer. Raises `grpc.RpcError`."""
    host, port = receiver.address
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"{host}:{port}", options=options) as channel:
        call = channel.unary_unary(method, None, None)  # bytes as they are
        return cast(bytes, call(payload, timeout=timeout, compression=compression))


def failure(receiver: GrpcReceiver, payload: bytes, **arguments: float) -> grpc.Call:
    with pytest.raises(grpc.RpcError) as raised:
        export(receiver, payload, **arguments)  # type: ignore[arg-type]  # of its own names
    return cast(grpc.Call, raised.value)


def retry_after_s(call: grpc.Call) -> float:
    metadata = dict(call.trailing_metadata())
    status = Status.FromString(cast(bytes, metadata["grpc-status-details-bin"]))
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    return float(info.retry_delay.ToTimedelta().total_seconds())


def request(*names: str) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    spans = made.resource_spans.add().scope_spans.add().spans
    for name in names:
        spans.add(name=name, trace_id=b"\x01" * 16, span_id=b"\x01" * 8, start_time_unix_nano=1)
    return made


@pytest.fixture(scope="module")
def receiver(inbox: OtlpInbox) -> Iterator[GrpcReceiver]:
    made = GrpcReceiver(inbox, decode, port=0)
    made.start()
    yield made
    made.close(2.0)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_spans(receiver: GrpcReceiver, pipeline: "Pipeline", compression: grpc.Compression) -> None:
    answer = export(receiver, request("a", "b").SerializeToString(), compression=compression)
    assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()
    assert pipeline.span_names() == ["a", "b"]
    (record,) = pipeline.records
    assert (record.signal, record.encoding, record.source) == ("traces", "otlp_proto", "otlp_grpc")
    assert record.payload == request("a", "b").SerializeToString()


def test_logs(receiver: GrpcReceiver, pipeline: "Pipeline") -> None:
    made = ExportLogsServiceRequest()
    made.resource_logs.add().scope_logs.add().log_records.add(event_name="e", time_unix_nano=1)
    assert export(receiver, made.SerializeToString(), LOGS) == b""
    assert [log.name for log in pipeline.decoded[0].logs] == ["e"]


def test_the_answer_comes_only_after_the_commit(
    receiver: GrpcReceiver, pipeline: "Pipeline"
) -> None:
    pipeline.may_commit.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(export, receiver, request("a").SerializeToString())
        until(lambda: len(pipeline.records) == 1)
        time.sleep(0.2)
        assert not answer.done()
        pipeline.may_commit.set()
        assert answer.result(10) == b""


def test_a_bad_span_is_a_partial_success(receiver: GrpcReceiver, pipeline: "Pipeline") -> None:
    made = request("good")
    made.resource_spans[0].scope_spans[0].spans.add(name="bad")
    answer = ExportTraceServiceResponse.FromString(export(receiver, made.SerializeToString()))
    assert answer.partial_success.rejected_spans == 1
    assert pipeline.span_names() == ["good"]


@pytest.mark.parametrize(
    "payload", [b"\xff random", request("cut").SerializeToString()[:-3], b"{}"]
)
def test_garbage_is_the_senders_error(
    receiver: GrpcReceiver, pipeline: "Pipeline", payload: bytes
) -> None:
    call = failure(receiver, payload)
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert pipeline.decoded[0].dead_letters
    export(receiver, request("after").SerializeToString())


def test_what_is_not_served(receiver: GrpcReceiver) -> None:
    metrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    with pytest.raises(grpc.RpcError) as raised:
        export(receiver, b"", metrics)
    assert cast(grpc.Call, raised.value).code() is grpc.StatusCode.UNIMPLEMENTED


def test_large_messages_and_bombs(receiver: GrpcReceiver, pipeline: "Pipeline") -> None:
    made = request("large")
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="k").value.string_value = "x" * 16_000_000
    export(receiver, made.SerializeToString(), compression=grpc.Compression.Gzip)
    assert pipeline.span_names() == ["large"]
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        with pytest.raises(grpc.RpcError) as raised:
            export(receiver, bytes(64 << 20), compression=compression)
        call = cast(grpc.Call, raised.value)
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in str(call.details())
    assert len(pipeline.records) == 1


def test_a_full_inbox_asks_to_come_back() -> None:
    inbox = OtlpInbox(ManualClock(), max_records=1)
    inbox.start({})
    inbox.submit(b"occupies", "traces", "otlp_proto", "otlp_http")
    receiver = GrpcReceiver(inbox, decode, port=0)
    receiver.start()
    call = failure(receiver, request("a").SerializeToString())
    receiver.close(1.0)
    assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_after_s(call) == 1.0


def test_refused_commits_ask_to_come_back(receiver: GrpcReceiver, pipeline: "Pipeline") -> None:
    pipeline.refuses = True
    call = failure(receiver, request("a").SerializeToString())
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_after_s(call) == 3.0


def test_late_commits_ask_to_come_back(inbox: OtlpInbox, pipeline: "Pipeline") -> None:
    limits = ReceiverLimits(commit_timeout_s=0.1)
    receiver = GrpcReceiver(inbox, decode, port=0, limits=limits)
    receiver.start()
    pipeline.may_commit.clear()
    call = failure(receiver, request("a").SerializeToString())
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_after_s(call) == 1.0
    pipeline.may_commit.set()
    receiver.close(1.0)


def test_the_clients_deadline_frees_the_thread(inbox: OtlpInbox, pipeline: "Pipeline") -> None:
    receiver = GrpcReceiver(inbox, decode, port=0, limits=ReceiverLimits(grpc_calls=1))
    receiver.start()
    pipeline.may_commit.clear()
    call = failure(receiver, request("a").SerializeToString(), timeout=0.3)
    assert call.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    pipeline.may_commit.set()
    assert export(receiver, request("b").SerializeToString()) == b""
    receiver.close(1.0)


def test_more_calls_than_threads_wait_their_turn(inbox: OtlpInbox, pipeline: "Pipeline") -> None:
    receiver = GrpcReceiver(inbox, decode, port=0, limits=ReceiverLimits(grpc_calls=2))
    receiver.start()
    with ThreadPoolExecutor(12) as pool:
        names = [f"s{number}" for number in range(12)]
        payloads = [request(name).SerializeToString() for name in names]
        answers = list(pool.map(partial(export, receiver), payloads))
    receiver.close(1.0)
    assert answers == [b""] * 12
    assert sorted(pipeline.span_names()) == sorted(names)


def test_a_busy_port_is_a_configuration_error(receiver: GrpcReceiver, inbox: OtlpInbox) -> None:
    other = GrpcReceiver(inbox, decode, port=receiver.address[1])
    with pytest.raises(ConfigError, match=r"otlp\.grpc: cannot listen on 127\.0\.0\.1:") as raised:
        other.start()
    assert raised.value.key == "otlp.grpc"
    other.close(1.0)


def test_close_answers_what_is_owed(inbox: OtlpInbox, pipeline: "Pipeline") -> None:
    receiver = GrpcReceiver(inbox, decode, port=0)
    receiver.start()
    pipeline.may_commit.clear()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(export, receiver, request("a").SerializeToString())
        until(lambda: len(pipeline.records) == 1)
        closing = pool.submit(receiver.close, 10.0)
        time.sleep(0.2)
        pipeline.may_commit.set()
        assert answer.result(10) == b""
        closing.result(10)
    receiver.close(1.0)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(
    receiver: GrpcReceiver, pipeline: "Pipeline", payload: bytes
) -> None:
    code = grpc.StatusCode.OK
    try:
        export(receiver, payload)
    except grpc.RpcError as error:
        code = cast(grpc.Call, error).code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
