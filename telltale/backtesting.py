"""What a rule would have said over stored trajectories."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contracts.ports import Labeller
from contracts.trajectory import Trajectory

DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class RuleRate:
    """`per_day`: actions over the time from the first trajectory's start to the last one's end."""

    rule_id: str
    category: str
    actions: int
    trajectories: int
    per_day: float


def rule_rates(
    trajectories: Iterable[Trajectory], labeller: Labeller, each: Callable[[], None]
) -> list[RuleRate]:
    """One row per rule that fired, most actions first. `each` is called per trajectory."""
    actions: Counter[tuple[str, str]] = Counter()
    hit: Counter[str] = Counter()
    first_ns, last_ns = 0, 0
    for trajectory in trajectories:
        labels = labeller.label(trajectory.calls, trajectory.request)
        actions.update((action.rule_id, action.category) for action in labels.actions)
        hit.update({action.rule_id for action in labels.actions})
        first_ns = min(first_ns or trajectory.started_ns, trajectory.started_ns)
        last_ns = max(last_ns, trajectory.ended_ns)
        each()
    days = max((last_ns - first_ns) / DAY_NS, 1 / 24)
    return [
        RuleRate(rule_id, category, count, hit[rule_id], count / days)
        for (rule_id, category), count in actions.most_common()
    ]
