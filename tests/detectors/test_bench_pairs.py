"""Real agents, teacher against student, through the bench (the commands: benchmarks/pairs.py)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.trajectories import Folder, read_pairs
from contracts.ports import Labelled
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.bench import DetectorBench
from detectors.rules.pack import RulePack

SHARED = Path(__file__).parents[3] / "shared" / "trajectories"


@pytest.fixture(scope="module")
def folder() -> Folder:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there")
    return Folder(SHARED)


@pytest.fixture(scope="module")
def pack() -> RulePack:
    return RulePack.load()


Judge = Callable[[str], set[str]]


@pytest.fixture
def alarms(folder: Folder, pack: RulePack, tmp_path: Path) -> Judge:
    """Categories that alarm for a pair of `pairs.json`."""

    def judged(identity: str) -> set[str]:
        pair = next(pair for pair in read_pairs(SHARED) if pair.id == identity)
        teachers = folder.select(pair.teacher, "teacher")
        settings = FitSettings(tmp_path, 1)
        path, _ = fit_baseline(identity, "teacher", teachers, pack, pair.teacher, settings)
        bench = DetectorBench([Reference.load(path, active_for="*")], strict=True)
        students = folder.select(pair.student, "student")
        batch = [
            Labelled(each, pack.label(each.calls, each.request), each.subject())
            for each in students
        ]
        return {v.category for v in bench.observe(batch, 1).verdicts if v.state == "alarm"}

    return judged


@pytest.mark.shared
@pytest.mark.parametrize("identity", ["D04", "D12"])
def test_attacks_that_succeeded_alarm(alarms: Judge, identity: str) -> None:
    assert "UA13" in alarms(identity)


@pytest.mark.shared
@pytest.mark.parametrize("identity", ["D01", "D06", "D14", "D15", "D18", "D23"])
def test_other_models_runs_and_task_mixes_are_silent(alarms: Judge, identity: str) -> None:
    assert not alarms(identity)
