"""F8 and F9: how a trajectory was told, and in which order, changes no evidence."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from collector.sessions import Sessions
from contracts.ports import Labelled
from contracts.span import Span, Value
from contracts.testing import Spans
from contracts.trajectory import Subject, Trajectory
from detectors.baseline import Reference
from detectors.bench import DetectorBench

SUBJECT = Subject("test", "agent", "1", "student")
LATE_NS = 3_600_000_000_000


def otel(tool: str, arguments: str, result: str, call_id: str) -> tuple[str, dict[str, Value]]:
    return f"execute_tool {tool}", {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.call.arguments": arguments,
        "gen_ai.tool.call.result": result,
    }


def openinference(
    tool: str, arguments: str, result: str, call_id: str
) -> tuple[str, dict[str, Value]]:
    return tool, {
        "openinference.span.kind": "TOOL",
        "tool.name": tool,
        "tool.id": call_id,
        "input.value": arguments,
        "input.mime_type": "application/json",
        "output.value": result,
    }


def traceloop(tool: str, arguments: str, result: str, call_id: str) -> tuple[str, dict[str, Value]]:
    return f"{tool}.tool", {
        "traceloop.span.kind": "tool",
        "traceloop.entity.name": tool,
        "traceloop.entity.input": arguments,
        "traceloop.entity.output": result,
        "tool_call.id": call_id,
    }


def vercel(tool: str, arguments: str, result: str, call_id: str) -> tuple[str, dict[str, Value]]:
    return "ai.toolCall", {
        "ai.operationId": "ai.toolCall",
        "operation.name": "ai.toolCall",
        "ai.toolCall.name": tool,
        "ai.toolCall.id": call_id,
        "ai.toolCall.args": arguments,
        "ai.toolCall.result": result,
    }


def pydantic_ai(
    tool: str, arguments: str, result: str, call_id: str
) -> tuple[str, dict[str, Value]]:
    return "running tool", {
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": call_id,
        "tool_arguments": arguments,
        "tool_response": result,
    }


Dialect = Callable[[str, str, str, str], tuple[str, dict[str, Value]]]
DIALECTS: tuple[Dialect, ...] = (otel, openinference, traceloop, vercel, pydantic_ai)

Told = Callable[[Sequence[Span]], Sequence[Sequence[Span]]]


def spans_of(trajectories: Sequence[Trajectory], dialect: Dialect) -> list[Span]:
    """One trace a trajectory, children first, as exporters send them."""
    out: list[Span] = []
    for number, trajectory in enumerate(trajectories, 1):
        maker = Spans(number)
        named: dict[str, Value] = {"gen_ai.agent.name": trajectory.agent}
        root = maker.span(
            f"invoke_agent {trajectory.agent}", {"gen_ai.operation.name": "invoke_agent", **named}
        )
        tools: list[Span] = []
        for call in trajectory.calls:
            name, attributes = dialect(
                call.tool, json.dumps(call.arguments), str(call.result), f"c{number}-{call.step}"
            )
            tools.append(maker.span(name, {**attributes, **named}, parent=root.span_id))
        out += [*tools, root]
    return out


def evidence(
    reference: Reference,
    labelled: Callable[[list[Trajectory]], list[Labelled]],
    batches: Sequence[Sequence[Span]],
) -> list[tuple[int, int, int, float, float]]:
    joiner = Sessions("test")
    for batch in batches:
        joiner.add(batch, ())
    due = joiner.assemble(10**19, everything_due=True).due
    judged = DetectorBench([reference]).observe(
        [replace(each, subject=SUBJECT) for each in labelled(list(due))], 0
    )
    return [
        (row.n, row.opportunities, row.taken, row.expected, row.evidence_log10)
        for row in judged.evidence
    ]


@pytest.fixture
def reference(make: Callable[..., list[Trajectory]], freeze: Callable[..., Reference]) -> Reference:
    return freeze(make(150, 0.1, 0, name="r", agent="tidier"))


def same(
    left: list[tuple[int, int, int, float, float]],
    right: list[tuple[int, int, int, float, float]],
) -> None:
    assert len(left) >= 30
    np.testing.assert_allclose(np.array(left), np.array(right), rtol=0, atol=1e-9)


def test_f8_five_dialects_give_the_same_evidence(
    make: Callable[..., list[Trajectory]],
    reference: Reference,
    labelled: Callable[[list[Trajectory]], list[Labelled]],
) -> None:
    stream = make(30, 0.6, 1, name="s", agent="tidier")
    told = [evidence(reference, labelled, [spans_of(stream, each)]) for each in DIALECTS]
    assert any(row[2] for row in told[0])
    for other in told[1:]:
        same(told[0], other)


def shuffled(spans: Sequence[Span]) -> Sequence[Sequence[Span]]:
    out = list(spans)
    Random(2).shuffle(out)
    return [out]


def doubled(spans: Sequence[Span]) -> Sequence[Sequence[Span]]:
    return [spans, spans[::2], spans]


def orphaned(spans: Sequence[Span]) -> Sequence[Sequence[Span]]:
    return [[each for each in spans if each.parent_span_id]]


def late(spans: Sequence[Span]) -> Sequence[Sequence[Span]]:
    return [
        spans[::2],
        [replace(each, received_ns=each.received_ns + LATE_NS) for each in spans[1::2]],
    ]


@pytest.mark.parametrize("told", [shuffled, doubled, orphaned, late])
def test_f9_order_repetition_and_lateness_change_no_evidence(
    make: Callable[..., list[Trajectory]],
    reference: Reference,
    labelled: Callable[[list[Trajectory]], list[Labelled]],
    told: Told,
) -> None:
    spans = spans_of(make(30, 0.6, 1, name="s", agent="tidier"), otel)
    same(
        evidence(reference, labelled, [spans]),
        evidence(reference, labelled, told(spans)),
    )
