import gzip
import http.client
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no py.typed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector.config import DecodeLimits
from collector.inbox import OtlpInbox
from collector.otlp import decode
from collector.otlp_http import HttpReceiver
from collector.receiver_limits import ReceiverLimits
from contracts.errors import ConfigError
from contracts.testing import ManualClock

if TYPE_CHECKING:
    from tests.collector.conftest import Pipeline

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MIB = 1 << 20


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        """Of the `google.rpc.Status` in the body."""
        if self.headers["content-type"] == JSON:
            return str(json.loads(self.body)["message"])
        return str(Status.FromString(self.body).message)


def post(
    receiver: HttpReceiver,
    body: bytes,
    content_type: str = PROTOBUF,
    path: str = "/v1/traces",
    method: str = "POST",
    **headers: str,
) -> Answer:
    connection = http.client.HTTPConnection(*receiver.address, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"content-type": content_type, **named})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)


def request(*names: str, span_id: bytes = b"\x01" * 8) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    spans = made.resource_spans.add().scope_spans.add().spans
    for name in names:
        spans.add(name=name, trace_id=b"\x01" * 16, span_id=span_id, start_time_unix_nano=1)
    return made


def json_request(name: str) -> bytes:
    span = {"name": name, "traceId": "01" * 16, "spanId": "01" * 8}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.fixture
def serve(inbox: OtlpInbox) -> Iterator[Callable[..., HttpReceiver]]:
    started: list[HttpReceiver] = []

    def start(**limits: float) -> HttpReceiver:
        receiver = HttpReceiver(inbox, decode, port=0, limits=ReceiverLimits(**limits))  # type: ignore[arg-type]  # names checked by the class
        receiver.start()
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.close(5.0)


@pytest.fixture(scope="module")
def receiver(inbox: OtlpInbox) -> Iterator[HttpReceiver]:
    made = HttpReceiver(inbox, decode, port=0)
    made.start()
    yield made
    made.close(5.0)


def test_protobuf_is_answered_in_protobuf(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    answer = post(receiver, request("a", "b").SerializeToString())
    assert (answer.status, answer.headers["content-type"]) == (200, PROTOBUF)
    assert ExportTraceServiceResponse.FromString(answer.body) == ExportTraceServiceResponse()
    assert pipeline.span_names() == ["a", "b"]
    (record,) = pipeline.records
    assert (record.signal, record.encoding, record.source) == ("traces", "otlp_proto", "otlp_http")


def test_json_is_answered_in_json(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    answer = post(receiver, json_request("a"), "application/json; charset=utf-8")
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    assert json.loads(answer.body) == {}
    assert pipeline.span_names() == ["a"]
    assert pipeline.records[0].encoding == "otlp_json"


@pytest.mark.parametrize("path", ["/api/public/otel/v1/traces", "/v1/traces/", "/v1/traces?x=1"])
def test_paths_may_have_a_prefix(receiver: HttpReceiver, pipeline: "Pipeline", path: str) -> None:
    assert post(receiver, request("a").SerializeToString(), path=path).status == 200
    assert pipeline.span_names() == ["a"]


def test_logs(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    made = ExportLogsServiceRequest()
    made.resource_logs.add().scope_logs.add().log_records.add(event_name="e", time_unix_nano=1)
    answer = post(receiver, made.SerializeToString(), path="/v1/logs")
    assert answer.status == 200
    assert ExportLogsServiceResponse.FromString(answer.body) == ExportLogsServiceResponse()
    assert [log.name for log in pipeline.decoded[0].logs] == ["e"]


@pytest.mark.parametrize(("body", "kind"), [(request("a").SerializeToString(), PROTOBUF)])
def test_gzip(receiver: HttpReceiver, pipeline: "Pipeline", body: bytes, kind: str) -> None:
    assert post(receiver, gzip.compress(body), kind, content_encoding="gzip").status == 200
    two_members = gzip.compress(body[:9]) + gzip.compress(body[9:])
    assert post(receiver, two_members, kind, content_encoding="GZIP").status == 200
    assert [record.payload for record in pipeline.records] == [body, body]


def test_an_empty_request_is_fine(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    assert post(receiver, b"").status == 200
    assert post(receiver, b"{}", JSON).status == 200
    assert pipeline.span_names() == []


def test_200_comes_only_after_the_commit(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    pipeline.may_commit.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, receiver, request("a").SerializeToString())
        until(lambda: len(pipeline.records) == 1)
        time.sleep(0.2)
        assert not answer.done()
        pipeline.may_commit.set()
        assert answer.result(10).status == 200


def test_a_bad_span_is_a_partial_success(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    made = request("good")
    made.resource_spans[0].scope_spans[0].spans.add(name="bad")
    answer = post(receiver, made.SerializeToString())
    assert answer.status == 200
    told = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert told.rejected_spans == 1
    assert "dead letters" in told.error_message
    assert pipeline.span_names() == ["good"]
    body = json.loads(json_request("good"))
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].append({"name": "bad"})
    answer = post(receiver, json.dumps(body).encode(), JSON)
    assert answer.status == 200
    assert json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xfe\xfd random", PROTOBUF),
        (request("cut").SerializeToString()[:-3], PROTOBUF),
        (json_request("wrong encoding"), PROTOBUF),
        (request("wrong encoding").SerializeToString(), JSON),
        (b"", JSON),
        (b'{"resourceSpans": [', JSON),
        (b"[" * 100_000, JSON),
        (b"null", JSON),
    ],
)
def test_garbage_is_the_senders_error_and_a_dead_letter(
    receiver: HttpReceiver, pipeline: "Pipeline", body: bytes, kind: str
) -> None:
    answer = post(receiver, body, kind)
    assert answer.status == 400
    assert answer.headers["content-type"] == kind
    assert answer.message
    if body:
        assert pipeline.decoded[0].dead_letters
    assert post(receiver, request("after").SerializeToString()).status == 200


@pytest.mark.parametrize(
    ("method", "path", "kind", "encoding", "status"),
    [
        ("GET", "/v1/traces", PROTOBUF, "", 405),
        ("PUT", "/v1/logs", JSON, "", 405),
        ("POST", "/v1/metrics", PROTOBUF, "", 404),
        ("POST", "/", JSON, "", 404),
        ("POST", "/v1/traces", "text/plain", "", 415),
        ("POST", "/v1/traces", "application/grpc", "", 415),
        ("POST", "/v1/traces", "", "", 415),
        ("POST", "/v1/traces", JSON, "br", 415),
        ("POST", "/v1/traces", JSON, "zstd", 415),
        ("POST", "/v1/traces", PROTOBUF, "deflate", 415),
        ("POST", "/v1/traces", PROTOBUF, "gzip, gzip", 415),
    ],
)
def test_what_is_not_served(
    receiver: HttpReceiver,
    pipeline: "Pipeline",
    method: str,
    path: str,
    kind: str,
    encoding: str,
    status: int,
) -> None:
    headers = {"content_encoding": encoding} if encoding else {}
    answer = post(receiver, b"{}", kind, path, method, **headers)
    assert answer.status == status
    assert answer.message
    assert not pipeline.records
    if status == 405:
        assert answer.headers["allow"] == "POST"


def test_16_mb_are_taken_and_20_mib_are_the_end(
    receiver: HttpReceiver, pipeline: "Pipeline"
) -> None:
    made = request("large")
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="k").value.string_value = "x" * 16_000_000
    assert post(receiver, made.SerializeToString()).status == 200
    assert pipeline.span_names() == ["large"]
    answer = post(receiver, b"\x0a" * (20 * MIB + 1))
    assert answer.status == 413
    assert "20971520 bytes" in answer.message


def test_what_the_decoder_finds_too_large_is_told(inbox: OtlpInbox, pipeline: "Pipeline") -> None:
    strict = partial(decode, limits=DecodeLimits(payload_bytes=100))
    pipeline.decode = strict
    receiver = HttpReceiver(inbox, strict, port=0)
    receiver.start()
    answer = post(receiver, json_request("x" * 200), JSON)
    receiver.close(5.0)
    assert answer.status == 413
    assert "too_large" in answer.message


def test_gzip_bombs_are_cut_off(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    bomb = gzip.compress(bytes(1 << 28))  # 256 MiB of zeros in 260 kB
    tracemalloc.start()
    started = time.process_time()
    answer = post(receiver, bomb, content_encoding="gzip")
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status == 413
    assert seconds < 1.0
    assert peak < 32 * MIB
    # Within the ratio and too large all the same.
    block = gzip.compress(bytes(range(256)) * 128, 1)
    answer = post(receiver, block * 700, content_encoding="gzip")
    assert answer.status == 413
    assert not pipeline.records


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(b"cut")[:-4], gzip.compress(b"x") + b"trailing"],
    ids=["foreign", "cut", "trailing"],
)
def test_broken_gzip(receiver: HttpReceiver, pipeline: "Pipeline", body: bytes) -> None:
    answer = post(receiver, body, content_encoding="gzip")
    assert answer.status == 400
    assert "gzip" in answer.message
    assert not pipeline.records


def test_nested_gzip_is_garbage(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    body = gzip.compress(gzip.compress(request("a").SerializeToString()))
    assert post(receiver, body, content_encoding="gzip").status == 400


def test_chunked_bodies_are_bounded(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    connection = http.client.HTTPConnection(*receiver.address, timeout=30)
    chunks = (bytes(MIB) for _ in range(25))
    connection.request(
        "POST", "/v1/traces", chunks, {"content-type": PROTOBUF}, encode_chunked=True
    )
    assert connection.getresponse().status == 413
    connection.close()
    assert not pipeline.records


def test_a_full_inbox_asks_to_come_back() -> None:
    inbox = OtlpInbox(ManualClock(), max_records=1)
    inbox.start({})
    receiver = HttpReceiver(inbox, decode, port=0)
    receiver.start()
    inbox.submit(b"occupies", "traces", "otlp_proto", "otlp_grpc")
    answer = post(receiver, request("a").SerializeToString())
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.message
    assert inbox.turned_away == 1
    receiver.close(5.0)


def test_refused_and_late_commits_ask_to_come_back(
    serve: Callable[..., HttpReceiver], pipeline: "Pipeline"
) -> None:
    pipeline.refuses = True
    answer = post(serve(), request("a").SerializeToString())
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")
    pipeline.refuses = False
    pipeline.may_commit.clear()
    answer = post(serve(commit_timeout_s=0.1), request("a").SerializeToString())
    assert answer.status == 503
    assert "retry-after" in answer.headers


def test_many_large_bodies_at_once_ask_to_come_back(
    serve: Callable[..., HttpReceiver], pipeline: "Pipeline"
) -> None:
    receiver = serve(receiving_bytes=MIB)
    answer = post(receiver, bytes(2 * MIB))
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert post(receiver, request("a").SerializeToString()).status == 200


def test_a_connection_serves_many_requests(receiver: HttpReceiver, pipeline: "Pipeline") -> None:
    connection = http.client.HTTPConnection(*receiver.address, timeout=10)
    for name in "abc":
        body = request(name).SerializeToString()
        connection.request("POST", "/v1/traces", body, {"content-type": PROTOBUF})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()
    assert pipeline.span_names() == ["a", "b", "c"]


def test_a_busy_port_is_a_configuration_error(receiver: HttpReceiver, inbox: OtlpInbox) -> None:
    other = HttpReceiver(inbox, decode, port=receiver.address[1])
    with pytest.raises(ConfigError, match=r"otlp\.http: cannot listen on 127\.0\.0\.1:") as raised:
        other.start()
    assert raised.value.key == "otlp.http"
    other.close(1.0)
    with pytest.raises(ConfigError):
        HttpReceiver(inbox, decode, host="no.such.host.invalid", port=0).start()


def test_close_answers_what_is_owed_and_frees_the_port(
    serve: Callable[..., HttpReceiver], pipeline: "Pipeline", inbox: OtlpInbox
) -> None:
    receiver = serve()
    pipeline.may_commit.clear()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(post, receiver, request("a").SerializeToString())
        until(lambda: len(pipeline.records) == 1)
        closing = pool.submit(receiver.close, 10.0)
        time.sleep(0.3)
        pipeline.may_commit.set()
        assert answer.result(10).status == 200
        closing.result(10)
    receiver.close(1.0)
    again = HttpReceiver(inbox, decode, port=receiver.address[1])
    again.start()
    again.close(1.0)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200), st.sampled_from([PROTOBUF, JSON]), st.booleans())
def test_any_bytes_are_answered(
    receiver: HttpReceiver, pipeline: "Pipeline", body: bytes, kind: str, compressed: bool
) -> None:
    headers = {"content_encoding": "gzip"} if compressed else {}
    answer = post(receiver, gzip.compress(body) if compressed else body, kind, **headers)
    assert answer.status in (200, 400)


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
