"""Counts of calls, actions and opportunities that only ever grow, from rewritten trajectories."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from contracts.labels import Labels
from contracts.ports import Changes
from contracts.trajectory import Call, Subject, Trajectory

Key = tuple[str, ...]
"""`("call", outcome)`, `("arguments", state)`, `("action", category, stage)` or `("opportunity",
category)`.
"""


class Increment(NamedTuple):
    """`amount` more of `key` for `subject`."""

    subject: Subject
    key: Key
    amount: int


class Tally:
    """Turns whole rewritten trajectories into increments.

    A call counts once it is settled: its outcome is known, or its trajectory is no longer open. So
    a refused call that has no tool span is counted late rather than twice. Of a trajectory not seen
    by this process, only calls told of by spans of this very commit count: an earlier process
    counted the others. `limit`: trajectories remembered; the longest unchanged are forgotten.
    Not thread-safe.
    """

    def __init__(
        self,
        subject: Callable[[Trajectory], Subject] = Trajectory.subject,
        limit: int = 20_000,
    ) -> None:
        self._subject = subject
        self._limit = limit
        self._seen: OrderedDict[str, Counter[Key]] = OrderedDict()

    def update(self, changes: Changes) -> Iterator[Increment]:
        """What a commit added, one increment per subject and key. Consume it whole."""
        fresh = {(span.trace_id, span.span_id) for span in changes.spans}
        fresh.update((log.trace_id, log.span_id) for log in changes.logs)
        moved: Counter[Key] = Counter()
        for trajectory_id in changes.removed:
            moved.update(self._seen.pop(trajectory_id, Counter()))
        added: dict[Subject, Counter[Key]] = {}
        for trajectory in changes.trajectories:
            labels = changes.labels.get(trajectory.trajectory_id, _NOTHING)
            counts = added.setdefault(self._subject(trajectory), Counter())
            for key, amount in self._news(trajectory, labels, fresh, moved).items():
                counts[key] += amount
        while len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        for subject, news in added.items():
            for key, amount in news.items():
                yield Increment(subject, key, amount)

    def _news(
        self,
        trajectory: Trajectory,
        labels: Labels,
        fresh: set[tuple[str, str]],
        moved: Counter[Key],
    ) -> Counter[Key]:
        """What was not counted before. Takes from `moved` what another trajectory brought along."""
        settled = [call for call in trajectory.calls if _settled(call, trajectory)]
        total = _count(settled, labels)
        known = self._seen.pop(trajectory.trajectory_id, None)
        self._seen[trajectory.trajectory_id] = total if known is None else total | known
        if known is None:
            news = [call for call in settled if (call.trace_id, call.span_id) in fresh]
            return total if len(news) == len(settled) else _count(news, labels)
        added = total - known
        used = added & moved
        moved -= used
        return added - used


_NOTHING = Labels((), ())


def _settled(call: Call, trajectory: Trajectory) -> bool:
    return call.outcome != "unknown" or trajectory.state != "open"


def _count(calls: list[Call], labels: Labels) -> Counter[Key]:
    steps = {call.step for call in calls}
    keys: list[Key] = [("call", call.outcome) for call in calls]
    keys += [("arguments", call.arguments_state) for call in calls]
    keys += [("action", a.category, a.stage) for a in labels.actions if a.step in steps]
    keys += [("opportunity", o.category) for o in labels.opportunities if o.step in steps]
    counts: Counter[Key] = Counter()
    get = counts.get
    for key in keys:  # half the time of Counter.update for so few
        counts[key] = get(key, 0) + 1
    return counts
