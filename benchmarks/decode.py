"""Decoding OTLP beside the bare parse of the same bytes, as ratios of CPU time.

    python benchmarks/decode.py [FOLDER]

Made spans: tool calls of about 20 attributes and 1.9 kB, one and 100 spans a record, 100 records a
poll at most. With FOLDER also all payloads below it, protobuf and JSON. The unit, 1.00, is
`FromString` of the stock opentelemetry-proto class on the same records. Variants are interleaved;
each figure is the median of 5.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from collector import otlp_schema as schema
from collector.otlp import decode, join
from contracts.record import Record, Signal

ROUNDS = 5
SECONDS = 0.25
"""Least CPU time of one variant in one round."""


def made_payload(spans: int, seed: int) -> bytes:
    """An export request of tool spans, arguments of 200 to 2000 bytes."""
    rng = random.Random(seed)
    data = TracesData()
    resource = data.resource_spans.add()
    for key, value in {
        "service.name": "billing-agent",
        "deployment.environment.name": "production",
        "k8s.pod.name": "billing-agent-7d9c5b6f4-x2v8p",
        "telemetry.sdk.language": "python",
    }.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_spans.add()
    scope.scope.name = "made"
    for index in range(spans):
        start = 1_767_225_600_000_000_000 + index * 1_000_000
        span = scope.spans.add(
            trace_id=rng.randbytes(16),
            span_id=rng.randbytes(8),
            parent_span_id=rng.randbytes(8),
            name="execute_tool transfer_funds",
            kind=1,
            start_time_unix_nano=start,
            end_time_unix_nano=start + 250_000,
        )
        span.status.code = 1
        size = int(10 ** rng.uniform(2.3, 3.3))
        arguments = {"account": f"{rng.randrange(10**9)}", "note": rng.randbytes(size // 2).hex()}
        texts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": rng.choice(["transfer_funds", "read_file", "send_email"]),
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": f"call_{rng.randbytes(12).hex()}",
            "gen_ai.tool.call.arguments": orjson.dumps(arguments).decode(),
            "gen_ai.tool.call.result": "ok",
            "gen_ai.tool.description": "Moves money between two accounts of the same customer.",
            "gen_ai.agent.name": "billing",
            "gen_ai.agent.id": "agent-42",
            "gen_ai.conversation.id": f"conv-{rng.randrange(10**6)}",
            "gen_ai.request.model": "acme-student-8b",
            "gen_ai.response.model": "acme-student-8b",
            "gen_ai.provider.name": "acme",
            "enduser.id": f"user-{rng.randrange(10**6)}",
            "server.address": "llm.internal",
        }
        for key, value in texts.items():
            span.attributes.add(key=key).value.string_value = value
        for key, number in {
            "gen_ai.usage.input_tokens": rng.randrange(4000),
            "gen_ai.usage.output_tokens": rng.randrange(900),
            "server.port": 443,
        }.items():
            span.attributes.add(key=key).value.int_value = number
        span.attributes.add(key="gen_ai.request.temperature").value.double_value = 0.2
        span.attributes.add(key="gen_ai.request.stream").value.bool_value = False
    return data.SerializeToString()


def as_json(payload: bytes) -> bytes:
    """The same request as OTLP/JSON: ids in hex, enums as numbers."""
    data = TracesData.FromString(payload)
    document = MessageToDict(data, use_integers_for_enums=True)
    for resources, resource in zip(document["resourceSpans"], data.resource_spans, strict=True):
        for scopes, scope in zip(resources["scopeSpans"], resource.scope_spans, strict=True):
            for made, span in zip(scopes.get("spans", []), scope.spans, strict=True):
                made["traceId"], made["spanId"] = span.trace_id.hex(), span.span_id.hex()
                if span.parent_span_id:
                    made["parentSpanId"] = span.parent_span_id.hex()
    return orjson.dumps(document)


def record(payload: bytes, signal: Signal = "traces") -> Record:
    return Record(payload, signal, "auto", "replay", 1)


def compare(title: str, spans: int, variants: dict[str, Callable[[], object]]) -> None:
    """Print the variants' CPU time beside the first one's."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, run in variants.items():
            runs = 0
            began = time.process_time()
            while (taken := time.process_time() - began) < SECONDS:
                run()
                runs += 1
            times[name].append(taken / runs / spans * 1e6)
    unit = statistics.median(times[next(iter(variants))])
    print(title)
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:44}{median / unit:8.2f}   {median:8.2f} us a span")


def made(records: int, spans: int) -> None:
    payloads = [made_payload(spans, seed) for seed in range(records)]
    protobuf = [record(payload) for payload in payloads]
    json = [record(as_json(payload)) for payload in payloads]
    assert [d.spans[0].digest for d in decode(protobuf)] == [
        d.spans[0].digest for d in decode(json)
    ], "the encodings must give the same spans"
    size = sum(map(len, payloads)) / records / spans
    joined = join(payloads)
    compare(
        f"{records} records of {spans} spans, {size:.0f} B a span as protobuf",
        records * spans,
        {
            "FromString, stock classes": lambda: [TracesData.FromString(p) for p in payloads],
            "FromString, our classes, joined": lambda: schema.POLL_OF_TRACES.FromString(joined),
            "decode, protobuf": lambda: decode(protobuf),
            "decode, JSON": lambda: decode(json),
        },
    )


def parse_json(records: Sequence[Record]) -> list[object]:
    return [orjson.loads(record.payload) for record in records]


def parse_stock(records: Sequence[Record]) -> list[object]:
    kinds = {"traces": TracesData, "logs": LogsData}
    return [kinds[record.signal].FromString(record.payload) for record in records]


def folder(path: Path) -> None:
    """All payloads below a folder."""
    records: list[Record] = []
    for file in sorted(path.rglob("*")):
        if file.suffix in {".binpb", ".json"} and file.is_file() and file.parent != path:
            records.append(record(file.read_bytes(), "logs" if ".logs." in file.name else "traces"))
    for name, first in (("protobuf", False), ("JSON", True)):
        some = [r for r in records if r.payload.lstrip().startswith(b"{") is first]
        spans = sum(len(d.spans) + len(d.logs) for d in decode(some))
        if not spans:
            continue
        parse = partial(parse_json if first else parse_stock, some)
        size = sum(len(r.payload) for r in some) / spans
        compare(
            f"{len(some)} {name} payloads, {spans} spans and log records, {size:.0f} B each",
            spans,
            {
                "orjson.loads" if first else "FromString, stock classes": parse,
                "decode": partial(decode, some),
            },
        )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Decoding beside the bare parse, as ratios.")
    parser.add_argument("folder", nargs="?", type=Path, help="folder of payload files")
    options = parser.parse_args(arguments)
    made(100, 1)
    made(20, 100)
    if options.folder:
        folder(options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
