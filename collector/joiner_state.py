"""The joiner's state: what is held of traces and trajectories, and all of it as bytes."""

from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson

from collector.drafts import TraceCalls
from collector.facts import Fact, Table
from collector.messages import Answer
from collector.tool_definitions import Offered, Tool
from contracts.span import Value
from contracts.trajectory import Trajectory

FORMAT = 2
"""Number of the layout of the bytes; another layout is another number."""

Progress = Literal["open", "complete", "reopened"]


@dataclass(slots=True)
class TraceState:
    """What is held of one trace.

    `links`: parent of each span that says nothing else. `digests`: of each span and log received;
    a second content of one span under `id#digest`. `answers`, `offers`: what facts share.
    `speaks`: it has facts, not only links.
    """

    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    links: dict[str, str] = field(default_factory=dict[str, str])
    digests: dict[str, str] = field(default_factory=dict[str, str])
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    offers: dict[Offered, Offered] = field(default_factory=dict[Offered, Offered])
    received_ns: int = 0
    keys: frozenset[str] = frozenset()
    speaks: bool = False
    resolved: TraceCalls | None = None

    def hold(self, fact: Fact) -> None:
        """Take a fact; of two with one span id the later end, then the greater digest, stands.

        Every model call is told all answers so far: equal ones are held once.
        """
        known = self.facts.get(fact.span_id)
        if known is None or (known.end_ns, known.digest) < (fact.end_ns, fact.digest):
            if fact.answers:
                fact.answers = tuple(self._shared(answer) for answer in fact.answers)
            if fact.offered:
                fact.offered = self.offers.setdefault(fact.offered, fact.offered)
            self.facts[fact.span_id] = fact
        if fact.kind != "link":
            self.speaks = True

    def _shared(self, answer: Answer) -> Answer:
        known = self.answers.get(answer.call_id)
        if known is None:
            self.answers[answer.call_id] = answer
            return answer
        return known if known == answer else answer

    def spans(self) -> int:
        """Spans and logs held, each once."""
        return sum(1 for key in self.digests if "#" not in key)

    def row(self) -> list[object]:
        """As a JSON list."""
        answers, offers = Table[Answer](), Table[Offered]()
        facts = [fact.row(answers, offers) for fact in self.facts.values()]
        return [
            facts,
            [list(answer) for answer in answers.items],
            [[list(tool) for tool in offered] for offered in offers.items],
            self.links,
            self.digests,
            self.received_ns,
            sorted(self.keys),
        ]

    @staticmethod
    def from_row(row: list[Value]) -> "TraceState":
        """The trace that `row` wrote."""
        rows = cast("list[list[Any]]", row)
        answers = [Answer(*one) for one in rows[1]]
        offers = [
            tuple(Tool(name, told, tuple(needed)) for name, told, needed in offered)
            for offered in rows[2]
        ]
        made = TraceState(
            links=cast("dict[str, str]", row[3]),
            digests=cast("dict[str, str]", row[4]),
            received_ns=cast(int, row[5]),
            keys=frozenset(cast("list[str]", row[6])),
        )
        for one in rows[0]:
            made.hold(Fact.from_row(one, answers, offers))
        return made


@dataclass(slots=True)
class GroupState:
    """One trajectory. `since_ns`: receipt of the first content not yet judged, 0 for none."""

    traces: set[str] = field(default_factory=set[str])
    state: Progress = "open"
    judged: int = 0
    since_ns: int = 0
    last: Trajectory | None = None


@dataclass(slots=True)
class JoinerState:
    """Everything a joiner holds.

    `dirty`: traces changed since their calls were resolved. `pending`: trajectories changed since
    the last assembly. `asked`: trajectories whose other traces were asked of the store. `judged`:
    calls consumed, of trajectories not in memory yet. `stored`: trajectories the store has, still
    to be confirmed. `removed`: trajectories that ceased to exist.
    """

    environment: str = ""
    idle_ns: int = 0
    age_ns: int = 0
    max_calls: int = 0
    max_spans: int = 0
    spans: int = 0
    watermark_ns: int = 0
    traces: dict[str, TraceState] = field(default_factory=dict[str, TraceState])
    groups: dict[str, GroupState] = field(default_factory=dict[str, GroupState])
    judged: dict[str, int] = field(default_factory=dict[str, int])
    dirty: set[str] = field(default_factory=set[str])
    pending: set[str] = field(default_factory=set[str])
    asked: set[str] = field(default_factory=set[str])
    stored: set[str] = field(default_factory=set[str])
    removed: set[str] = field(default_factory=set[str])

    def to_bytes(self) -> bytes:
        """As JSON; what can be computed from the facts is left out."""
        return orjson.dumps(
            {
                "format": FORMAT,
                **{name: getattr(self, name) for name in _SCALARS},
                **{name: sorted(getattr(self, name)) for name in _SETS},
                "judged": self.judged,
                "traces": {trace_id: trace.row() for trace_id, trace in self.traces.items()},
                "groups": {
                    key: [sorted(group.traces), group.state, group.judged, group.since_ns]
                    for key, group in self.groups.items()
                },
            }
        )

    @staticmethod
    def from_bytes(data: bytes) -> "JoinerState":
        """The state that `to_bytes` wrote. Raises ValueError for anything else."""
        loaded = cast(Value, orjson.loads(data))
        if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
            raise ValueError("not a joiner's state, or one of another format")
        made = JoinerState()
        for name in _SCALARS:
            setattr(made, name, loaded[name])
        for name in _SETS:
            setattr(made, name, set(cast("list[str]", loaded[name])))
        made.judged = cast("dict[str, int]", loaded["judged"])
        for trace_id, row in cast("dict[str, list[Value]]", loaded["traces"]).items():
            made.traces[trace_id] = TraceState.from_row(row)
        for key, row in cast("dict[str, list[Value]]", loaded["groups"]).items():
            made.groups[key] = GroupState(
                traces=set(cast("list[str]", row[0])),
                state=cast(Progress, row[1]),
                judged=cast(int, row[2]),
                since_ns=cast(int, row[3]),
            )
        return made


_SCALARS = ("environment", "idle_ns", "age_ns", "max_calls", "max_spans", "spans", "watermark_ns")
_SETS = ("dirty", "pending", "asked", "stored", "removed")
