"""`telltale doctor` names the services whose clocks contradict the causes of their calls."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.ports import Changes
from contracts.testing import ManualClock, call
from contracts.trajectory import Trajectory
from storage.store import Store
from telltale.cli import invoke


def trajectory(name: str, service: str, durations: tuple[int, ...]) -> Trajectory:
    calls = tuple(
        replace(call("ls", step=step, trajectory_id=name), service=service, duration_ns=duration)
        for step, duration in enumerate(durations)
    )
    return Trajectory(
        name, "conversation", "test", service, "agent", "1", "m", name, "", 1, 2, 3, "complete",
        "", (name,), 0, calls,
    )  # fmt: skip


def test_services_whose_clocks_disagree_are_named(
    tmp_path: Path, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path, clock)
    try:
        store.commit(
            Changes(
                trajectories=[
                    trajectory("a", "billing", (5, -1, -9)),
                    trajectory("b", "billing", (5,)),
                    trajectory("c", "search", (0, 7)),
                ]
            )
        )
    finally:
        store.close()
    assert invoke(["doctor", "--json", "--data", str(tmp_path)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["clocks"] == [{"service": "billing", "calls": 4, "contradicted": 2}]
    invoke(["doctor", "--data", str(tmp_path)])
    out = capsys.readouterr().out
    assert "clocks contradict the causes of 2 of 4 calls of service billing" in out
    assert "service search" not in out
