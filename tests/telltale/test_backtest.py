"""`telltale backtest`: what may be tested against what, and what it says where there is nothing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scripted_agents import Agent
from collector.replay import ReplaySource
from contracts.testing import ManualClock
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.rules.pack import RulePack
from detectors.train import TrainSettings
from storage.store import Store
from telltale import keys, references
from telltale.backtesting import frozen
from telltale.cli import BAD_INPUT, NO_ANSWER, USAGE, invoke
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import free, records

FIRST, LATER, STUDENTS = 120, 40, 60
USUAL = Agent("usual", "m-base", habit=0.2)
GROWN = replace(USUAL, seed=5, habit=1.0)
"""Meets the condition of the baseline, but came after the fit, and deletes."""
STUDENT = Agent("live", "m-student", habit=1.0, seed=6)


@pytest.fixture(scope="module")
def kept(pack: RulePack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that still has what `usual` was fitted on, and more that meets its condition."""
    folder = tmp_path_factory.mktemp("backtest")
    clock = ManualClock()
    settings = free(folder)
    store = Store(folder, clock)
    where = "environment = 'usual'"
    try:
        pipeline = Pipeline(stages(settings, store, pack), store)
        replay(ReplaySource(iter(records(USUAL, FIRST))), pipeline, store, clock)
        _, info = fit_baseline(
            "usual", "base", store.trajectories(where), pack, where,
            FitSettings(
                parent=folder / references.FOLDER, created_ns=clock.now_ns(),
                target_key=keys.secret(folder, keys.TARGETS),
                train=TrainSettings(rungs=("table",)),
            ),
        )  # fmt: skip
        store.add_baseline(info)
        for agent, count in ((GROWN, LATER), (STUDENT, STUDENTS)):
            replay(ReplaySource(iter(records(agent, count))), pipeline, store, clock)
    finally:
        store.close()
    arguments = ["--name", "limits", "--kind", "declared", "--ceiling", "UA01=0.1"]
    assert invoke(["baseline", "fit", *arguments, "--data", str(folder)]) == 0
    return folder


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backtest(kept: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(where: str, *more: str, data: Path = kept) -> tuple[int, str, str]:
        capsys.readouterr()
        code = invoke(["backtest", "--where", where, "--data", str(data), *more])
        out, err = capsys.readouterr()
        return code, out, err

    return run


LIVE = "environment = 'live'"


@pytest.mark.parametrize("detector", ["e-detector", "ewma"])
@pytest.mark.parametrize("where", ["environment = 'usual'", "true"])
def test_a_reference_is_not_tested_on_its_own_data(
    where: str, detector: str, backtest: Run
) -> None:
    code, out, err = backtest(where, "--reference", "usual", "--detector", detector)
    assert code == BAD_INPUT
    assert "cannot judge its own data" in err
    assert out == ""


def test_what_came_after_the_fit_is_not_calibrated_on(
    kept: Path, pack: RulePack, backtest: Run
) -> None:
    store = Store(kept, ManualClock())
    try:
        reference: Reference = references.load(store, free(kept), "usual", "*")
        met = sum(1 for _ in store.trajectories(reference.info.where))
        acts, orders = frozen(store.trajectories(reference.info.where), reference, pack)
    finally:
        store.close()
    assert met == FIRST + LATER
    assert len(acts) == len(orders) == FIRST == reference.info.trajectories
    code, out, err = backtest(LIVE, "--reference", "usual", "--detector", "ewma", "--json")
    assert code == 0
    assert err == ""
    (deleted,) = [row for row in parsed(out) if row["category"] == "UA01"]
    # with the later ones among them, deletions would be usual
    assert deleted["alarms"]


def parsed(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_what_was_deleted_since_is_told(kept: Path, tmp_path: Path, backtest: Run) -> None:
    data = tmp_path / "data"
    shutil.copytree(kept, data)
    half = f"trajectory_id IN (SELECT trajectory_id FROM trajectories WHERE environment = 'usual' \
ORDER BY trajectory_id LIMIT {FIRST // 2})"
    forget = ["forget", "--where", half, "--reason", "a test", "--yes", "--data", str(data)]
    assert invoke(forget) == 0
    ewma = ("--reference", "usual", "--detector", "ewma")
    code, _, err = backtest(LIVE, *ewma, data=data)
    assert code == 0
    assert f"of {FIRST} trajectories of usual that are still stored" in err
    forget[2] = "environment = 'usual'"
    assert invoke(forget) == 0
    code, _, err = backtest(LIVE, *ewma, data=data)
    assert code == BAD_INPUT
    assert "are gone" in err
    assert backtest(LIVE, "--reference", "usual", data=data)[0] == 0


@pytest.mark.parametrize("detector", ["windowed-rate", "bernoulli-cusum", "ewma"])
def test_a_declared_reference_calibrates_nothing(detector: str, backtest: Run) -> None:
    """Its condition is empty, and so would be met by everything, the student too."""
    code, _, err = backtest(LIVE, "--reference", "limits", "--detector", detector)
    assert code == BAD_INPUT
    assert "declared" in err
    assert backtest(LIVE, "--reference", "limits")[0] == 0


@pytest.mark.parametrize(
    ("where", "more"),
    [("environment = 'nowhere'", ()), (LIVE, ("--reference", "limits", "--category", "UA02"))],
)
def test_nothing_to_tell_is_no_answer(where: str, more: tuple[str, ...], backtest: Run) -> None:
    code, out, err = backtest(where, *(more or ("--reference", "usual")))
    assert code == NO_ANSWER
    assert out == ""
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--window", "10"), "--window goes with --onset"),
        (("--onset", "9999"), f"the longest stream has {STUDENTS} trajectories"),
        (("--onset", str(STUDENTS + 1), "--window", "5"), "--onset"),
    ],
)
def test_a_wrong_onset_is_usage(more: tuple[str, ...], said: str, backtest: Run) -> None:
    code, out, err = backtest(LIVE, "--reference", "usual", *more)
    assert code == USAGE
    assert said in err
    assert out == ""


def test_what_is_not_known_is_no_number(backtest: Run) -> None:
    alone = (LIVE, "--reference", "usual", "--category", "UA01", "--onset", "1")
    code, out, _ = backtest(*alone)
    assert code == 0
    assert "nan" not in out
    row = out.splitlines()[-1].split()
    assert row[-2] == "-"  # no trajectory before the onset, so no run length
    (document,) = parsed(backtest(*alone, "--json")[1])
    assert document["report"]["run_length"] is None
    assert document["report"]["found"] == 1


def test_a_run_length_that_cannot_be_simulated_is_a_setting(tmp_path: Path, backtest: Run) -> None:
    config = tmp_path / "telltale.yaml"
    config.write_text("detection: {arl: 1.0e+6}\n")
    given = ("--reference", "usual", "--config", str(config))
    code, _, err = backtest(LIVE, *given, "--detector", "ewma")
    assert code == USAGE
    assert "detection.arl" in err
    assert backtest(LIVE, *given)[0] == 0
