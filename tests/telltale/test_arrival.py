"""Whatever comes when, each call is consumed once."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from contracts.testing import call
from contracts.trajectory import Call, Trajectory
from telltale.arrival import consumed_first


def trajectory(calls: Sequence[Call], judged: int) -> Trajectory:
    return Trajectory(
        "t", "trace", "test", "svc", "agent", "1", "m", "", "", 0, 9, 9, "complete", "", (),
        judged, tuple(calls),
    )  # fmt: skip


def by_time(calls: Sequence[Call]) -> list[Call]:
    ordered = sorted(calls, key=lambda each: each.started_ns)
    return [
        call(each.tool, step=step, started_ns=each.started_ns, received_ns=each.received_ns)
        for step, each in enumerate(ordered)
    ]


@given(st.permutations(range(9)), st.lists(st.integers(1, 4), min_size=1, max_size=9))
def test_each_call_is_consumed_at_the_first_judging_after_its_arrival(
    times: Sequence[int], sizes: Sequence[int]
) -> None:
    arrived: list[Call] = []
    judged = 0
    for batch, size in enumerate(sizes):
        new = [
            call(f"tool{time}", started_ns=time, received_ns=batch)
            for time in times[len(arrived) : len(arrived) + size]
        ]
        arrived += new
        made = consumed_first(trajectory(by_time(arrived), judged))
        assert [each.step for each in made.calls] == list(range(len(arrived)))
        assert {each.tool for each in made.calls[judged:]} == {each.tool for each in new}
        for part in (made.calls[:judged], made.calls[judged:]):
            assert [each.started_ns for each in part] == sorted(each.started_ns for each in part)
        judged = len(arrived)


def test_what_came_in_the_order_of_time_is_left_as_it_is() -> None:
    calls = [call(f"tool{number}", step=number, received_ns=number // 2) for number in range(6)]
    for judged in (0, 2, 4, 6):
        whole = trajectory(calls, judged)
        assert consumed_first(whole) is whole


def test_a_consumed_call_of_which_more_is_heard_later_stays_consumed() -> None:
    calls = [call("ask", step=0, received_ns=7), call("next", step=1, received_ns=9)]
    whole = trajectory(calls, 1)
    assert consumed_first(whole) is whole
