"""The order in which calls count as evidence: that of their arrival, then that of their time.

A call is consumed once, when its trajectory is judged, and what was consumed is never revised. A
call that arrives later comes behind the consumed ones, also where its time puts it among them: they
were judged without it, and counting by time would consume one of them again in its place.
"""

from dataclasses import replace

from contracts.trajectory import Trajectory


def consumed_first(trajectory: Trajectory) -> Trajectory:
    """The trajectory with the `judged_calls` calls that arrived first in front, renumbered.

    Both parts stay in the order of time. The trajectory itself where that is the order it has.
    """
    calls, count = trajectory.calls, trajectory.judged_calls
    if not 0 < count < len(calls):
        return trajectory
    newest = max(call.received_ns for call in calls[:count])
    if newest <= min(call.received_ns for call in calls[count:]):
        return trajectory
    by_arrival = sorted(range(len(calls)), key=lambda step: (calls[step].received_ns, step))
    order = [*sorted(by_arrival[:count]), *sorted(by_arrival[count:])]
    return replace(
        trajectory,
        calls=tuple(replace(calls[old], step=new) for new, old in enumerate(order)),
    )
