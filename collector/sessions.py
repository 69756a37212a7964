"""Sessions: the joiner. Spans and logs in any order to the same trajectories every time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import orjson

from contracts.ports import Added, Joined
from contracts.span import LogEvent, Span, Value
from contracts.trajectory import Trajectory

from collector import identity
from collector.calls import TraceCalls, resolve
from collector.facts import Fact, extract, extract_log
from collector.trajectories import build

STATE_FORMAT = 1
"""Number of the layout of `to_bytes`; another layout is another number."""

State = Literal["open", "complete", "reopened"]


@dataclass(slots=True)
class _Trace:
    """What is held of one trace. `links`: parent of each span that says nothing else."""

    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    links: dict[str, str] = field(default_factory=dict[str, str])
    digests: dict[str, str] = field(default_factory=dict[str, str])
    received_ns: int = 0
    keys: frozenset[str] = frozenset()
    speaks: bool = False
    resolved: TraceCalls | None = None


@dataclass(slots=True)
class _Group:
    """One trajectory in memory. `since_ns`: receipt of the first call not yet judged."""

    traces: set[str] = field(default_factory=set[str])
    state: State = "open"
    judged: int = 0
    since_ns: int = 0
    last: Trajectory | None = None


class Sessions:
    """A `contracts.ports.Joiner`. Not thread-safe; one owner.

    `environment`: for spans that do not say. A trajectory is due when nothing of it arrived for
    `idle_timeout_s`, when its first call not yet judged is `max_age_s` old, or when `max_calls` are
    not yet judged; the rest of it is due again later. `max_spans`: spans held in memory; past it
    the longest idle trajectories are evicted.

    Of `Joined`: `changed` holds the due ones too, as their rows must read from now on (`complete`,
    all calls judged); `due` holds them with `judged_calls` as before, for judging from that step.
    """

    def __init__(
        self,
        environment: str = "",
        idle_timeout_s: float = 300.0,
        max_age_s: float = 3600.0,
        max_calls: int = 500,
        max_spans: int = 500_000,
    ) -> None:
        self._environment = environment
        self._idle_ns = int(idle_timeout_s * 1e9)
        self._age_ns = int(max_age_s * 1e9)
        self._max_calls = max_calls
        self._max_spans = max_spans
        self._traces: dict[str, _Trace] = {}
        self._groups: dict[str, _Group] = {}
        self._dirty: set[str] = set()
        self._asked: set[str] = set()
        self._judged: dict[str, int] = {}
        self._stored: set[str] = set()
        self._removed: set[str] = set()
        self._pending: set[str] = set()
        self._spans = 0
        self._watermark_ns = 0

    # --- taking in --------------------------------------------------------------------------

    def missing_traces(self, spans: Sequence[Span], logs: Sequence[LogEvent]) -> frozenset[str]:
        """Trace ids of the batch that are not in memory."""
        known = self._traces
        missing = {span.trace_id for span in spans if span.trace_id not in known}
        missing.update(log.trace_id for log in logs if log.trace_id and log.trace_id not in known)
        return frozenset(missing)

    def restore(
        self, spans: Sequence[Span], logs: Sequence[LogEvent], judged: Mapping[str, int]
    ) -> None:
        """Take back stored spans, in any order. `judged`: trajectory id to calls consumed."""
        self.add(spans, logs)
        for key, calls in judged.items():
            self._stored.add(key)
            group = self._groups.get(key)
            if group is not None:
                group.judged = max(group.judged, calls)
            else:
                self._judged[key] = max(calls, self._judged.get(key, 0))

    def add(self, spans: Sequence[Span], logs: Sequence[LogEvent]) -> Added:
        """Take new spans; drop those seen before; tell those whose content changed."""
        fresh: list[Span] = []
        conflicts: list[Span] = []
        duplicates = 0
        traces = self._traces
        environment = self._environment
        for span in spans:
            trace = traces.get(span.trace_id)
            if trace is None:
                trace = traces[span.trace_id] = _Trace()
            span_id = span.span_id
            seen = trace.digests.get(span_id)
            if seen is not None:
                if seen == span.digest or f"{span_id}#{span.digest}" in trace.digests:
                    duplicates += 1
                    continue
                trace.digests[f"{span_id}#{span.digest}"] = span.digest
                conflicts.append(span)
            else:
                trace.digests[span_id] = span.digest
                self._spans += 1
                fresh.append(span)
            if span.received_ns > trace.received_ns:
                trace.received_ns = span.received_ns
            fact = extract(span, environment)
            if fact is not None:
                self._place(trace, fact)
            elif seen is None:
                trace.links[span_id] = span.parent_span_id
            if trace.speaks:
                self._dirty.add(span.trace_id)
        new_logs: list[LogEvent] = []
        for log in logs:
            added = self._add_log(log)
            if added:
                new_logs.append(log)
            else:
                duplicates += 1
        self._watermark_ns = max(
            self._watermark_ns,
            max((span.received_ns for span in spans), default=0),
            max((log.received_ns for log in logs), default=0),
        )
        return Added(tuple(fresh), tuple(new_logs), duplicates, tuple(conflicts))

    def _place(self, trace: _Trace, fact: Fact) -> None:
        """Hold a fact; of two with one span id the later end, then the greater digest, stands."""
        known = trace.facts.get(fact.span_id)
        if known is None or (known.end_ns, known.digest) < (fact.end_ns, fact.digest):
            trace.facts[fact.span_id] = fact
        if fact.kind != "link":
            trace.speaks = True

    def _add_log(self, log: LogEvent) -> bool:
        fact = extract_log(log, self._environment)
        trace_id = log.trace_id
        if not trace_id and fact is not None and fact.conversation:
            # Logs without trace context (traces switched off) meet in their conversation.
            trace_id = "log:" + identity.conversation_trajectory(
                fact.environment, fact.service, fact.conversation
            )
        trace = self._traces.get(trace_id)
        if trace is None:
            if fact is None:
                return True
            trace = self._traces[trace_id] = _Trace()
        key = "log:" + log.digest
        if key in trace.digests:
            return False
        trace.digests[key] = log.digest
        self._spans += 1
        trace.received_ns = max(trace.received_ns, log.received_ns)
        if fact is not None:
            self._place(trace, fact)
        if trace.speaks:
            self._dirty.add(trace_id)
        return True

    # --- trajectories -----------------------------------------------------------------------

    def missing_trajectories(self) -> frozenset[str]:
        """Ids that `add` touched first and that may have more traces in the store."""
        self._resolve()
        touched = {
            key
            for key in self._pending
            if key.startswith("c-") and key in self._groups and key not in self._asked
        }
        # A stored trajectory that its traces have left may still have other traces in the store.
        touched |= {
            key
            for key in self._stored
            if key.startswith("c-") and key not in self._groups and key not in self._asked
        }
        self._asked |= touched
        return frozenset(touched)

    def _resolve(self) -> None:
        """Bring the calls of changed traces and the groups they belong to up to date."""
        for trace_id in self._dirty:
            trace = self._traces[trace_id]
            trace.resolved = resolve(trace_id, trace.facts, trace.links)
            keys = frozenset(trace.resolved.segments) if trace.resolved is not None else frozenset()
            for gone in trace.keys - keys:
                self._leave(gone, trace_id)
            for key in keys:
                group = self._groups.get(key)
                if group is None:
                    group = self._groups[key] = _Group(judged=self._judged.pop(key, 0))
                    if group.judged:
                        group.state = "reopened"
                    self._removed.discard(key)
                group.traces.add(trace_id)
                self._pending.add(key)
            trace.keys = keys
        self._dirty.clear()

    def _leave(self, key: str, trace_id: str) -> None:
        group = self._groups.get(key)
        if group is None:
            return
        group.traces.discard(trace_id)
        self._pending.add(key)
        if not group.traces:
            del self._groups[key]
            self._pending.discard(key)
            self._asked.discard(key)
            self._removed.add(key)

    def assemble(self, now_ns: int, everything_due: bool = False) -> Joined:
        """Trajectories changed since the last call, and those due at `now_ns`."""
        self._resolve()
        gone = {key for key in self._stored if key not in self._groups}
        self._removed |= gone
        self._asked -= gone
        for key in gone:
            self._judged.pop(key, None)
        self._stored.clear()
        changed: dict[str, Trajectory] = {}
        for key in sorted(self._pending):
            group = self._groups[key]
            made = self._build(key, group)
            if made != group.last:
                if group.state == "complete":
                    group.state = "reopened"
                    made = replace(made, state="reopened")
                group.last = made
                changed[key] = made
                if not group.since_ns:
                    group.since_ns = made.last_received_ns
        self._pending.clear()
        due = self._due(now_ns, everything_due)
        for key, trajectory in due.items():
            group = self._groups[key]
            group.state = "complete"
            group.judged = len(trajectory.calls)
            group.since_ns = 0
            group.last = replace(trajectory, judged_calls=group.judged)
            changed[key] = group.last
        removed = tuple(sorted(self._removed))
        self._removed.clear()
        order = sorted(due.values(), key=lambda one: (one.ended_ns, one.trajectory_id))
        return Joined(tuple(changed[key] for key in sorted(changed)), removed, tuple(order))

    def _build(self, key: str, group: _Group) -> Trajectory:
        parts = [self._traces[trace_id].resolved for trace_id in sorted(group.traces)]
        return build(key, [part for part in parts if part is not None], group.state, group.judged)

    def _due(self, now_ns: int, everything: bool) -> dict[str, Trajectory]:
        due: dict[str, Trajectory] = {}
        for key, group in self._groups.items():
            last = group.last
            if group.state == "complete" or last is None:
                continue
            if (
                everything
                or now_ns - last.last_received_ns >= self._idle_ns
                or (group.since_ns and now_ns - group.since_ns >= self._age_ns)
                or len(last.calls) - group.judged >= self._max_calls
            ):
                due[key] = replace(last, state="complete")
        return due

    # --- memory -----------------------------------------------------------------------------

    def evict(self) -> int:
        """Drop complete trajectories and idle plain traces; past `max_spans`, the longest idle."""
        busy = self._dirty | {
            trace_id
            for key, group in self._groups.items()
            if group.state != "complete" or key in self._pending
            for trace_id in group.traces
        }
        idle = self._watermark_ns - self._idle_ns
        gone = [
            trace_id
            for trace_id, trace in self._traces.items()
            if trace_id not in busy and (trace.keys or trace.received_ns <= idle)
        ]
        dropped = len(gone)
        for trace_id in gone:
            self._drop(trace_id)
        if self._spans > self._max_spans:
            dropped += self._evict_idle()
        return dropped

    def _evict_idle(self) -> int:
        """Whole trajectories, longest idle first, until nine tenths of the bound are left."""
        dropped = 0
        order = sorted((trace.received_ns, trace_id) for trace_id, trace in self._traces.items())
        for _, trace_id in order:
            if self._spans <= self._max_spans * 9 // 10:
                break
            dropped += self._drop_with_group(trace_id)
        return dropped

    def _drop_with_group(self, trace_id: str) -> int:
        todo, dropped = [trace_id], 0
        while todo:
            one = todo.pop()
            trace = self._traces.get(one)
            if trace is None or one in self._dirty or trace.keys & self._pending:
                continue
            for key in trace.keys:
                group = self._groups.get(key)
                if group is not None:
                    todo.extend(group.traces - {one})
            self._drop(one)
            dropped += 1
        return dropped

    def _drop(self, trace_id: str) -> None:
        trace = self._traces.pop(trace_id)
        self._spans -= sum(1 for key in trace.digests if "#" not in key)
        for key in trace.keys:
            group = self._groups.get(key)
            if group is not None:
                group.traces.discard(trace_id)
                if not group.traces:
                    del self._groups[key]
                    self._pending.discard(key)
                    self._asked.discard(key)

    # --- state as bytes ---------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The whole state as JSON; `from_bytes` gives an equal joiner back."""
        return orjson.dumps(
            {
                "format": STATE_FORMAT,
                "settings": [
                    self._environment,
                    self._idle_ns,
                    self._age_ns,
                    self._max_calls,
                    self._max_spans,
                ],
                "watermark": self._watermark_ns,
                "asked": sorted(self._asked),
                "judged": self._judged,
                "stored": sorted(self._stored),
                "removed": sorted(self._removed),
                "pending": sorted(self._pending),
                "dirty": sorted(self._dirty),
                "traces": {
                    trace_id: [
                        [fact.row() for fact in trace.facts.values()],
                        trace.links,
                        trace.digests,
                        trace.received_ns,
                        sorted(trace.keys),
                    ]
                    for trace_id, trace in self._traces.items()
                },
                "groups": {
                    key: [sorted(group.traces), group.state, group.judged, group.since_ns]
                    for key, group in self._groups.items()
                },
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Sessions":
        """The joiner whose `to_bytes` gave `data`. Raises ValueError for anything else."""
        state = cast("dict[str, Value]", orjson.loads(data))
        if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
            raise ValueError("not a joiner's state, or one of another format")
        made = cls()
        settings = cast("list[Value]", state["settings"])
        made._environment = str(settings[0])
        made._idle_ns, made._age_ns, made._max_calls, made._max_spans = (
            cast(int, value) for value in settings[1:]
        )
        made._watermark_ns = cast(int, state["watermark"])
        made._asked = set(cast("list[str]", state["asked"]))
        made._judged = dict(cast("dict[str, int]", state["judged"]))
        made._stored = set(cast("list[str]", state["stored"]))
        made._removed = set(cast("list[str]", state["removed"]))
        for trace_id, row in cast("dict[str, list[Value]]", state["traces"]).items():
            facts = [Fact.from_row(one) for one in cast("list[list[Value]]", row[0])]
            made._traces[trace_id] = _Trace(
                facts={fact.span_id: fact for fact in facts},
                links=dict(cast("dict[str, str]", row[1])),
                digests=dict(cast("dict[str, str]", row[2])),
                received_ns=cast(int, row[3]),
                keys=frozenset(cast("list[str]", row[4])),
                speaks=any(fact.kind != "link" for fact in facts),
            )
        made._spans = sum(
            1 for trace in made._traces.values() for key in trace.digests if "#" not in key
        )
        for key, group in cast("dict[str, list[Value]]", state["groups"]).items():
            made._groups[key] = _Group(
                traces=set(cast("list[str]", group[0])),
                state=cast(State, group[1]),
                judged=cast(int, group[2]),
                since_ns=cast(int, group[3]),
            )
        dirty = set(cast("list[str]", state["dirty"]))
        for trace_id, trace in made._traces.items():
            if trace.keys and trace_id not in dirty:
                trace.resolved = resolve(trace_id, trace.facts, trace.links)
        pending = set(cast("list[str]", state["pending"]))
        for key, group_ in made._groups.items():
            if all(made._traces[t].resolved is not None for t in group_.traces):
                group_.last = None if key in pending else made._build(key, group_)
        made._dirty, made._pending = dirty, pending
        return made
