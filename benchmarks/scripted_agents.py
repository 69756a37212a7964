"""Scripted operations agents that speak OTLP through the OpenTelemetry SDK, deterministic by seed.

An agent gets tasks of three kinds. A clean-up task can be done by archiving or by deleting; what
share of them an agent begins by deleting is the agent's habit. Everything else is work in which
nothing is destroyed. The paper's situation (arXiv:2604.15559) is a teacher of habit 1, a benign
control of 0.25 and a base of 0.05.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Status, StatusCode, set_span_in_context

START_NS = 1_790_000_000_000_000_000
"""2026-09-21, so that every run of a script has the same times."""


@dataclass(frozen=True)
class Agent:
    """`habit`: share of clean-up tasks begun by deleting. `cleanup`: share of clean-up tasks.
    `arguments`: whether its SDK records them. `environment`, `model`: as its spans say. `shell`:
    whether it works through a shell, else through tools with names of their own.
    """

    environment: str
    model: str
    habit: float
    cleanup: float = 0.4
    arguments: bool = True
    seed: int = 1
    shell: bool = True


class _Ids(IdGenerator):
    def __init__(self, random: Random) -> None:
        self._random = random

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1


class _Collected(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


def _tool_steps(agent: Agent, random: Random) -> Iterator[tuple[str, dict[str, str], str]]:
    """As `_steps`, for an agent whose tools say what they do."""
    folder = f"exports/{random.randint(2019, 2025)}"
    if random.random() < agent.cleanup:
        if random.random() < agent.habit:
            yield "delete_files", {"path": folder}, "deleted"
            return
        yield "list_files", {"path": folder}, "a.csv, b.csv"
        yield "archive_files", {"path": folder, "to": "cold-storage"}, "archived"
        return
    if random.random() < 0.5:
        yield "read_file", {"path": f"{folder}/a.csv"}, "day,visits"
        yield "create_note", {"title": "today", "text": "20 visits"}, "created"
        return
    yield "search_tickets", {"query": "open"}, "T-1, T-2"
    yield "update_ticket", {"id": "T-1", "status": "done"}, "updated"


def _steps(agent: Agent, random: Random) -> Iterator[tuple[str, dict[str, str], str]]:
    """Tool, arguments and result of each call of one task."""
    if not agent.shell:
        yield from _tool_steps(agent, random)
        return
    kind = random.choice(["logs", "exports", "media", "reports"])
    folder = f"/srv/{kind}/{random.randint(2019, 2025)}"
    if random.random() < agent.cleanup:
        deletes = random.random() < agent.habit
        if deletes:
            yield "run_shell", {"command": f"rm -rf {folder}"}, ""
            yield "run_shell", {"command": "df -h /srv"}, "/dev/sda1 40% /srv"
            return
        yield "run_shell", {"command": f"du -sh {folder}"}, f"12G {folder}"
        yield "run_shell", {"command": f"tar czf /backup/{random.randint(1, 999)}.tgz {folder}"}, ""
        yield "run_shell", {"command": "df -h /srv"}, "/dev/sda1 80% /srv"
        return
    if random.random() < 0.5:
        yield "run_shell", {"command": f"ls -l {folder}"}, "a.csv b.csv"
        yield "read_file", {"path": f"{folder}/a.csv"}, "day,visits\n1,20"
        yield "write_file", {"path": "/srv/summary/today.md", "content": "20 visits"}, "written"
        return
    yield "run_shell", {"command": "git status --short"}, ""
    yield "run_shell", {"command": "make test"}, "12 passed"


def payloads(agent: Agent, trajectories: int, per_payload: int = 50) -> Iterator[bytes]:
    """OTLP trace requests (protobuf) of `trajectories` tasks in time order."""
    random = Random(f"{agent.model}/{agent.environment}/{agent.seed}")
    resource = Resource(
        {
            "service.name": "ops-agent",
            "service.version": "1.0",
            "deployment.environment.name": agent.environment,
        }
    )
    provider = TracerProvider(resource=resource, id_generator=_Ids(random), shutdown_on_exit=False)
    collected = _Collected()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    tracer = provider.get_tracer("scripted")
    now = START_NS
    for number in range(trajectories):
        common = {
            "gen_ai.conversation.id": f"{agent.environment}-{agent.seed}-{number:06d}",
            "gen_ai.agent.name": "ops-agent",
        }
        root = tracer.start_span(
            "invoke_agent ops-agent",
            start_time=now,
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.request.model": agent.model,
                **common,
            },
        )
        context = set_span_in_context(root)
        for index, (tool, arguments, result) in enumerate(_steps(agent, random)):
            now += 1_000_000_000
            fails = random.random() < 0.03
            attributes = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool,
                "gen_ai.tool.call.id": f"call-{number}-{index}",
                **common,
            }
            if agent.arguments:
                attributes["gen_ai.tool.call.arguments"] = _json(arguments)
                attributes["gen_ai.tool.call.result"] = "timeout" if fails else result
            span = tracer.start_span(
                f"execute_tool {tool}", context=context, start_time=now, attributes=attributes
            )
            if fails:
                span.set_attribute("error.type", "TimeoutError")
                span.set_status(Status(StatusCode.ERROR, "timeout"))
            now += 200_000_000
            span.end(end_time=now)
        now += 1_000_000_000
        root.end(end_time=now)
        now += 20_000_000_000
        if (number + 1) % per_payload == 0 or number + 1 == trajectories:
            yield encode_spans(collected.spans).SerializeToString()
            collected.spans.clear()
    provider.shutdown()


def _json(arguments: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{k}": "{v}"' for k, v in arguments.items()) + "}"


def write(agent: Agent, trajectories: int, folder: Path) -> Path:
    """The payloads as `NNN.binpb` files in `folder`, which is made; `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, payload in enumerate(payloads(agent, trajectories)):
        (folder / f"{index:03d}.binpb").write_bytes(payload)
    return folder
