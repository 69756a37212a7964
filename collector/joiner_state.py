"""The joiner's state: what is held of traces and trajectories, and all of it as bytes."""

from dataclasses import dataclass, field
from typing import Literal, cast

import orjson

from collector.drafts import TraceCalls
from collector.facts import Fact
from contracts.span import Value
from contracts.trajectory import Trajectory

FORMAT = 1
"""Number of the layout of the bytes; another layout is another number."""

Progress = Literal["open", "complete", "reopened"]


@dataclass(slots=True)
class TraceState:
    """What is held of one trace.

    `links`: parent of each span that says nothing else. `digests`: of each span and log received;
    a second content of one span under `id#digest`. `speaks`: it has facts, not only links.
    """

    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    links: dict[str, str] = field(default_factory=dict[str, str])
    digests: dict[str, str] = field(default_factory=dict[str, str])
    received_ns: int = 0
    keys: frozenset[str] = frozenset()
    speaks: bool = False
    resolved: TraceCalls | None = None

    def spans(self) -> int:
        """Spans and logs held, each once."""
        return sum(1 for key in self.digests if "#" not in key)


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
                "traces": {
                    trace_id: [
                        [fact.row() for fact in trace.facts.values()],
                        trace.links,
                        trace.digests,
                        trace.received_ns,
                        sorted(trace.keys),
                    ]
                    for trace_id, trace in self.traces.items()
                },
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
            made.traces[trace_id] = _trace(row)
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


def _trace(row: list[Value]) -> TraceState:
    facts = [Fact.from_row(one) for one in cast("list[list[Value]]", row[0])]
    return TraceState(
        facts={fact.span_id: fact for fact in facts},
        links=cast("dict[str, str]", row[1]),
        digests=cast("dict[str, str]", row[2]),
        received_ns=cast(int, row[3]),
        keys=frozenset(cast("list[str]", row[4])),
        speaks=any(fact.kind != "link" for fact in facts),
    )
