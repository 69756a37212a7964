"""The Prometheus rules: as committed, checked and unit-tested by promtool, each with a runbook."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.exposition import Exposition
from alerts.metrics import METRIC_NAMES
from alerts.rules import Thresholds, alert_names, render_rules
from contracts.ports import Changes
from contracts.verdict import Alert, Verdict

REPO = Path(__file__).parents[2]
RULES = REPO / "deploy" / "prometheus" / "telltale.rules.yml"
UNIT_TESTS = REPO / "deploy" / "prometheus" / "telltale.rules.test.yml"
RUNBOOKS = REPO / "docs" / "runbooks"


def entries(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def run(*command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def test_the_committed_file_is_the_generated_one() -> None:
    assert RULES.read_text() == render_rules(), "run: telltale rules prometheus"


def test_rules_use_metrics_that_exist() -> None:
    for rule in entries(render_rules()):
        used = set(re.findall(r"telltale_(\w+)", rule["expr"]))
        assert used <= set(METRIC_NAMES), rule["alert"]


def test_thresholds_reach_the_rules() -> None:
    limits = Thresholds(
        job="tt", runbooks="https://wiki.example/tt/", lag_seconds=7, silent="10m", coverage=0.9
    )
    text = render_rules(limits)
    assert 'up{job="tt"} == 0' in text
    assert "https://wiki.example/tt/TelltaleDrift.md" in text
    assert "telltale_source_lag_seconds > 7" in text
    assert "> 600)" in text
    assert "telltale_arguments_coverage_ratio < 0.9" in text
    with pytest.raises(ValueError, match="1w2d"):
        render_rules(Thresholds(silent="1w2d"))


@pytest.mark.parametrize("alert", alert_names())
def test_every_alert_has_a_runbook(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    for heading in ("## Meaning", "## Impact", "## What to run", "## How to silence"):
        assert heading in text
    assert "telltale " in text


def test_every_runbook_has_an_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("Telltale*.md")}
    assert pages == set(alert_names())


def _expectations() -> dict[str, set[bool]]:
    """Per alert, whether it is expected to fire (True) and to be silent (False) somewhere."""
    seen: dict[str, set[bool]] = {name: set() for name in alert_names()}
    for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]:
        for case in test.get("alert_rule_test", []):
            seen[case["alertname"]].add(bool(case["exp_alerts"]))
        for case in test.get("promql_expr_test", []):
            (names,) = re.findall(r'alertname=~?"([^"]*)"', case["expr"]) or [""]
            for name in filter(None, names.split("|")):
                seen[name].add(bool(case["exp_samples"]))
    return seen


@pytest.mark.parametrize("alert", alert_names())
def test_every_alert_is_shown_firing_and_silent(alert: str) -> None:
    expected = {True} if alert == "TelltaleWatchdog" else {True, False}
    assert _expectations()[alert] == expected


@pytest.mark.prometheus
def test_promtool_accepts_the_rules(promtool: str) -> None:
    done = run(promtool, "check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr


@pytest.mark.prometheus
def test_promtool_runs_the_unit_tests(promtool: str) -> None:
    done = run(promtool, "test", "rules", str(UNIT_TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_promtool_accepts_the_metrics(
    promtool: str,
    exposition: Exposition,
    alert: Callable[..., Alert],
    verdict: Callable[..., Verdict],
) -> None:
    exposition.source("kafka:otlp_spans", up=True, lag_s=1.0)
    exposition.polled(1)
    exposition.canary(1)
    exposition.record(Changes(alerts=(alert(),), verdicts=(verdict(),), committed_ns=1))
    done = run(promtool, "check", "metrics", stdin=exposition.render())
    assert done.returncode == 0, done.stdout + done.stderr
