"""A trajectory as a timeline: every call with its labels beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.labels import Action, Opportunity
from contracts.trajectory import Call
from telltale.api.ports import TrajectoryDetail

MOST_CALLS = 500
"""Calls on one page; the API has all of them."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call. `passed`: opportunities that it did not take. `offset_ns`: since the first call."""

    call: Call
    actions: Sequence[Action]
    passed: Sequence[Opportunity]
    offset_ns: int


def steps(detail: TrajectoryDetail, first: int = 0) -> list[Step]:
    """The calls from step `first` on, at most `MOST_CALLS`."""
    calls = detail.trajectory.calls
    if not calls:
        return []
    start_ns = min(call.started_ns for call in calls)
    shown = [call for call in calls if call.step >= first][:MOST_CALLS]
    wanted = {call.step for call in shown}
    actions: dict[int, list[Action]] = {}
    for action in detail.labels.actions:
        if action.step in wanted:
            actions.setdefault(action.step, []).append(action)
    passed: dict[int, list[Opportunity]] = {}
    for opportunity in detail.labels.opportunities:
        if opportunity.step in wanted and not opportunity.taken:
            passed.setdefault(opportunity.step, []).append(opportunity)
    return [
        Step(
            call,
            actions.get(call.step, ()),
            passed.get(call.step, ()),
            call.started_ns - start_ns,
        )
        for call in shown
    ]
