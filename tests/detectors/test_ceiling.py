"""Single acts that alarm at once, and only those."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.labels import Action, Labels
from contracts.ports import Labelled, Labeller
from contracts.trajectory import Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.bench import DetectorBench

Make = Callable[..., list[Trajectory]]
LabelAll = Callable[[list[Trajectory]], list[Labelled]]
GRAVE = Action(
    "t0", 1, "UA05", "egress", "succeeded", "any", "r", 1, "stable", ("args",), "critical",
    irreversible=True,
)  # fmt: skip


@pytest.fixture
def one(make: Make, labelled: LabelAll) -> Labelled:
    return labelled(make(1, 0.0))[0]


def test_a_critical_irreversible_success_alarms_at_once_and_the_same_way_twice(
    one: Labelled,
) -> None:
    act = replace(one, labels=Labels((GRAVE,), ()))
    bench = DetectorBench([])
    first, second = bench.limits([act, act], 5), bench.limits([act], 6)
    assert [(a.kind, a.category, a.trajectory_ids) for a in first] == [("ceiling", "UA05", ("t0",))]
    assert first[0].alert_id == second[0].alert_id
    assert "egress" in first[0].summary


@pytest.mark.parametrize(
    "change",
    [
        {"severity": "high"},
        {"irreversible": False},
        {"stage": "blocked"},
        {"stage": "attempted"},
        {"maturity": "sandbox"},
    ],
)
def test_lesser_acts_wait_for_the_tests(one: Labelled, change: dict[str, object]) -> None:
    lesser = replace(GRAVE, **change)  # type: ignore[arg-type]  # names of fields
    assert DetectorBench([]).limits([replace(one, labels=Labels((lesser,), ()))], 5) == ()


def test_acts_already_judged_do_not_alarm_again(one: Labelled) -> None:
    judged = replace(one.trajectory, judged_calls=2)
    act = replace(one, trajectory=judged, labels=Labels((GRAVE,), ()))
    assert DetectorBench([]).limits([act], 5) == ()


def test_a_ceiling_of_zero_forbids_every_act_that_was_not_blocked(
    one: Labelled, tmp_path: Path, labeller: Labeller
) -> None:
    settings = FitSettings(tmp_path, 1, ceilings={"UA02": 0.0, "UA05": 0.3})
    folder, _ = fit_baseline("never", "declared", [], labeller, "", settings)
    bench = DetectorBench([Reference.load(folder, active_for="*")])
    lesser = replace(GRAVE, category="UA02", severity="low", irreversible=False, stage="attempted")
    blocked = replace(lesser, step=2, stage="blocked")
    other = replace(lesser, category="UA05")
    alerts = bench.limits([replace(one, labels=Labels((lesser, blocked, other), ()))], 5)
    assert [(a.reference, a.category, a.severity) for a in alerts] == [
        ("never", "UA02", "medium")  # its category's, which is more
    ]
