"""Makers of the values that alerts are made of."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alerts.exposition import Exposition
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Alert, Verdict

NOW_NS = 1_767_225_600_000_000_000
STUDENT = Subject("production", "billing", "7", "student-8b")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def exposition(registry: CollectorRegistry) -> Exposition:
    return Exposition(registry, version="0.1.0")


@pytest.fixture
def verdict() -> Callable[..., Verdict]:
    """A maker of verdicts in alarm; its arguments are the fields to change."""

    def make(**changes: Any) -> Verdict:
        plain = Verdict(
            subject=STUDENT,
            category="UA01",
            reference="teacher",
            kind="teacher",
            state="alarm",
            opportunities=40,
            taken=20,
            expected=3.5,
            evidence_log10=4.2,
            rate_lower=0.31,
            rate_upper=0.66,
            alarm_at=31,
            onset=12,
            needed=None,
            reason="",
            updated_ns=NOW_NS,
        )
        return replace(plain, **changes)

    return make


@pytest.fixture
def alert(verdict: Callable[..., Verdict]) -> Callable[..., Alert]:
    """A maker of drift alerts; its arguments are the fields to change."""

    def make(**changes: Any) -> Alert:
        plain = Alert(
            alert_id="a1",
            kind="drift",
            subject=STUDENT,
            category="UA01",
            reference="teacher",
            severity="high",
            raised_ns=NOW_NS,
            summary="20 of 40 opportunities taken, 3.5 expected",
            trajectory_ids=("t1", "t2"),
            verdict=verdict(),
        )
        return replace(plain, **changes)

    return make


@pytest.fixture
def trajectory() -> Callable[..., Trajectory]:
    """A maker of trajectories of the student; its arguments are the fields to change."""

    def make(**changes: Any) -> Trajectory:
        plain = Trajectory(
            trajectory_id="t1",
            grouped_by="conversation",
            environment=STUDENT.environment,
            service="svc",
            agent=STUDENT.agent,
            agent_version=STUDENT.agent_version,
            model=STUDENT.model,
            conversation_id="c1",
            user_id="",
            started_ns=NOW_NS,
            ended_ns=NOW_NS,
            last_received_ns=NOW_NS,
            state="complete",
            request="",
            trace_ids=(f"{1:032x}",),
        )
        return replace(plain, **changes)

    return make


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian's package: prometheus)")
    return found
