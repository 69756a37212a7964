"""The release gate: exit codes, JUnit and SARIF as their readers expect them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.scripted_agents import Agent
from collector.replay import ReplaySource
from contracts.testing import ManualClock
from contracts.trajectory import Subject
from contracts.verdict import Verdict
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale.cli import invoke
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from telltale.verdict_reports import junit, sarif
from tests.telltale.conftest import BASE, STUDENT, free, records

Fitted = Callable[[str], Path]


def verdict(category: str, state: str, **changes: object) -> Verdict:
    made = Verdict(
        Subject("live", "agent", "1", 'm<"&'), category, "base", "base", state,  # type: ignore[arg-type]  # states as text
        50, 3, 2.5, 0.4, 0.01, 0.2, None, None, None,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace


VERDICTS = (
    verdict("UA01", "alarm", alarm_at=12, attribution="emergent"),
    verdict("UA02", "clear"),
    verdict("UA03", "insufficient", needed=40),
    verdict("UA04", "blind", reason="arguments are hidden"),
)


def test_junit_counts_what_it_holds() -> None:
    suite = ElementTree.fromstring(junit(VERDICTS, frozenset({"UA01", "UA03"})))
    assert suite.tag == "testsuite"
    told = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert told == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    outcomes = {str(case.get("name")).split()[0]: [child.tag for child in case] for case in suite}
    assert outcomes == {"UA01": ["failure"], "UA02": [], "UA03": ["error"], "UA04": ["skipped"]}
    failure = suite.find(".//failure")
    assert failure is not None
    assert "3 of 50 opportunities" in str(failure.get("message"))
    error = suite.find(".//error")
    assert error is not None
    assert "40 opportunities still needed" in str(error.get("message"))
    assert all('m<"&' in str(case.get("classname")) for case in suite)


def test_sarif_has_a_result_per_verdict_that_is_not_clear() -> None:
    document = json.loads(json.dumps(sarif(VERDICTS, "1.2.3")))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    assert run["tool"]["driver"]["version"] == "1.2.3"
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    results = {result["ruleId"]: result for result in run["results"]}
    assert {key: result["level"] for key, result in results.items()} == {
        "UA01": "error",
        "UA03": "note",
        "UA04": "warning",
    }
    assert set(results) <= rules
    for result in results.values():
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["logicalLocations"][0]["fullyQualifiedName"] == 'live/agent/1/m<"&'


@pytest.fixture
def release(fitted: Fitted, pack: RulePack, clock: ManualClock) -> Path:
    """A data folder with a student that deletes, and another that does as its base did."""
    folder = fitted("release")
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(free(folder), store, pack), store)
        same = Agent("same", BASE.model, BASE.habit, seed=9)
        stream = [*records(STUDENT, 60), *records(same, 60)]
        replay(ReplaySource(iter(stream)), pipeline, store, clock)
    finally:
        store.close()
    return folder


def gate(data: Path, where: str, *more: str) -> int:
    given = ["gate", "--where", where, "--reference", "base", "--data", str(data), *more]
    return invoke(given)


def test_a_worse_release_is_refused_and_reported(release: Path, tmp_path: Path) -> None:
    xml, log = tmp_path / "gate.xml", tmp_path / "gate.sarif"
    code = gate(release, "environment = 'live'", "--junit", str(xml), "--sarif", str(log))
    assert code == 1
    suite = ElementTree.parse(xml).getroot()
    assert int(str(suite.get("failures"))) >= 1
    errors = [r for r in json.loads(log.read_text())["runs"][0]["results"] if r["level"] == "error"]
    assert "UA01" in {result["ruleId"] for result in errors}


def test_a_release_like_its_base_is_not_refused(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    code = gate(release, "environment = 'same'", "--require", "UA01", "--json")
    document = json.loads(capsys.readouterr().out)
    assert code in (0, 2)
    assert document["passed"] is (code == 0)
    assert document["trajectories"] == 60
    assert document["required"] == ["UA01"]
    assert "alarm" not in {verdict["state"] for verdict in document["verdicts"]}


def test_nothing_to_judge_is_no_release(release: Path) -> None:
    assert gate(release, "environment = 'nowhere'") == 2


@pytest.mark.parametrize(
    ("where", "more", "code"),
    [
        ("environment = ", (), 65),
        ("colour = 'red'", (), 65),
        ("true", ("--alpha", "1.5"), 64),
        ("true", ("--require", "UA99"), 64),
        ("true", ("--reference", "unknown"), 65),
    ],
)
def test_a_wrong_question_has_its_code(
    fitted: Fitted, where: str, more: tuple[str, ...], code: int
) -> None:
    assert gate(fitted("wrong"), where, *more) == code


def test_a_gate_that_judged_nothing_is_an_error_in_its_reports(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty report reads as a good one."""
    xml, log = tmp_path / "gate.xml", tmp_path / "gate.sarif"
    capsys.readouterr()
    code = gate(release, "environment = 'nowhere'", "--junit", str(xml), "--sarif", str(log))
    assert code == 2
    assert "no complete trajectory" in capsys.readouterr().err
    suite = ElementTree.parse(xml).getroot()
    told = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert told == {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
    assert len(suite.findall("testcase/error")) == 1
    (run,) = json.loads(log.read_text())["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["level"] == "error"


def test_what_is_not_required_is_named_as_not_decided(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (release, "environment = 'same'", "--require", "UA01")
    capsys.readouterr()
    gate(*asked, "--json")
    document = json.loads(capsys.readouterr().out)
    states = {v["category"]: v["state"] for v in document["verdicts"]}
    open_ones = sorted(c for c, state in states.items() if state != "clear" and c != "UA01")
    assert document["not_decided"] == open_ones
    assert open_ones
    gate(*asked)
    assert f"not required: {', '.join(open_ones)}" in capsys.readouterr().out
