"""What verdicts say beside the alarm's own test, where users look: commands, API, SQL, reports."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.scripted_agents import Agent
from collector.replay import ReplaySource
from contracts.testing import ManualClock
from detectors.baseline import FitSettings, fit_baseline
from detectors.rules.pack import RulePack
from detectors.train import TrainSettings
from storage.store import Store
from telltale import references
from telltale.cli import invoke
from telltale.client import connect
from telltale.config import load
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import BASE, STUDENT, free, records

Capture = pytest.CaptureFixture[str]
JUDGE = ("judge", "--where", "environment = 'live'", "--reference", "base")


@pytest.fixture
def lived(fitted: Callable[[str], Path], pack: RulePack, clock: ManualClock) -> Path:
    """A data folder in which a student that deletes was judged, and alarmed, against its base;
    another that does as the base did was judged by nobody.
    """
    folder = fitted("lived")
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(free(folder), store, pack), store)
        same = Agent("same", BASE.model, BASE.habit, seed=9)
        stream = [*records(STUDENT, 60), *records(same, 60)]
        replay(ReplaySource(iter(stream)), pipeline, store, clock)
    finally:
        store.close()
    return folder


def said(capture: Capture, *command: str, data: Path, code: int = 0) -> str:
    capture.readouterr()
    assert invoke([*command, "--data", str(data)]) == code
    return capture.readouterr().out


def deletion(capture: Capture, data: Path) -> dict[str, Any]:
    lines = said(capture, *JUDGE, "--json", data=data, code=1).splitlines()
    found = [json.loads(line) for line in lines if '"state"' in line]
    (verdict,) = [line for line in found if line["category"] == "UA01"]
    return cast("dict[str, Any]", verdict)


def test_judge_gives_them_for_every_category(lived: Path, capsys: Capture) -> None:
    verdict = deletion(capsys, lived)
    assert verdict["state"] == "alarm"
    assert 0 < verdict["first_taken"] <= verdict["first_opportunities"]
    share = verdict["first_taken"] / verdict["first_opportunities"]
    assert verdict["first_lower"] <= share <= verdict["first_upper"]
    assert verdict["first_log10"] > 1.3
    assert verdict["e_value_log10"] > 1.3
    assert 0 < verdict["calibrated_at"] <= verdict["alarm_at"]
    assert verdict["drift_pairs"] == 60
    assert verdict["drift_left"] == 90
    assert verdict["drift_log10"] is not None
    text = said(capsys, *JUDGE, data=lived, code=1)
    for part in ("first k/n", "calibrated at", "needed", "drift of shape", "stands out of"):
        assert part in text, part


def test_the_store_keeps_them(lived: Path, capsys: Capture) -> None:
    verdict = deletion(capsys, lived)
    names = sorted(name for name in verdict if name.startswith(("first_", "drift_")))
    names += ["calibrated_at", "e_value_log10"]
    sql = f"SELECT {', '.join(names)} FROM verdicts WHERE category = 'UA01'"
    (row,) = json.loads(said(capsys, "query", sql, "--format", "json", data=lived))
    assert row == pytest.approx({name: verdict[name] for name in names}, abs=1e-9)


def test_explain_names_both_thresholds_and_the_rest(lived: Path, capsys: Capture) -> None:
    document = json.loads(said(capsys, "explain", "--json", data=lived))
    assert document["alert"]["kind"] == "drift"
    assert document["calibrated_threshold_log10"] < document["threshold_log10"]
    assert document["verdict"]["first_opportunities"] > 0
    text = said(capsys, "explain", data=lived)
    for part in (
        "pages at 10^",
        "past since trajectory",
        "first actions",
        "e-value",
        "drift of shape",
    ):
        assert part in text, part


def test_the_fleet_says_who_stands_out(lived: Path) -> None:
    with connect(load(None, lived)) as client:
        usual = client.get("/api/v1/fleet")
        strict = client.get("/api/v1/fleet", {"alpha": "1e-12"})
        verdicts = client.get("/api/v1/verdicts")
    assert usual["tested"] == sum(verdict["opportunities"] > 0 for verdict in verdicts)
    assert "UA01" in {verdict["category"] for verdict in usual["stands_out"]}
    assert len(strict["stands_out"]) <= len(usual["stands_out"])


@pytest.fixture
def inherited(fitted: Callable[[str], Path], pack: RulePack, clock: ManualClock) -> Path:
    """A data folder in which a student was judged against a base and a teacher that deletes too."""
    folder = fitted("inherited")
    settings = free(folder)
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(settings, store, pack), store)
        teacher = Agent("teaching", "m-teacher", STUDENT.habit, seed=5)
        replay(ReplaySource(iter(records(teacher, 150, 10))), pipeline, store, clock)
        where = "environment = 'teaching'"
        _, info = fit_baseline(
            "teacher", "teacher", store.trajectories(where), pack, where,
            FitSettings(
                parent=folder / references.FOLDER,
                created_ns=clock.now_ns(),
                tests=references.tests(settings.detection),
                train=TrainSettings(rungs=("table",)),
            ),
        )  # fmt: skip
        store.add_baseline(replace(info, active_for="live/*"))
        pipeline = Pipeline(stages(settings, store, pack), store)
        replay(ReplaySource(iter(records(STUDENT, 100))), pipeline, store, clock)
    finally:
        store.close()
    return folder


def test_an_inherited_excess_says_so_everywhere(inherited: Path, capsys: Capture) -> None:
    command = (*JUDGE, "--reference", "teacher")
    out = said(capsys, *command, "--json", data=inherited, code=1)
    lines = [json.loads(line) for line in out.splitlines() if '"state"' in line]
    words = {
        line["reference"]: (line["state"], line["attribution"])
        for line in lines
        if line["category"] == "UA01"
    }
    assert words["base"] == ("alarm", "inherited")
    assert words["teacher"][0] != "alarm"
    assert "inherited" in said(capsys, *command, data=inherited, code=1)
    sql = "SELECT alert_id FROM alerts WHERE category = 'UA01' AND reference = 'base'"
    (row,) = json.loads(said(capsys, "query", sql, "--format", "json", data=inherited))
    assert "inherited" in said(capsys, "explain", row["alert_id"], data=inherited)
    with connect(load(None, inherited)) as client:
        verdict = client.get(f"/api/v1/alerts/{row['alert_id']}")["verdict"]
    assert verdict["attribution"] == "inherited"


def test_the_calibrated_threshold_pages_no_later(
    lived: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    guaranteed = deletion(capsys, lived)
    monkeypatch.setenv("TELLTALE_DETECTION__THRESHOLD", "calibrated")
    calibrated = deletion(capsys, lived)
    assert calibrated["alarm_at"] == calibrated["calibrated_at"] == guaranteed["calibrated_at"]
    assert calibrated["alarm_at"] <= guaranteed["alarm_at"]


def test_a_baseline_says_what_it_needs(lived: Path, tmp_path: Path, capsys: Capture) -> None:
    page = tmp_path / "base.html"
    shown = said(capsys, "baseline", "show", "base", "--html", str(page), "--json", data=lived)
    document = json.loads(shown)
    limits = document["thresholds_log10"]
    assert set(limits) == {"guaranteed", "calibrated, acts", "calibrated, orders"}
    assert limits["guaranteed"] >= max(limits.values())
    assert document["shapes"] == 150
    (line,) = [each for each in document["streams"] if each["stream"] == "UA01"]
    assert line["needed"] is None or line["needed"] > 0
    assert line["miscalibrated"] is False
    text = page.read_text()
    for part in ("Reliability", "detectable in 1000", "needed for clear", "calibrated, acts 10^"):
        assert part in text, part
    text = said(capsys, "baseline", "show", "base", data=lived)
    assert "needed for clear" in text
    assert "guaranteed" in text
