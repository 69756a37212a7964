"""Sessions: the joiner. Spans and logs in any order to the same trajectories every time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from collector import identity
from collector.calls import resolve
from collector.extraction import extract
from collector.joiner_state import GroupState, JoinerState, TraceState
from collector.log_events import extract_log
from collector.trajectories import build
from contracts.ports import Added, Joined
from contracts.span import LogEvent, Span
from contracts.trajectory import Trajectory


class Sessions:
    """A `contracts.ports.Joiner`. Not thread-safe; one owner.

    `environment`: for spans that do not say. A trajectory is due when nothing of it arrived for
    `idle_timeout_s`, when its first call not yet judged is `max_age_s` old, or when `max_calls` are
    not yet judged; the rest of it is due again later. `max_spans`: spans held in memory; past it
    the longest idle trajectories are evicted.

    Of `Joined`: `changed` holds the due ones too, as their rows must read from now on (`complete`,
    all calls judged); `due` holds them with `judged_calls` as before, for judging from that step.
    Calls judged as those of their trace stay judged when the trace finds its conversation.
    """

    def __init__(
        self,
        environment: str = "",
        idle_timeout_s: float = 300.0,
        max_age_s: float = 3600.0,
        max_calls: int = 500,
        max_spans: int = 500_000,
    ) -> None:
        self._hold(
            JoinerState(
                environment=environment,
                idle_ns=int(idle_timeout_s * 1e9),
                age_ns=int(max_age_s * 1e9),
                max_calls=max_calls,
                max_spans=max_spans,
            )
        )

        self._quiet: set[str] = set()  # traces of which nothing came but from the store
        self._as_stored: set[str] = set()  # pending trajectories made of such traces only
        self._moved: dict[str, int] = {}  # judged calls that pending trajectories got of a trace's

    def _hold(self, state: JoinerState) -> None:
        self._state = state
        self._traces = state.traces
        self._groups = state.groups
        self._dirty = state.dirty
        self._asked = state.asked
        self._judged = state.judged
        self._stored = state.stored
        self._removed = state.removed
        self._pending = state.pending

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
        before = frozenset(self._dirty)
        self.add(spans, logs)
        self._quiet |= self._dirty - before
        for key, calls in judged.items():
            self._stored.add(key)
            group = self._groups.get(key)
            if group is not None:
                group.judged = max(group.judged, calls + self._moved.get(key, 0))
                if group.judged and group.state == "open":
                    group.state = "reopened"
            else:
                self._judged[key] = max(calls, self._judged.get(key, 0))

    def add(self, spans: Sequence[Span], logs: Sequence[LogEvent]) -> Added:
        """Take new spans; drop those seen before; tell those whose content changed."""
        fresh: list[Span] = []
        conflicts: list[Span] = []
        duplicates = 0
        traces = self._traces
        environment = self._state.environment
        for span in spans:
            trace = traces.get(span.trace_id)
            if trace is None:
                trace = traces[span.trace_id] = TraceState()
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
                self._state.spans += 1
                fresh.append(span)
            if span.received_ns > trace.received_ns:
                trace.received_ns = span.received_ns
            fact = extract(span, environment)
            if fact is not None:
                trace.hold(fact)
            elif seen is None:
                trace.links[span_id] = span.parent_span_id
            if trace.speaks:
                self._touch(span.trace_id)
        new_logs: list[LogEvent] = []
        for log in logs:
            added = self._add_log(log)
            if added:
                new_logs.append(log)
            else:
                duplicates += 1
        self._state.watermark_ns = max(
            self._state.watermark_ns,
            max((span.received_ns for span in spans), default=0),
            max((log.received_ns for log in logs), default=0),
        )
        return Added(tuple(fresh), tuple(new_logs), duplicates, tuple(conflicts))

    def _add_log(self, log: LogEvent) -> bool:
        fact = extract_log(log, self._state.environment)
        trace_id = log.trace_id
        if not trace_id and fact is not None and fact.conversation:
            # Logs without trace context (traces switched off) meet in their conversation.
            trace_id = "log:" + identity.conversation_trajectory(
                fact.environment, fact.service, fact.conversation
            )
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = TraceState()
        key = "log:" + log.digest
        if key in trace.digests:
            return False
        trace.digests[key] = log.digest
        self._state.spans += 1
        trace.received_ns = max(trace.received_ns, log.received_ns)
        if fact is not None:
            trace.hold(fact)
        if trace.speaks:
            self._touch(trace_id)
        return True

    def _touch(self, trace_id: str) -> None:
        self._dirty.add(trace_id)
        self._quiet.discard(trace_id)

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
            keys = frozenset[str](trace.resolved.segments if trace.resolved is not None else ())
            moved = self._judged_of(trace_id, keys)
            for gone in trace.keys - keys:
                self._leave(gone, trace_id)
            for key in sorted(keys):
                group = self._groups.get(key)
                if group is None:
                    group = self._groups[key] = GroupState(judged=self._judged.pop(key, 0))
                    if group.judged:
                        group.state = "reopened"
                    self._removed.discard(key)
                if moved and trace.resolved is not None:
                    part = min(moved, len(trace.resolved.segments[key].drafts))
                    moved -= part
                    self._moved[key] = self._moved.get(key, 0) + part
                    group.judged += part
                    group.state = "reopened" if group.state == "open" else group.state
                group.traces.add(trace_id)
                if trace_id not in self._quiet or key not in self._stored:
                    self._as_stored.discard(key)
                elif key not in self._pending:
                    self._as_stored.add(key)
                self._pending.add(key)
            trace.keys = keys
        self._dirty.clear()
        self._quiet.clear()

    def _judged_of(self, trace_id: str, keys: frozenset[str]) -> int:
        """How many calls were judged as the trace's own that now belong to `keys`."""
        own = identity.trace_trajectory(trace_id)
        if own in keys:
            return 0
        group = self._groups.get(own)
        return self._judged.pop(own, 0) if group is None else group.judged

    def _leave(self, key: str, trace_id: str) -> None:
        group = self._groups.get(key)
        if group is None:
            return
        group.traces.discard(trace_id)
        self._pending.add(key)
        self._as_stored.discard(key)
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
            if group.judged > len(made.calls):  # two calls turned out to be one
                group.judged = len(made.calls)
                made = replace(made, judged_calls=group.judged)
            if made != group.last:
                if group.state == "complete":
                    group.state = "reopened"
                    made = replace(made, state="reopened")
                group.last = made
                if key not in self._as_stored:
                    changed[key] = made
                if not group.since_ns:
                    group.since_ns = made.last_received_ns
        self._pending.clear()
        self._as_stored.clear()
        self._moved.clear()
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

    def _build(self, key: str, group: GroupState) -> Trajectory:
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
                or now_ns - last.last_received_ns >= self._state.idle_ns
                or (group.since_ns and now_ns - group.since_ns >= self._state.age_ns)
                or len(last.calls) - group.judged >= self._state.max_calls
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
        idle = self._state.watermark_ns - self._state.idle_ns
        gone = [
            trace_id
            for trace_id, trace in self._traces.items()
            if trace_id not in busy and (trace.keys or trace.received_ns <= idle)
        ]
        dropped = len(gone)
        for trace_id in gone:
            self._drop(trace_id)
        if self._state.spans > self._state.max_spans:
            dropped += self._evict_idle()
        return dropped

    def _evict_idle(self) -> int:
        """Whole trajectories, longest idle first, until nine tenths of the bound are left."""
        dropped = 0
        order = sorted((trace.received_ns, trace_id) for trace_id, trace in self._traces.items())
        for _, trace_id in order:
            if self._state.spans <= self._state.max_spans * 9 // 10:
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
        self._state.spans -= trace.spans()
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
        """The whole state as JSON, best taken after `assemble`; `from_bytes` gives it back."""
        return self._state.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Sessions":
        """The joiner whose `to_bytes` gave `data`. Raises ValueError for anything else."""
        made = cls()
        made._hold(JoinerState.from_bytes(data))
        for trace_id, trace in made._traces.items():
            if trace.keys and trace_id not in made._dirty:
                trace.resolved = resolve(trace_id, trace.facts, trace.links)
        for key, group in made._groups.items():
            resolved = all(made._traces[one].resolved is not None for one in group.traces)
            if resolved and key not in made._pending:
                group.last = made._build(key, group)
        return made
