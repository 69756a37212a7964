"""An agent's own exporter, pointed at the receivers, with nothing else changed."""

# The exporters' compression argument is typed in part:
# pyright: reportUnknownMemberType=false
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from collector.inbox import OtlpInbox
from collector.otlp import decode
from collector.otlp_grpc import GrpcReceiver
from collector.otlp_http import HttpReceiver

if TYPE_CHECKING:
    from tests.collector.conftest import Pipeline


@pytest.fixture(scope="module")
def http_url(inbox: OtlpInbox) -> Iterator[str]:
    receiver = HttpReceiver(inbox, decode, port=0)
    receiver.start()
    host, port = receiver.address
    yield f"http://{host}:{port}"
    receiver.close(2.0)


@pytest.fixture(scope="module")
def grpc_target(inbox: OtlpInbox) -> Iterator[str]:
    receiver = GrpcReceiver(inbox, decode, port=0)
    receiver.start()
    host, port = receiver.address
    yield f"{host}:{port}"
    receiver.close(2.0)


def emit_spans(exporter: SpanExporter) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "agent"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with (
        tracer.start_as_current_span("invoke_agent"),
        tracer.start_as_current_span("execute_tool") as span,
    ):
        span.set_attribute("gen_ai.tool.call.arguments", '{"path": "/srv/ü"}')
    provider.shutdown()


def assert_spans_came(pipeline: "Pipeline", source: str) -> None:
    spans = [span for decoded in pipeline.decoded for span in decoded.spans]
    assert [span.name for span in spans] == ["execute_tool", "invoke_agent"]
    assert spans[0].parent_span_id == spans[1].span_id
    assert spans[0].attributes == {"gen_ai.tool.call.arguments": '{"path": "/srv/ü"}'}
    assert spans[0].resource["service.name"] == "agent"
    assert {record.source for record in pipeline.records} == {source}


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
@pytest.mark.parametrize("path", ["/v1/traces", "/api/public/otel/v1/traces"])
def test_spans_over_http(
    http_url: str, pipeline: "Pipeline", compression: Compression, path: str
) -> None:
    emit_spans(HttpSpans(http_url + path, compression=compression))
    assert_spans_came(pipeline, "otlp_http")


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_spans_over_grpc(
    grpc_target: str, pipeline: "Pipeline", compression: grpc.Compression
) -> None:
    emit_spans(GrpcSpans(grpc_target, insecure=True, compression=compression))
    assert_spans_came(pipeline, "otlp_grpc")


@pytest.mark.parametrize("transport", ["otlp_http", "otlp_grpc"])
def test_logs(http_url: str, grpc_target: str, pipeline: "Pipeline", transport: str) -> None:
    exporter: LogRecordExporter = (
        HttpLogs(f"{http_url}/v1/logs")
        if transport == "otlp_http"
        else GrpcLogs(grpc_target, insecure=True)
    )
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("test").emit(event_name="tool_result", attributes={"tool_name": "Bash"})
    provider.shutdown()
    (log,) = pipeline.decoded[0].logs
    assert log.name == "tool_result"
    assert log.attributes == {"tool_name": "Bash"}
    assert pipeline.records[0].source == transport
