"""Load for ingest and kill tests: OTLP requests of tool-calling agents, deterministic by seed.

Per trajectory one agent span and, per call, a chat span that asks and a tool span that executes;
about 20 attributes a tool span, arguments of 200 to 2,000 bytes (log-uniform).
"""

import json
from collections.abc import Iterator
from random import Random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

START_NS = 1_790_000_000_000_000_000
CALLS = 6
SPANS = 1 + 2 * CALLS
"""Spans of one trajectory."""

_WORDS = [
    "order",
    "invoice",
    "customer",
    "report",
    "table",
    "backup",
    "release",
    "ticket",
    "region",
    "quarter",
    "draft",
]


def _pairs(**values: str | int) -> list[KeyValue]:
    return [
        KeyValue(
            key=key.replace("__", "."),
            value=AnyValue(string_value=value)
            if isinstance(value, str)
            else AnyValue(int_value=value),
        )
        for key, value in values.items()
    ]


def _text(random: Random, size: int) -> str:
    words: list[str] = []
    length = 0
    while length < size:
        word = random.choice(_WORDS)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)


def _trajectory(random: Random, number: int, model: str) -> list[Span]:
    trace_id = random.randbytes(16)
    root_id = random.randbytes(8)
    now = START_NS + number * 1_000_000_000
    conversation = f"{model}-{number:08d}"
    common: dict[str, str | int] = {
        "gen_ai__conversation__id": conversation,
        "gen_ai__agent__name": "load-agent",
        "user__id": f"user-{number % 997}",
        "gen_ai__provider__name": "acme",
    }
    spans: list[Span] = []
    for step in range(CALLS):
        size = int(200 * 10 ** random.random())
        tool, arguments = random.choice(
            [
                ("search_orders", {"query": _text(random, size), "limit": 20}),
                ("read_file", {"path": f"/srv/reports/{number}.md", "reason": _text(random, size)}),
                ("run_shell", {"command": f"ls -l /srv/{number} && grep -c total report.md"}),
                ("update_ticket", {"id": f"T-{number}", "comment": _text(random, size)}),
                ("run_sql", {"query": f"SELECT id, total FROM orders WHERE day = {step}"}),
            ]
        )
        call_id = f"call_{number}_{step}"
        text = json.dumps(arguments)
        ask = json.dumps(
            [
                {
                    "role": "assistant",
                    "parts": [
                        {"type": "tool_call", "id": call_id, "name": tool, "arguments": arguments}
                    ],
                    "finish_reason": "tool_call",
                }
            ]
        )
        chat_id, tool_id = random.randbytes(8), random.randbytes(8)
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=chat_id,
                parent_span_id=root_id,
                name=f"chat {model}",
                kind=Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=now,
                end_time_unix_nano=now + 800_000_000,
                attributes=_pairs(
                    gen_ai__operation__name="chat",
                    gen_ai__request__model=model,
                    gen_ai__response__model=model,
                    gen_ai__output__messages=ask,
                    gen_ai__usage__input_tokens=random.randrange(4000),
                    gen_ai__usage__output_tokens=random.randrange(400),
                    server__address="models.internal",
                    **common,
                ),
            )
        )
        now += 900_000_000
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=tool_id,
                parent_span_id=root_id,
                name=f"execute_tool {tool}",
                kind=Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=now,
                end_time_unix_nano=now + 50_000_000,
                attributes=_pairs(
                    gen_ai__operation__name="execute_tool",
                    gen_ai__tool__name=tool,
                    gen_ai__tool__type="function",
                    gen_ai__tool__description="A tool of the load generator",
                    gen_ai__tool__call__id=call_id,
                    gen_ai__tool__call__arguments=text,
                    gen_ai__tool__call__result=_text(random, 100),
                    thread__id=random.randrange(10_000),
                    thread__name="worker",
                    code__function="execute",
                    code__namespace="agent.tools",
                    app__tenant=f"tenant-{number % 31}",
                    app__region="eu",
                    app__build="2026.11",
                    app__feature="assistant",
                    app__attempt=1,
                    **common,
                ),
            )
        )
        now += 100_000_000
    spans.append(
        Span(
            trace_id=trace_id,
            span_id=root_id,
            name="invoke_agent load-agent",
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=START_NS + number * 1_000_000_000,
            end_time_unix_nano=now,
            attributes=_pairs(
                gen_ai__operation__name="invoke_agent", gen_ai__request__model=model, **common
            ),
        )
    )
    return spans


def requests(
    trajectories: int, per_request: int = 8, seed: int = 1, model: str = "load-8b"
) -> Iterator[ExportTraceServiceRequest]:
    """Requests of `per_request` trajectories each (`per_request * SPANS` spans)."""
    random = Random(seed)
    for first in range(0, trajectories, per_request):
        resource_spans = ResourceSpans()
        resource_spans.resource.attributes.extend(
            _pairs(
                service__name="load",
                service__version="1.0",
                deployment__environment__name="load",
                telemetry__sdk__language="python",
            )
        )
        scope = ScopeSpans()
        scope.scope.name = "load"
        for number in range(first, min(first + per_request, trajectories)):
            scope.spans.extend(_trajectory(random, number, model))
        resource_spans.scope_spans.append(scope)
        yield ExportTraceServiceRequest(resource_spans=[resource_spans])
