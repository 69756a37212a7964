"""The store beside a dictionary: any sequence of commits, reopenings and deliveries agrees."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from contracts.errors import StoreUnavailable
from contracts.labels import Action, Labels
from contracts.ports import Changes
from contracts.record import Partition, Position
from contracts.span import Span
from contracts.testing import ManualClock, Spans, call
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Alert, Verdict, VerdictState
from storage.store import Store

NAMES = st.sampled_from(["a", "b", "c", "d"])
SUBJECT = Subject("e", "a", "1", "m")


class StoreAgainstDictionary(RuleBasedStateMachine):
    """`trajectories`, `spans` and the rest are what the store should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.trajectories: dict[str, Trajectory] = {}
        self.categories: dict[str, str] = {}
        self.spans: dict[str, list[Span]] = {}
        self.positions: dict[Partition, Position] = {}
        self.states: dict[str, bytes] = {}
        self.alerts: dict[str, Alert] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.delivered: set[str] = set()
        self.next = 0

    @initialize()
    def open(self) -> None:
        self.store = Store(self.folder, self.clock)

    @rule(
        names=st.lists(NAMES, max_size=3, unique=True),
        removed=st.lists(NAMES, max_size=1),
        steps=st.integers(0, 4),
        complete=st.booleans(),
        category=st.sampled_from(["", "UA01", "UA05"]),
    )
    def commit(
        self, names: list[str], removed: list[str], steps: int, complete: bool, category: str
    ) -> None:
        spans: list[Span] = []
        made: list[Trajectory] = []
        labels: dict[str, Labels] = {}
        for name in names:
            self.next += 1
            span = Spans(self.next).span(name)
            spans.append(span)
            known = self.trajectories.get(name)
            traces = (*(known.trace_ids if known else ()), span.trace_id)
            made.append(self._trajectory(name, traces, steps, complete))
            if category and steps:
                action = Action(
                    name, 0, category, "", "attempted", "any", "r", 1, "stable", (), "low"
                )
                labels[name] = Labels((action,), ())
        position = Position(Partition("t", self.next % 2), self.next)
        changes = Changes(
            spans=spans,
            trajectories=made,
            removed=[name for name in removed if name not in names],
            labels=labels,
            positions={position.partition: position},
            detector_states={f"k{self.next % 3}": bytes([self.next % 256])},
        )
        self.store.commit(changes)
        for span in spans:
            self.spans.setdefault(span.trace_id, []).append(span)
        for name in changes.removed:
            self.trajectories.pop(name, None)
            self.categories.pop(name, None)
        for trajectory in made:
            self.trajectories[trajectory.trajectory_id] = trajectory
            self.categories[trajectory.trajectory_id] = category if steps else ""
        self.positions.update(changes.positions)
        self.states.update(changes.detector_states)

    def _trajectory(
        self, name: str, traces: tuple[str, ...], steps: int, complete: bool
    ) -> Trajectory:
        calls = tuple(
            call(f"tool{self.next}", {"n": self.next}, step=step, trajectory_id=name)
            for step in range(steps)
        )
        return Trajectory(
            name, "conversation", "e", "s", "a", "1", "m", name, "", 1, self.next, 3,
            "complete" if complete else "open", "r",
            traces, steps if complete else 0, calls,
        )  # fmt: skip

    @rule(name=NAMES, state=st.sampled_from(["alarm", "clear", "blind"]))
    def judge(self, name: str, state: VerdictState) -> None:
        self.next += 1
        verdict = Verdict(
            SUBJECT, "UA01", name, "base", "clear", 1, 0, 0.5, -1.5, 0.0, 1.0, None, None, 3
        )
        verdict = replace(verdict, state=state, opportunities=self.next)
        alert = Alert(
            f"{name}-{state}", "drift", SUBJECT, "UA01", name, "high", self.next, "s", (), verdict
        )
        self.store.commit(Changes(verdicts=[verdict], alerts=[alert]))
        self.verdicts[name] = verdict
        self.alerts.setdefault(alert.alert_id, alert)

    @rule(name=NAMES)
    def deliver(self, name: str) -> None:
        ids = [alert.alert_id for alert in self.store.pending_alerts(10) if alert.reference == name]
        self.store.mark_delivered(ids, 5)
        self.delivered.update(ids)

    @rule()
    def reopen(self) -> None:
        self.store.reopen()

    @rule()
    def restart(self) -> None:
        self.store.close()
        try:
            self.store.ledger()
        except StoreUnavailable:
            self.store = Store(self.folder, self.clock)

    @rule(names=st.lists(NAMES, max_size=3))
    def restore(self, names: list[str]) -> None:
        restored = self.store.restore_trajectories(frozenset(names))
        known = [self.trajectories[name] for name in set(names) & self.trajectories.keys()]
        traces = {trace for trajectory in known for trace in trajectory.trace_ids}
        expected = [span for trace in traces for span in self.spans[trace]]
        assert sorted(restored.spans, key=_id) == sorted(expected, key=_id)
        # Traces may belong to other trajectories too; those are told as well.
        for trajectory in known:
            assert restored.judged[trajectory.trajectory_id] == trajectory.judged_calls

    @invariant()
    def agrees(self) -> None:
        complete = [t for t in self.trajectories.values() if t.state == "complete"]
        expected = sorted(complete, key=lambda t: (t.ended_ns, t.trajectory_id))
        assert list(self.store.trajectories("")) == expected
        dangerous = list(self.store.trajectories("list_contains(categories, 'UA05')"))
        assert dangerous == [t for t in expected if self.categories[t.trajectory_id] == "UA05"]
        assert self.store.ledger() == self.positions
        assert self.store.detector_states() == self.states
        pending = [alert for key, alert in self.alerts.items() if key not in self.delivered]
        pending.sort(key=lambda alert: alert.raised_ns)
        assert self.store.pending_alerts(100) == pending
        states = dict(self.store.read("SELECT reference, opportunities FROM verdicts"))
        assert states == {name: v.opportunities for name, v in self.verdicts.items()}

    def teardown(self) -> None:
        assert self.store.verify().problems == ()
        self.store.close()
        shutil.rmtree(self.folder)


def _id(span: Span) -> tuple[str, str]:
    return span.trace_id, span.span_id


StoreAgainstDictionary.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase
