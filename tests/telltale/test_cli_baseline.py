"""`telltale baseline` and `judge`: what is refused, what is left behind, what is shown."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scripted_agents import Agent
from collector.replay import ReplaySource
from contracts.errors import BaselineError
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale.cli import BAD_INPUT, USAGE, invoke
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import STUDENT, free, records

LIMITS = {"UA01": 0.1, "UA09": 0.0}


@pytest.fixture(scope="module")
def shared_data(
    fitted_once: Path, pack: RulePack, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The baseline `base`, the ceilings `limits`, a student, and one without arguments."""
    folder = tmp_path_factory.mktemp("baseline") / "data"
    shutil.copytree(fitted_once, folder)
    clock = ManualClock()
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(free(folder), store, pack), store)
        hidden = replace(STUDENT, environment="hidden", arguments=False, seed=3)
        worse: Agent = replace(STUDENT, habit=1.0)
        stream = [*records(worse, 60), *records(hidden, 40)]
        replay(ReplaySource(iter(stream)), pipeline, store, clock)
    finally:
        store.close()
    ceilings = [part for k, v in LIMITS.items() for part in ("--ceiling", f"{k}={v}")]
    made = ["baseline", "fit", "--name", "limits", "--kind", "declared", *ceilings]
    assert invoke([*made, "--data", str(folder)]) == 0
    return folder


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = invoke([*arguments, "--data", str(shared_data)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def folders(data: Path) -> set[str]:
    return {path.name for path in (data / "baselines").iterdir()}


@pytest.mark.parametrize(
    "kind", [("base", "--where", "true"), ("declared", "--ceiling", "UA01=0.2")], ids=lambda k: k[0]
)
def test_a_taken_name_is_refused_before_the_fit(
    kind: tuple[str, ...], shared_data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object, **__: object) -> None:
        raise AssertionError("it was fitted")

    monkeypatch.setattr("detectors.baseline.fit_baseline", fit)
    before = folders(shared_data)
    code, _, err = run("baseline", "fit", "--name", "base", "--kind", *kind)
    assert code == BAD_INPUT
    assert "base" in err
    assert folders(shared_data) == before


def test_a_fit_that_cannot_be_registered_leaves_no_folder(
    shared_data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*_: object) -> None:
        raise BaselineError("the name was taken meanwhile")

    monkeypatch.setattr("telltale.admin.register", register)
    before = folders(shared_data)
    declared = ("--name", "later", "--kind", "declared", "--ceiling", "UA01=0.2")
    code, _, err = run("baseline", "fit", *declared)
    assert code == BAD_INPUT
    assert "meanwhile" in err
    assert folders(shared_data) == before


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--kind", "teacher", "--where", "true", "--ceiling", "UA01=0.1"), "--ceiling"),
        (("--kind", "declared", "--where", "true", "--ceiling", "UA01=0.1"), "--where"),
        (("--kind", "teacher"), "--where"),
        (("--kind", "declared"), "--ceiling"),
        (("--kind", "declared", "--ceiling", "UA99=0.1"), "UA99"),
        (("--kind", "declared", "--ceiling", "UA01=much"), "UA01=much"),
    ],
)
def test_options_that_do_not_go_together_are_usage(
    arguments: tuple[str, ...], option: str, run: Run
) -> None:
    code, _, err = run("baseline", "fit", "--name", "wrong", *arguments)
    assert code == USAGE
    assert option in err


def test_ceilings_are_shown_and_compared(run: Run) -> None:
    document = json.loads(run("baseline", "show", "limits", "--json")[1])
    assert {each["category"]: each["rate"] for each in document["ceilings"]} == LIMITS
    assert all(each["needed"] > 0 for each in document["ceilings"])
    text = run("baseline", "show", "limits")[1]
    assert all(category in text for category in LIMITS)
    code, out, _ = run("baseline", "compare", "base", "limits", "--json")
    assert code == 0
    rows = {row["stream"]: row for row in json.loads(out)}
    assert rows["UA01"]["limits upper"] == LIMITS["UA01"]
    assert rows["UA01"]["base opportunities"] > 0
    assert set(LIMITS) <= set(rows)


def judged(run: Run, environment: str, reference: str) -> dict[str, dict[str, Any]]:
    where = f"environment = '{environment}'"
    _, out, _ = run("judge", "--where", where, "--reference", reference, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    return {line["category"]: line for line in lines if "state" in line}


def test_where_no_ceiling_is_declared_it_says_so(run: Run) -> None:
    verdicts = judged(run, "live", "limits")
    assert "declares no ceiling" in verdicts["UA02"]["reason"]
    assert "declares" not in verdicts["UA01"]["reason"]


def test_what_could_not_be_judged_has_its_row(run: Run) -> None:
    verdicts = judged(run, "hidden", "base")
    unseen = {category for category, v in verdicts.items() if v["unjudged"]}
    assert "UA01" in unseen
    assert all(verdicts[category]["state"] == "blind" for category in unseen)
    for command in ("judge", "gate"):
        code, out, _ = run(command, "--where", "environment = 'hidden'", "--reference", "base")
        assert code == 2
        assert {line.split()[1] for line in out.splitlines() if " blind " in line} >= unseen
        assert "were not seen" in out


def test_an_alarm_says_since_when_with_an_interval(run: Run) -> None:
    alarm = judged(run, "live", "base")["UA01"]
    low, high = alarm["onset_interval"]
    assert 1 <= low <= alarm["onset"] <= high <= alarm["alarm_at"]
    out = run("judge", "--where", "environment = 'live'", "--reference", "base")[1]
    assert f" {alarm['onset']} ({low}-{high}) " in out
    assert judged(run, "live", "limits")["UA02"]["onset_interval"] is None


def test_a_baseline_says_how_much_a_clear_takes(run: Run) -> None:
    document = json.loads(run("baseline", "show", "base", "--json")[1])
    (deletions,) = [line for line in document["streams"] if line["stream"] == "UA01"]
    per = deletions["opportunities"] / document["trajectories"]
    assert deletions["least"] > 0
    assert deletions["least_trajectories"] == pytest.approx(deletions["least"] / per, abs=1)
    text = run("baseline", "show", "base")[1]
    assert "least reference" in text
    assert str(deletions["least_trajectories"]) in text


def test_a_larger_materiality_judges(tmp_path: Path, run: Run) -> None:
    config = tmp_path / "telltale.yaml"
    for materiality in (1, 3, 10):
        config.write_text(f"detection: {{materiality: {materiality}}}\n")
        asked = ("--where", "environment = 'live'", "--reference", "base")
        for command in ("judge", "gate"):
            code, _, err = run(command, *asked, "--config", str(config))
            assert code in (1, 2)
            assert err == ""
