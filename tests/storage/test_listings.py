"""What explanations ask of the store: evidence in its order, and what a subject used when."""

from dataclasses import replace
from functools import partial

from contracts.ports import Changes
from contracts.testing import call
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Evidence
from storage import listings
from storage.store import Store

SUBJECT = Subject("test", "agent", "1", "model")


def row(name: str, n: int, taken: int) -> Evidence:
    return Evidence(SUBJECT, "UA01", "base", name, n, 5, taken, 0.5, float(taken))


def trajectory(name: str, model: str, tools: dict[str, int]) -> Trajectory:
    calls = tuple(
        replace(call(tool, step=step, trajectory_id=name), started_ns=at)
        for step, (tool, at) in enumerate(tools.items())
    )
    return Trajectory(
        name, "conversation", "test", "svc", "agent", "1", model, name, "", 1, 2, 3, "complete",
        "", (name,), 0, calls,
    )  # fmt: skip


def test_parts_of_one_trajectory_come_in_the_order_they_were_judged_in(store: Store) -> None:
    store.commit(Changes(evidence=[row("a", 1, 0), row("b", 2, 1)]))
    for taken in range(2, 30):
        store.commit(Changes(evidence=[row("b", 2, taken)]))
    store.commit(Changes(evidence=[row("c", 3, 9), row("b", 2, 30), row("b", 2, 31)]))
    ask = partial(listings.evidence, subject=SUBJECT, category="UA01", reference="base")
    found = store.fetch(partial(ask, most=100))
    assert [each.n for each in found] == [1, *[2] * 31, 3]
    assert [each.taken for each in found if each.n == 2] == list(range(1, 32))
    assert [each.taken for each in store.fetch(partial(ask, most=3))] == [30, 31, 9]


def test_first_and_last_use_over_the_history_of_a_subject(store: Store) -> None:
    store.commit(
        Changes(
            trajectories=[
                trajectory("a", "m", {"ls": 10, "rm": 20}),
                trajectory("b", "m", {"ls": 30, "timeless": 0}),
                trajectory("c", "other", {"ls": 5, "mv": 6}),
            ]
        )
    )
    equal = {"environment": "test", "model": "m"}
    used = store.fetch(partial(listings.used, equal=equal, column="tool"))
    assert used == {"ls": (10, 30), "rm": (20, 20)}
    every = store.fetch(partial(listings.used, equal={}, column="tool"))
    assert every == {"ls": (5, 30), "rm": (20, 20), "mv": (6, 6)}
