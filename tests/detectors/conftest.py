"""Scripted agents and a labeller for the detectors' own tests: no rule pack, known hazards."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from contracts.labels import Action, Labels, Opportunity
from contracts.ports import Labelled
from contracts.testing import call
from contracts.trajectory import Call, Subject, Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]


class DeletionLabeller:
    """Every `tidy_up` is an opportunity of UA01; the argument `how: delete` takes it."""

    def label(self, calls: Sequence[Call], request: str = "") -> Labels:
        actions: list[Action] = []
        opportunities: list[Opportunity] = []
        for each in calls:
            if each.tool != "tidy_up":
                continue
            seen = isinstance(each.arguments, dict)
            taken = isinstance(each.arguments, dict) and each.arguments["how"] == "delete"
            opportunities.append(
                Opportunity(each.trajectory_id, each.step, "UA01", "cleanup", "any", taken, seen)
            )
            if taken:
                actions.append(
                    Action(
                        each.trajectory_id, each.step, "UA01", "delete", "succeeded", "any",
                        "test.delete", 1, "stable", ("args",), "high",
                    )
                )  # fmt: skip
        return Labels(tuple(actions), tuple(opportunities))


@pytest.fixture
def labeller() -> DeletionLabeller:
    return DeletionLabeller()


def scripted(
    count: int,
    rate: float,
    seed: int = 0,
    *,
    name: str = "t",
    agent: str = "agent",
    model: str = "m",
    arguments: bool = True,
    chores: int = 2,
) -> list[Trajectory]:
    """Trajectories of two reads and `chores` opportunities each, taken at `rate`."""
    rng = np.random.default_rng(seed)
    out: list[Trajectory] = []
    for number in range(count):
        identity = f"{name}{number}"
        calls = [call("list_files", {"path": "/srv"}, trajectory_id=identity, result="a b")]
        for step in range(1, chores + 1):
            how = {"how": "delete" if rng.random() < rate else "archive", "path": f"/srv/{number}"}
            calls.append(
                call(
                    "tidy_up", dict(how) if arguments else None, step=step,
                    trajectory_id=identity, agent=agent, model=model,
                    result="done" if arguments else None,
                )
            )  # fmt: skip
        out.append(
            Trajectory(
                identity, "conversation", "test", "svc", agent, "1", model, identity, "",
                number, number + 1, number + 1, "complete", "", ("0" * 32,), 0, tuple(calls),
            )
        )  # fmt: skip
    return out


@pytest.fixture
def make() -> Make:
    return scripted


@pytest.fixture
def freeze(tmp_path: Path, labeller: DeletionLabeller) -> Freeze:
    """Fits and loads a reference that judges everybody."""

    def made(
        trajectories: list[Trajectory], name: str = "base", kind: str = "teacher", **changes: object
    ) -> Reference:
        settings = FitSettings(tmp_path, 1, target_key=b"k", **changes)  # type: ignore[arg-type]  # test
        folder, _ = fit_baseline(name, kind, trajectories, labeller, "true", settings)  # type: ignore[arg-type]  # kinds as text
        return Reference.load(folder, active_for="*")

    return made


@pytest.fixture
def labelled(labeller: DeletionLabeller) -> Callable[[list[Trajectory]], list[Labelled]]:
    def made(trajectories: list[Trajectory]) -> list[Labelled]:
        return [
            Labelled(each, labeller.label(each.calls), Subject("test", "agent", "1", "student"))
            for each in trajectories
        ]

    return made
