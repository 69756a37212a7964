"""Calls and trajectories: what an agent did, in order. Times are UTC nanoseconds."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from contracts.span import Value

Outcome = Literal["ok", "error", "denied", "unknown_tool", "invalid_arguments", "unknown"]
ArgumentsState = Literal["object", "text", "truncated", "redacted", "absent", "invalid"]

OUTCOMES: tuple[Outcome, ...] = (
    "ok",
    "error",
    "denied",
    "unknown_tool",
    "invalid_arguments",
    "unknown",
)
ARGUMENTS_STATES: tuple[ArgumentsState, ...] = (
    "object",
    "text",
    "truncated",
    "redacted",
    "absent",
    "invalid",
)


class Subject(NamedTuple):
    """What is judged. "" where a trajectory does not say."""

    environment: str
    agent: str
    agent_version: str
    model: str

    def label(self) -> str:
        """For metrics and tables: `environment/agent/agent_version/model`, empty as `-`."""
        return "/".join(part or "-" for part in self)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call, whatever spans or messages told of it; a row of the view `calls`.

    `step` counts from 0 within the trajectory. `started_ns`: by the clock of its host, but after
    what caused it; 0 where no time was given. `duration_ns`: negative where clocks contradict its
    causes, by as much: its place among the calls is doubtful. `arguments`: decoded value, a dict
    where `arguments_state` is `object`; text for `text` and `truncated`; None for `absent`.
    `result`: decoded value or text, "" for one that is empty, None where none was recorded.
    `tool_description`: the tool's own annotation, "" if none. `tools_offered`: names offered to the
    model for this step, sorted; () where unknown.
    """

    trajectory_id: str
    step: int
    trace_id: str
    span_id: str
    call_id: str
    started_ns: int
    duration_ns: int
    environment: str
    service: str
    agent: str
    agent_version: str
    parent_agent: str
    model: str
    conversation_id: str
    user_id: str
    tool: str
    arguments: Value
    arguments_state: ArgumentsState
    result: Value
    outcome: Outcome
    error: str
    dialect: str
    source: str
    received_ns: int
    tool_description: str = ""
    tools_offered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The ordered calls of one conversation, or of one trace where no conversation id exists.

    `grouped_by`: which of the two. `state`: `open` until quiescent, then `complete`; `reopened`
    when a late span revised it after it was judged. `request`: the user's first message, "" if not
    seen. `agent`, `agent_version`, `model`: of the top-level agent. `judged_calls`: how many calls,
    from step 0, the sequential tests have consumed; the rest is consumed when the trajectory is due
    again.
    """

    trajectory_id: str
    grouped_by: Literal["conversation", "trace"]
    environment: str
    service: str
    agent: str
    agent_version: str
    model: str
    conversation_id: str
    user_id: str
    started_ns: int
    ended_ns: int
    last_received_ns: int
    state: Literal["open", "complete", "reopened"]
    request: str
    trace_ids: tuple[str, ...]
    judged_calls: int = 0
    calls: tuple[Call, ...] = field(default=())

    def subject(self) -> Subject:
        """The subject by the default key."""
        return Subject(self.environment, self.agent, self.agent_version, self.model)
