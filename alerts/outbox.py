"""Delivery of committed alerts: pending, sent, repeated while they hold, ended.

`plan`, `succeeded` and `failed` are pure; `Delivery` runs them over a store and a sink. An alert is
in the store before it is sent and is marked only after a receiver took it, so it is delivered at
least once; its id is the same every time.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from contracts.errors import PermanentError, RetryableError
from contracts.ports import AlertSink, TrajectoryStore
from contracts.verdict import Alert

log = logging.getLogger(__name__)


class Pager(AlertSink, Protocol):
    """A sink that can also be told that alerts have ended."""

    def resolve(self, alerts: Sequence[Alert]) -> None:
        """Raises as `send`."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """`repeat_s`: alerts that hold are sent again so often, for receivers that forget. `backoff_s`,
    `most_backoff_s`: wait after the first failure, doubled up to the most. `rejected_s`: wait
    before an alert that was called malformed is tried again. `batch`: most alerts of one request.
    """

    repeat_s: float = 60.0
    backoff_s: float = 1.0
    most_backoff_s: float = 60.0
    rejected_s: float = 3_600.0
    batch: int = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """An alert that was delivered, last at `at_ns`."""

    alert: Alert
    at_ns: int


@dataclass(frozen=True, slots=True)
class State:
    """`open`: what was delivered and has not ended, by id. `rejected`: id to the time at which it
    is tried again.
    """

    failures: int = 0
    not_before_ns: int = 0
    open: Mapping[str, Sent] = field(default_factory=dict[str, Sent])
    rejected: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send now. `new`: not delivered before; `again`: repeats; `ended`: to resolve."""

    new: tuple[Alert, ...] = ()
    again: tuple[Alert, ...] = ()
    ended: tuple[Alert, ...] = ()


def plan(
    state: State,
    pending: Sequence[Alert],
    firing: Callable[[Alert], bool],
    now_ns: int,
    settings: Settings,
) -> Plan:
    """What is due, oldest first; nothing while a failure's wait runs."""
    if now_ns < state.not_before_ns:
        return Plan()
    new = [alert for alert in pending if state.rejected.get(alert.alert_id, 0) <= now_ns]
    ended = [sent.alert for sent in state.open.values() if not firing(sent.alert)]
    again = [
        sent.alert
        for sent in state.open.values()
        if now_ns - sent.at_ns >= settings.repeat_s * 1e9 and firing(sent.alert)
    ]
    most = settings.batch
    return Plan(tuple(new[:most]), tuple(again[:most]), tuple(ended[:most]))


def succeeded(state: State, done: Plan, now_ns: int) -> State:
    """The state after everything of the plan was taken."""
    gone = {alert.alert_id for alert in done.ended}
    kept = {key: sent for key, sent in state.open.items() if key not in gone}
    kept.update((alert.alert_id, Sent(alert, now_ns)) for alert in (*done.new, *done.again))
    rejected = {key: at for key, at in state.rejected.items() if key not in kept}
    return State(open=kept, rejected=rejected)


def failed(state: State, now_ns: int, jitter: float, settings: Settings) -> State:
    """The state after a failed attempt. `jitter` in [0, 1) spreads several daemons' attempts."""
    most = settings.most_backoff_s
    wait_s = min(most, settings.backoff_s * 2 ** min(state.failures, 30)) * (0.5 + jitter / 2)
    return replace(state, failures=state.failures + 1, not_before_ns=now_ns + int(wait_s * 1e9))


class Delivery:
    """Delivers the store's outbox. One thread calls `turn` every second or so.

    `firing`: whether a delivered alert still holds. `told`: called with `delivered`, `failed` or
    `rejected` and a number of alerts. `jitter`: the next number in [0, 1).
    """

    def __init__(
        self,
        store: TrajectoryStore,
        sink: Pager,
        firing: Callable[[Alert], bool],
        told: Callable[[str, int], None],
        jitter: Callable[[], float],
        settings: Settings | None = None,
        open_alerts: Sequence[Alert] = (),
    ) -> None:
        self._store = store
        self._sink = sink
        self._firing = firing
        self._told = told
        self._jitter = jitter
        self._settings = settings or Settings()
        # Delivered by an earlier process; receivers may have forgotten, and some may have ended.
        self.state = State(open={alert.alert_id: Sent(alert, 0) for alert in open_alerts})

    def turn(self, now_ns: int) -> None:
        """Deliver what is due. Never raises a `RetryableError`: it is counted and tried again."""
        before = self.state
        try:
            pending = self._store.pending_alerts(self._settings.batch + len(before.rejected))
            due = plan(before, pending, self._firing, now_ns, self._settings)
            if due.new:
                self._send(due.new, now_ns)
            if due.again or due.ended:
                self._renew(due, now_ns)
        except RetryableError as error:
            self.state = failed(self.state, now_ns, self._jitter(), self._settings)
            self._told("failed", 1)
            log.warning("alerts not delivered, attempt %d: %s", self.state.failures, error)

    def _send(self, alerts: Sequence[Alert], now_ns: int) -> None:
        try:
            self._sink.send(alerts)
            taken = tuple(alerts)
        except PermanentError:
            taken = self._one_by_one(alerts, now_ns)
        self._store.mark_delivered([alert.alert_id for alert in taken], now_ns)
        self.state = succeeded(self.state, Plan(new=taken), now_ns)
        if taken:
            self._told("delivered", len(taken))

    def _one_by_one(self, alerts: Sequence[Alert], now_ns: int) -> tuple[Alert, ...]:
        """One malformed alert must not hold up the others."""
        taken: list[Alert] = []
        rejected = dict(self.state.rejected)
        for alert in alerts:
            try:
                self._sink.send([alert])
                taken.append(alert)
            except PermanentError as error:
                rejected[alert.alert_id] = now_ns + int(self._settings.rejected_s * 1e9)
                self._told("rejected", 1)
                log.error("alert %s rejected: %s", alert.alert_id, error)
        self.state = replace(self.state, rejected=rejected)
        return tuple(taken)

    def _renew(self, due: Plan, now_ns: int) -> None:
        try:
            if due.again:
                self._sink.send(due.again)
            if due.ended:
                self._sink.resolve(due.ended)
        except PermanentError as error:  # they were taken once; another try changes nothing
            log.error("%d repeated alerts rejected: %s", len(due.again) + len(due.ended), error)
        self.state = succeeded(self.state, Plan(again=due.again, ended=due.ended), now_ns)
