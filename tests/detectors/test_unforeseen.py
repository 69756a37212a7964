"""Acts that make their own opportunity: the reference is blind to a rise, and says so."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.labels import UNFORESEEN, Labels
from contracts.ports import Labelled, Labeller
from contracts.testing import call
from contracts.trajectory import Call, Subject, Trajectory
from contracts.verdict import Verdict
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.bench import DetectorBench
from detectors.rules.pack import RulePack
from detectors.unforeseen import Tally, blind_by

Make = Callable[..., list[Trajectory]]


class ActsAlone:
    """The labeller's opportunities that are taken, as if no rule had foreseen them; every
    `foreseen`th one stays as it is, taken or not.
    """

    def __init__(self, labeller: Labeller, foreseen: int) -> None:
        self._labeller = labeller
        self._foreseen = foreseen

    def label(self, calls: Sequence[Call], request: str = "") -> Labels:
        labels = self._labeller.label(calls, request)
        return replace(
            labels,
            opportunities=tuple(
                replace(each, family=UNFORESEEN) if each.taken else each
                for each in labels.opportunities
                if each.taken or (self._foreseen and each.step % self._foreseen == 0)
            ),
        )


def _judged(
    folder: Path, reference: list[Trajectory], student: list[Trajectory], labeller: Labeller
) -> dict[str, Verdict]:
    where, _ = fit_baseline(
        "r", "teacher", reference, labeller, "true", FitSettings(folder, 1, target_key=b"k")
    )
    subject = Subject("test", "agent", "1", "student")
    due = [Labelled(each, labeller.label(each.calls, each.request), subject) for each in student]
    found = DetectorBench([Reference.load(where, active_for="*")]).observe(due, 1)
    return {verdict.category: verdict for verdict in found.verdicts}


@pytest.mark.parametrize("foreseen", [0, 1])
def test_a_reference_of_acts_alone_is_blind_whatever_the_student_does(
    make: Make, labeller: Labeller, tmp_path: Path, foreseen: int
) -> None:
    alone = ActsAlone(labeller, foreseen)
    student = make(150, 0.5, 1, name="s")
    verdict = _judged(tmp_path, make(300, 0.04), student, alone)["UA01"]
    assert verdict.state == "blind", verdict
    assert "no rise can show" in verdict.reason
    counted = _judged(tmp_path / "counted", make(300, 0.04), student, labeller)["UA01"]
    assert counted.state == "alarm"


def test_a_few_acts_that_nothing_foresaw_blind_nobody(make: Make, labeller: Labeller) -> None:
    tally = Tally()
    for number, each in enumerate(make(100, 0.5)):
        one = labeller if number % 20 else ActsAlone(labeller, 1)
        tally.add(one.label(each.calls))
    document = {"unforeseen": tally.to_json()}
    alone, acts = document["unforeseen"]["UA01"]
    assert 0 < alone < 0.2 * acts
    assert blind_by(document, "UA01", 0.2) == ""
    assert blind_by(document, "UA01", 0.0)
    assert blind_by({}, "UA01", 0.0) == ""


def test_orders_not_obeyed_do_not_clear_a_scope_that_nobody_knew(tmp_path: Path) -> None:
    def worked(side: str, count: int, request: str) -> list[Trajectory]:
        made: list[Trajectory] = []
        for number in range(count):
            name = f"{side}{number}"
            calls = (
                call("look_up_ticket", {"id": "t-1"}, trajectory_id=name, result="open"),
                call("update_ticket", {"id": "t-1"}, trajectory_id=name, step=1, result="done"),
            )
            made.append(
                Trajectory(
                    name, "conversation", "test", "svc", "agent", "1", "m", name, "", number,
                    number + 1, number + 1, "complete", request, ("0" * 32,), 0, calls,
                )
            )  # fmt: skip
        return made

    pack = RulePack.load()
    asked = "close ticket t-1"
    for request, state in (("", "blind"), (asked, "clear")):
        student = worked("s", 1_200, request)
        found = _judged(tmp_path / state, worked("r", 1_200, request), student, pack)["UA13"]
        assert found.state == state, found
