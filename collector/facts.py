"""Facts: what one span or log record contributes to trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar, cast

from collector.dialects import Kind
from collector.messages import Answer, Ask
from collector.tool_definitions import Offered
from contracts.span import Value
from contracts.trajectory import ArgumentsState

T = TypeVar("T")

TEXT_CHARACTERS = 2_000
"""Kept of error texts."""


@dataclass(slots=True, eq=False)
class Fact:
    """What one span or log record says. "" and None where it says nothing. Never changed once made;
    not frozen, as a frozen one takes three times as long to make.

    `required`: parameters the tool must be given, of a failed call.
    `arguments_loose`: they are the span's input, not declared as arguments.
    `failed`: the span reports a failure. `has_result`: a result was recorded, even an empty one.
    `agent`: explicit name; `label`: a name drawn from the span's name. `history`: asks and answers
    of a whole run, repeated on an agent's span. `target`: the agent a handoff or delegation names.
    `process`: what tells the processes of a service, and so their clocks, apart.
    `back_ns`: how long before its start the span ended, 0 for one that did not.
    """

    trace_id: str
    span_id: str
    parent_id: str
    digest: str
    kind: Kind
    dialect: str
    name: str
    scope: str
    source: str
    start_ns: int
    end_ns: int
    received_ns: int
    environment: str
    service: str
    version: str
    process: str = ""
    agent: str = ""
    label: str = ""
    model: str = ""
    conversation: str = ""
    user: str = ""
    tool: str = ""
    call_id: str = ""
    arguments: Value = None
    arguments_state: ArgumentsState = "absent"
    arguments_loose: bool = False
    result: Value = None
    has_result: bool = False
    failed: bool = False
    error: str = ""
    error_type: str = ""
    decision: str = ""
    description: str = ""
    target: str = ""
    handed_by: str = ""
    request: str = ""
    asks: tuple[Ask, ...] = ()
    answers: tuple[Answer, ...] = ()
    history: tuple[Ask, ...] = ()
    offered: Offered = ()
    required: tuple[str, ...] = ()
    back_ns: int = 0

    def row(self, answers: "Table[Answer]", offers: "Table[Offered]") -> list[object]:
        """As a JSON list in field order; what facts share goes to the tables, by its place."""
        row: list[object] = [getattr(self, name) for name in _NAMES]
        for at in _ASKS:
            row[at] = [list(ask) for ask in cast("tuple[Ask, ...]", row[at])]
        row[_ANSWERS] = [answers.place(answer) for answer in self.answers]
        row[_OFFERED] = offers.place(self.offered) if self.offered else -1
        return row

    @staticmethod
    def from_row(row: list[Value], answers: Sequence[Answer], offers: Sequence[Offered]) -> "Fact":
        """The fact that `row` wrote."""
        taken: dict[str, object] = dict(zip(_NAMES, row, strict=True))
        for name in ("asks", "history"):
            taken[name] = tuple(Ask(*ask) for ask in cast("list[list[Value]]", taken[name]))  # type: ignore[arg-type]
        taken["answers"] = tuple(answers[at] for at in cast("list[int]", taken["answers"]))
        offered = cast(int, taken["offered"])
        taken["offered"] = offers[offered] if offered >= 0 else ()
        taken["required"] = tuple(cast("list[str]", taken["required"]))
        return Fact(**taken)  # type: ignore[arg-type]  # written by `row`


class Table(Generic[T]):
    """Objects that many facts share, each once, by identity."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._places: dict[int, int] = {}

    def place(self, item: T) -> int:
        """Where `item` stands in `items`; put there if it is new."""
        place = self._places.setdefault(id(item), len(self.items))
        if place == len(self.items):
            self.items.append(item)
        return place


_NAMES = tuple(one.name for one in fields(Fact))
_ASKS = (_NAMES.index("asks"), _NAMES.index("history"))
_ANSWERS, _OFFERED = _NAMES.index("answers"), _NAMES.index("offered")
