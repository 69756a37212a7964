"""The same payloads over Kafka, OTLP/HTTP protobuf and JSON, gRPC and replay: the same calls."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# kafka-python and grpcio are untyped

import base64
import json
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import json_format
from kafka import KafkaAdminClient, KafkaProducer  # type: ignore[import-untyped]  # ships no types
from kafka.admin import NewTopic  # type: ignore[import-untyped]  # ships no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telltale.app import App
from telltale.config import Settings, load
from tests.acceptance.processes import run_command, telltale, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.shared]

Payload = tuple[str, bytes]
"""Signal (`traces` or `logs`) and the request's protobuf bytes."""

CALLS = "SELECT * EXCLUDE (source, received_at) FROM calls ORDER BY trajectory_id, step, span_id"
ID_KEYS = ("traceId", "spanId", "parentSpanId")


@pytest.fixture(scope="module")
def payloads(shared: Path) -> list[Payload]:
    """One protobuf payload set of every capture, logs included."""
    found: list[Payload] = []
    for line in (shared / "spans" / "manifest.jsonl").read_text().splitlines():
        run = json.loads(line)
        if run["scenario"] not in ("student_unsafe", "denied", "subagent", "builtin_tools"):
            continue
        for payload in run["payloads"]:
            name = next(
                (n for n in (payload["verbatim"], payload["derived"]) if n and ".binpb" in n), None
            )
            if name:
                found.append((payload["signal"], (shared / "spans" / name).read_bytes()))
    assert len(found) > 30
    return found


def as_json(signal: str, body: bytes) -> bytes:
    """The request in OTLP/JSON: as protobuf's JSON, but with hex ids (OTLP specification)."""
    kind = ExportTraceServiceRequest if signal == "traces" else ExportLogsServiceRequest
    document = json_format.MessageToDict(kind.FromString(body), use_integers_for_enums=True)

    def hexed(value: Any) -> Any:
        if isinstance(value, list):
            return [hexed(item) for item in value]
        if not isinstance(value, dict):
            return value
        items = cast("dict[str, Any]", value).items()
        return {
            key: base64.b64decode(str(item)).hex() if key in ID_KEYS else hexed(item)
            for key, item in items
        }

    return json.dumps(hexed(document)).encode()


@contextmanager
def daemon(folder: Path, **changes: Any) -> Generator[App]:
    settings: Settings = load(data=folder)
    settings = settings.model_validate(
        {
            **settings.model_dump(),
            "otlp": {"http": "127.0.0.1:0", "grpc": None},
            "api": {"listen": "127.0.0.1:0"},
            **changes,
        }
    )
    app = App(settings)
    try:
        app.start()
        yield app
    finally:
        app.close()


def stored_spans(app: App) -> int:
    return int(app.store.read("SELECT count(*) FROM spans")[0][0])


def over_http(folder: Path, payloads: list[Payload], encode: Callable[[str, bytes], bytes],
              content_type: str) -> None:  # fmt: skip
    with daemon(folder) as app:
        host, port = app.receivers[0].address
        for signal, body in payloads:
            request = urllib.request.Request(
                f"http://{host}:{port}/v1/{signal}",
                encode(signal, body),
                {"Content-Type": content_type},
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                assert response.status == 200


def over_grpc(folder: Path, payloads: list[Payload], port: int) -> None:
    services = {
        "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
    with (
        daemon(folder, otlp={"http": None, "grpc": f"127.0.0.1:{port}"}),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for signal, body in payloads:
            export = channel.unary_unary(services[signal], None, None)
            export(body, timeout=30, wait_for_ready=True)


def over_kafka(folder: Path, payloads: list[Payload], broker: str, spans: int) -> None:
    topics = {"traces": f"traces_{folder.name}", "logs": f"logs_{folder.name}"}
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics(
        [NewTopic(name=t, num_partitions=4, replication_factor=1) for t in topics.values()]
    )
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker, compression_type="zstd", acks="all")
    for number, (signal, body) in enumerate(payloads):
        producer.send(topics[signal], body, partition=number % 4)
    producer.flush()
    producer.close()
    kafka = {
        "bootstrap_servers": [broker],
        "topics": list(topics.values()),
        "log_topics": [topics["logs"]],
    }
    with daemon(folder, kafka=kafka) as app:
        wait_until("all spans are stored", lambda: stored_spans(app) >= spans)
        wait_until("all logs are read", lambda: consumed(app) == len(payloads))


def consumed(app: App) -> int:
    """Records behind the ledger's positions."""
    return sum(position.offset + 1 for position in app.store.ledger().values())


def calls(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        run_command(*telltale("query", CALLS, "--json", "--data", str(folder)))
    )
    return rows


def test_every_way_in_gives_the_same_calls(
    payloads: list[Payload], kafka_broker: str, tmp_path: Path
) -> None:
    from tests.kafka_broker import free_ports

    files = tmp_path / "files"
    files.mkdir()
    for number, (signal, body) in enumerate(payloads):
        suffix = ".logs.binpb" if signal == "logs" else ".binpb"
        (files / f"{number:04d}{suffix}").write_bytes(body)
    counts = json.loads(
        run_command(*telltale("replay", str(files), "--json", "--data", str(tmp_path / "replay")))
    )
    expected = calls(tmp_path / "replay")
    assert len(expected) > 100
    assert counts["dead_letters"] == 0
    over_http(tmp_path / "protobuf", payloads, lambda _, body: body, "application/x-protobuf")
    over_http(tmp_path / "json", payloads, as_json, "application/json")
    over_grpc(tmp_path / "grpc", payloads, free_ports(1)[0])
    over_kafka(tmp_path / "kafka", payloads, kafka_broker, counts["spans"])
    for way in ("protobuf", "json", "grpc", "kafka"):
        found = calls(tmp_path / way)
        assert found == expected, way
