"""What a dialect is: which attributes name a span's kind, and which hold which field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple

Kind = Literal["tool", "chat", "agent", "chain", "handoff", "part", "link"]
"""tool: one execution of a tool; chat: one model call; agent: one run of an agent; chain: a step of
a framework; handoff: control passes to another agent; part: a report about the tool span above it;
link: anything else, kept only for its place in the tree."""


class Field(IntEnum):
    """What an attribute can tell. One attribute may tell several, depending on the span's kind."""

    KIND = 0
    TOOL = 1
    ARGUMENTS = 2
    RESULT = 3
    CALL_ID = 4
    AGENT = 5
    AGENT_LABEL = 6
    MODEL = 7
    CONVERSATION = 8
    USER = 9
    INPUT = 10
    OUTPUT = 11
    ASKED = 12
    HEARD = 13
    OFFERED = 14
    DESCRIPTION = 15
    ERROR = 16
    ERROR_TEXT = 17
    DECISION = 18
    TARGET = 19
    HANDED_BY = 20
    METADATA = 21
    ENVIRONMENT = 22
    VERSION = 23
    REQUEST = 24
    HISTORY = 25
    ARGUMENT = 26


class Role(NamedTuple):
    """One thing an attribute can tell. Lower `rank` wins. `dialect`: whose attribute it is."""

    field: Field
    rank: int
    dialect: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of speaking of agents in span attributes.

    `kinds`: attribute to (lower-case value to kind). `fields`: attributes per field, best first.
    `flat`: prefixes of flattened messages (`prefix.0.role`, ...) per field. Order of the dialects
    is the precedence between them.
    """

    name: str
    kinds: Mapping[str, Mapping[str, Kind]] = field(default_factory=dict[str, Mapping[str, Kind]])
    fields: Mapping[Field, tuple[str, ...]] = field(default_factory=dict[Field, tuple[str, ...]])
    flat: Mapping[str, Field] = field(default_factory=dict[str, Field])
