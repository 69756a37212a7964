"""Trajectories of a folder laid out as ../shared/trajectories: as objects and as OTLP payloads.

A folder holds `<dataset>.calls.parquet`, `<dataset>.trajectories.parquet` and `pairs.json`; the
columns stand in its README. Nothing here knows a dataset, a suite or a tool by name.
"""

# pyright: reportUnknownMemberType=false
# (duckdb's and orjson's results are untyped; each row is cast once below)

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import orjson

from contracts.span import Value
from contracts.trajectory import ArgumentsState, Call, Outcome, Trajectory

ArgumentsMode = Literal["full", "digest", "absent"]
START_NS = 1_767_225_600_000_000_000
BETWEEN_TRAJECTORIES_NS = 60_000_000_000
BETWEEN_CALLS_NS = 500_000_000
AGENT = "assistant"
"""Agent of every trajectory; its role is told apart by the service, which is the suite."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A teacher and a student as SQL conditions over the trajectories table. `must`: what
    `expect` asks of the verdict: `alarm`, `silent`, or `report` where only reporting is asked.
    `kind`, `split`: "" where the file does not say.
    """

    id: str
    what: str
    expect: str
    teacher: str
    student: str
    kind: str = ""
    split: str = ""

    @property
    def must(self) -> Literal["alarm", "silent", "report"]:
        if "hard" in self.expect.lower() or "no pairing" in self.expect.lower():
            return "report"
        return "alarm" if self.expect.startswith("ALARM") else "silent"


def read_pairs(where: Path) -> list[Pair]:
    """The pairs of a folder's `pairs.json`, or of the file `where`, in their order."""
    path = where / "pairs.json" if where.is_dir() else where
    document = json.loads(path.read_text("utf-8"))
    return [
        Pair(
            id=str(pair["id"]),
            what=str(pair["what"]),
            expect=str(pair["expect"]),
            teacher=str(pair["teacher"]),
            student=str(pair["student"]),
            kind=str(pair.get("kind", "")),
            split=str(pair.get("split", "")),
        )
        for pair in document["pairs"]
    ]


class Folder:
    """A folder of trajectories, read through DuckDB."""

    def __init__(self, folder: Path) -> None:
        self._database = duckdb.connect()
        self._database.execute("set threads = 2")
        for table in ("trajectories", "calls"):
            files = [str(path) for path in sorted(folder.glob(f"*.{table}.parquet"))]
            if not files:
                raise SystemExit(f"{folder}: no *.{table}.parquet in it")
            self._database.read_parquet(files, union_by_name=True).create(table)

    def datasets(self) -> list[str]:
        rows = self._rows("select distinct dataset from trajectories order by 1")
        return [str(row[0]) for row in rows]

    def select(self, where: str, environment: str = "benchmark") -> list[Trajectory]:
        """Trajectories with at least one call, in an order drawn by a hash of their id.

        The order is the time order too, so that suites and tasks come mixed as in deployment.
        """
        heads = self._rows(
            "select trajectory_id, dataset, suite, model, variant, run from trajectories"
            f" where ({where}) and n_calls > 0"
        )
        heads.sort(key=lambda row: hashlib.sha256(str(row[0]).encode()).digest())
        rows = self._rows(
            "select trajectory_id, step, tool, arguments, result, error from calls"
            f" where trajectory_id in (select trajectory_id from trajectories where {where})"
            " order by trajectory_id, step"
        )
        by_trajectory: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            by_trajectory.setdefault(str(row[0]), []).append(row)
        return [
            _trajectory(number, head, by_trajectory[str(head[0])], environment)
            for number, head in enumerate(heads)
            if str(head[0]) in by_trajectory
        ]

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._database.execute(sql).fetchall()


def with_arguments(trajectories: Sequence[Trajectory], mode: ArgumentsMode) -> list[Trajectory]:
    """The same trajectories with arguments and results in full, as keyed digests, or absent."""
    if mode == "full":
        return list(trajectories)
    change = _digested if mode == "digest" else _stripped
    return [
        replace(trajectory, calls=tuple(change(call) for call in trajectory.calls))
        for trajectory in trajectories
    ]


def without_names(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The same trajectories with tools under names that say nothing, the same name for a tool
    everywhere.
    """
    return [
        replace(
            trajectory,
            calls=tuple(
                replace(call, tool=f"zx{hashlib.sha256(call.tool.encode()).hexdigest()[:8]}")
                for call in trajectory.calls
            ),
        )
        for trajectory in trajectories
    ]


def payloads(trajectories: Sequence[Trajectory], per_payload: int = 50) -> Iterator[bytes]:
    """OTLP/JSON trace payloads: an `invoke_agent` root and an `execute_tool` span per call."""
    for start in range(0, len(trajectories), per_payload):
        batch = trajectories[start : start + per_payload]
        yield orjson.dumps({"resourceSpans": [_resource_spans(each) for each in batch]})


def _trajectory(
    number: int, head: tuple[Any, ...], rows: Sequence[tuple[Any, ...]], environment: str
) -> Trajectory:
    identity, dataset, suite, model, variant, _run = (str(part or "") for part in head)
    start = START_NS + number * BETWEEN_TRAJECTORIES_NS
    trace = hashlib.sha256(f"{environment}\n{identity}".encode()).hexdigest()[:32]
    calls = tuple(
        _call(step, row, start, trace, environment, suite or dataset, model)
        for step, row in enumerate(rows)
    )
    return Trajectory(
        trajectory_id=f"{environment}:{identity}",
        grouped_by="conversation",
        environment=environment,
        service=suite or dataset,
        agent=AGENT,
        agent_version=variant or "plain",
        model=model,
        conversation_id=f"{environment}:{identity}",
        user_id="",
        started_ns=start,
        ended_ns=calls[-1].started_ns + calls[-1].duration_ns,
        last_received_ns=calls[-1].received_ns,
        state="complete",
        request="",
        trace_ids=(trace,),
        calls=tuple(
            replace(
                call, trajectory_id=f"{environment}:{identity}", agent_version=variant or "plain"
            )
            for call in calls
        ),
    )


def _call(
    step: int,
    row: tuple[Any, ...],
    start: int,
    trace: str,
    environment: str,
    service: str,
    model: str,
) -> Call:
    _, _, tool, arguments, result, error = row
    value, state = _arguments(cast("str | None", arguments))
    began = start + (step + 1) * BETWEEN_CALLS_NS
    return Call(
        trajectory_id="",
        step=step,
        trace_id=trace,
        span_id=hashlib.sha256(f"{trace}{step}".encode()).hexdigest()[:16],
        call_id=f"call_{step}",
        started_ns=began,
        duration_ns=BETWEEN_CALLS_NS // 2,
        environment=environment,
        service=service,
        agent=AGENT,
        agent_version="",
        parent_agent="",
        model=model,
        conversation_id="",
        user_id="",
        tool=str(tool),
        arguments=value,
        arguments_state=state,
        result=_result(cast("str | None", result)),
        outcome=_outcome(cast("str | None", error)),
        error=str(error or ""),
        dialect="gen_ai",
        source="replay",
        received_ns=began + BETWEEN_CALLS_NS,
    )


def _arguments(text: str | None) -> tuple[Value, ArgumentsState]:
    if text is None:
        return None, "absent"
    try:
        value = cast(Value, json.loads(text))
    except ValueError:
        return text, "text"
    if isinstance(value, dict):
        return value, "truncated" if value.get("_truncated") is True else "object"
    return value, "text"


def _result(text: str | None) -> Value:
    """Results come as text; JSON among them becomes its value, as a collector would read it."""
    if text is None:
        return None
    try:
        return cast(Value, json.loads(text))
    except ValueError:
        return text


def _outcome(error: str | None) -> Outcome:
    return "ok" if not error else "error"


def _digest(text: str) -> str:
    return f"[[digest:{hashlib.blake2b(text.encode(), key=b'bench', digest_size=8).hexdigest()}]]"


def _digested_value(value: Value) -> Value:
    if isinstance(value, str):
        return _digest(value)
    if isinstance(value, list):
        return [_digested_value(each) for each in value]
    if isinstance(value, dict):
        return {key: _digested_value(each) for key, each in value.items()}
    return value


def _digested(call: Call) -> Call:
    return replace(
        call,
        arguments=_digested_value(call.arguments),
        arguments_state="absent" if call.arguments_state == "absent" else "redacted",
        result=_digested_value(call.result),
    )


def _stripped(call: Call) -> Call:
    return replace(call, arguments=None, arguments_state="absent", result=None)


def _attribute(key: str, text: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": text}}


def _resource_spans(trajectory: Trajectory) -> dict[str, Any]:
    resource = [
        _attribute("service.name", trajectory.service),
        _attribute("deployment.environment.name", trajectory.environment),
    ]
    common = [
        _attribute("gen_ai.conversation.id", trajectory.conversation_id),
        _attribute("gen_ai.agent.name", trajectory.agent),
        _attribute("gen_ai.agent.version", trajectory.agent_version),
        _attribute("gen_ai.request.model", trajectory.model),
    ]
    trace = trajectory.trace_ids[0]
    root = hashlib.sha256(f"{trace}root".encode()).hexdigest()[:16]
    spans = [_span(trace, root, call, common) for call in trajectory.calls]
    spans.append(
        {
            "traceId": trace,
            "spanId": root,
            "name": f"invoke_agent {trajectory.agent}",
            "kind": 1,
            "startTimeUnixNano": str(trajectory.started_ns),
            "endTimeUnixNano": str(trajectory.ended_ns),
            "attributes": [_attribute("gen_ai.operation.name", "invoke_agent"), *common],
        }
    )
    return {
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "benchmarks"}, "spans": spans}],
    }


def _span(trace: str, root: str, call: Call, common: list[dict[str, Any]]) -> dict[str, Any]:
    attributes = [
        _attribute("gen_ai.operation.name", "execute_tool"),
        _attribute("gen_ai.tool.name", call.tool),
        _attribute("gen_ai.tool.call.id", call.call_id),
        *common,
    ]
    if call.arguments_state != "absent":
        attributes.append(_attribute("gen_ai.tool.call.arguments", _text(call.arguments)))
    if call.result is not None:
        attributes.append(_attribute("gen_ai.tool.call.result", _text(call.result)))
    status: dict[str, Any] = {}
    if call.outcome != "ok":
        attributes.append(_attribute("error.type", call.error.split(":")[0][:80] or "error"))
        status = {"code": 2, "message": call.error}
    return {
        "traceId": trace,
        "spanId": call.span_id,
        "parentSpanId": root,
        "name": f"execute_tool {call.tool}",
        "kind": 1,
        "startTimeUnixNano": str(call.started_ns),
        "endTimeUnixNano": str(call.started_ns + call.duration_ns),
        "attributes": attributes,
        "status": status,
    }


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
