"""Calls before their trajectory is known, and what one trace says as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from collector.facts import Fact
from collector.messages import Answer
from collector.results import tells_more
from collector.tool_definitions import Offered
from collector.values import same_arguments
from contracts.span import Value
from contracts.trajectory import ArgumentsState

Place = tuple[int, int, str, int]
"""Sort key within a trace: start, 0 for spans and 1 for bare asks, span id, position of the ask."""


@dataclass(slots=True, eq=False)
class Draft:
    """A call before its trajectory is known.

    `executed`: a span stands for its execution. `loose`: its arguments are only a span's input.
    `siblings_told`: nothing ran under it, and other tool spans of the trace have results.
    `stopped`: the run ended at this call, without a result. `step_error`: failure of the step in
    which the model asked for it. `delegated`: it was made for a call of another agent. `timeless`:
    its span has no time. `back_ns`: by how much clocks contradict what caused it, 0 for not at all.
    """

    fact: Fact
    place: Place
    tool: str
    call_id: str
    arguments: Value
    arguments_state: ArgumentsState
    executed: bool
    loose: bool = False
    result: Value = None
    has_result: bool = False
    failed: bool = False
    error: str = ""
    error_type: str = ""
    decision: str = ""
    description: str = ""
    end_ns: int = 0
    asked_by: Fact | None = None
    provider: bool = False
    agent: str = ""
    parent_agent: str = ""
    delegated: bool = False
    model: str = ""
    version: str = ""
    user: str = ""
    offered: Offered = ()
    required: tuple[str, ...] = ()
    answer: Answer | None = None
    siblings_told: bool = False
    stopped: bool = False
    step_error: str = ""
    timeless: bool = False
    back_ns: int = 0
    key: str = ""

    def take(self, other: "Draft") -> None:
        """Fill in what another span of the same call knows."""
        if better(other.arguments_state, self.arguments_state) or (
            self.loose and not other.loose and other.arguments_state == "object"
        ):
            self.loose = other.loose
            self.arguments, self.arguments_state = other.arguments, other.arguments_state
        self.call_id = self.call_id or other.call_id
        if tells_more(other.result, self.result):
            self.result = other.result
        self.has_result = self.has_result or other.has_result
        self.failed = self.failed or other.failed
        self.error = self.error or other.error
        if other.error_type and other.error_type not in self.error_type:
            self.error_type = f"{self.error_type} {other.error_type}".strip()
        self.decision = self.decision or other.decision
        self.description = self.description or other.description


_LEGIBLE: Mapping[ArgumentsState, int] = {
    "object": 5,
    "truncated": 3,
    "text": 2,
    "invalid": 2,
    "redacted": 1,
    "absent": 0,
}


def better(one: ArgumentsState, other: ArgumentsState) -> bool:
    return _LEGIBLE[one] > _LEGIBLE[other]


@dataclass(slots=True)
class Segment:
    """The part of a trace that belongs to one trajectory, and what it says of the whole."""

    key: str
    environment: str
    service: str
    conversation: str
    drafts: list[Draft] = field(default_factory=list[Draft])


@dataclass(frozen=True, slots=True)
class Told:
    """A model call of a trace, and the ids of calls of other traces whose results it was told."""

    call_ids: tuple[str, ...]
    start_ns: int
    end_ns: int


@dataclass(slots=True, eq=False)
class TraceCalls:
    """All a trace says, independent of other traces. `answers`: by call id. `told`: by its first
    model call that was told anything.
    """

    trace_id: str
    segments: dict[str, Segment]
    answers: dict[str, Answer]
    request: str
    agent: str
    version: str
    model: str
    user: str
    started_ns: int
    ended_ns: int
    received_ns: int
    has_spans: bool
    named: bool
    told: Told | None = None


def compatible(fact: Fact, draft: Draft) -> bool:
    """Whether arguments allow that a span tells of the same call, as far as both are legible."""
    return (
        fact.arguments_state != "object"
        or draft.arguments_state != "object"
        or same_arguments(fact.arguments, draft.arguments)
    )
