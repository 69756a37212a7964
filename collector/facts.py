"""Facts: what one span or log record contributes to trajectories."""

from dataclasses import dataclass, fields
from typing import cast

from collector.dialects import Kind
from collector.messages import Answer, Ask
from collector.tool_definitions import Offered, Tool
from contracts.span import Value
from contracts.trajectory import ArgumentsState

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

    def row(self) -> list[object]:
        """As a JSON list, in field order."""
        row: list[object] = [getattr(self, name) for name in _NAMES]
        for at in _NESTED:
            nested = row[at]
            if nested:
                row[at] = [list(one) for one in cast("tuple[tuple[object, ...], ...]", nested)]
        return row

    @staticmethod
    def from_row(row: list[Value]) -> "Fact":
        """The fact that `row` wrote."""
        taken: dict[str, object] = dict(zip(_NAMES, row, strict=True))
        taken["asks"] = tuple(Ask(*ask) for ask in _rows(taken["asks"]))  # type: ignore[arg-type]
        taken["answers"] = tuple(Answer(*answer) for answer in _rows(taken["answers"]))  # type: ignore[arg-type]
        taken["history"] = tuple(Ask(*ask) for ask in _rows(taken["history"]))  # type: ignore[arg-type]
        taken["offered"] = tuple(
            Tool(str(name), str(told), _texts(needed))
            for name, told, needed in _rows(taken["offered"])
        )
        taken["required"] = _texts(taken["required"])
        return Fact(**taken)  # type: ignore[arg-type]  # written by `row`


_NAMES = tuple(one.name for one in fields(Fact))
_NESTED = tuple(_NAMES.index(name) for name in ("asks", "answers", "history", "offered"))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, cast("list[str]", value))) if isinstance(value, list) else ()


def _rows(value: object) -> list[list[Value]]:
    return cast("list[list[Value]]", value) if isinstance(value, list) else []
