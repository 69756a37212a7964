"""Golden calls of every captured SDK; `pytest --update-golden` rewrites, review reads them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.otlp import decode
from collector.sessions import Sessions
from contracts.record import Record
from contracts.trajectory import Call

SCENARIOS = ("teacher_baseline", "denied", "bad_calls", "subagent", "handoff", "builtin_tools")
LONG = 200
"""Characters of an argument shown; the rest is tested by value in the benchmark."""


def line(scenario: str, call: Call) -> str:
    """A call as one line of JSON."""
    shown = {
        "scenario": scenario,
        "step": call.step,
        "tool": call.tool,
        "arguments": call.arguments,
        "arguments_state": call.arguments_state,
        "outcome": call.outcome,
        "agent": call.agent,
        "parent_agent": call.parent_agent,
        "model": call.model,
        "conversation_id": call.conversation_id,
        "user_id": call.user_id,
        "call_id": call.call_id,
        "dialect": call.dialect,
        "tools_offered": list(call.tools_offered),
    }
    return json.dumps(shown, ensure_ascii=False)[: LONG + 1_000]


def captured(folder: Path) -> Iterator[tuple[str, str, list[Record]]]:
    """(capture, scenario, payloads) of each captured run."""
    with (folder / "manifest.jsonl").open(encoding="utf-8") as lines:
        for text in lines:
            row = json.loads(text)
            records = [
                Record((folder / one["verbatim"]).read_bytes(), one["signal"], "auto", "replay", 1)
                for one in row["payloads"]
            ]
            yield row["capture"], row["scenario"], records


@pytest.mark.shared
def test_calls_of_every_captured_sdk(shared: Path, golden: Callable[[str, str], None]) -> None:
    lines: dict[str, list[str]] = {}
    for capture, scenario, records in captured(shared / "spans"):
        if scenario not in SCENARIOS:
            continue
        sessions = Sessions(environment="production")
        for decoded in decode(records):
            sessions.add(decoded.spans, decoded.logs)
        for trajectory in sessions.assemble(2**62, everything_due=True).due:
            lines.setdefault(capture, []).extend(line(scenario, one) for one in trajectory.calls)
    assert len(lines) > 20
    for capture, shown in lines.items():
        golden(f"calls/{capture}.jsonl", "\n".join(shown) + "\n")
