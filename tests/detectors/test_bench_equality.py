"""The same stream gives the same evidence, however it is cut and wherever the bench is restored."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.ports import Judgement, Labelled
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Evidence
from detectors.baseline import Reference
from detectors.bench import DetectorBench
from detectors.hazard import Rung
from detectors.train import TrainSettings

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]
LabelAll = Callable[[list[Trajectory]], list[Labelled]]
Key = tuple[str, str, str]
CLOSE = 1e-9


@pytest.fixture(params=["loglinear", "recurrent"])
def references(request: pytest.FixtureRequest, make: Make, freeze: Freeze) -> list[Reference]:
    """A teacher and a control of one rung, so that attribution has a state too."""
    rung: Rung = request.param
    train = TrainSettings(rungs=(rung,), recurrent_from=0, recurrent_epochs=2, penalties=(1.0,))
    return [
        freeze(make(120, 0.4), "teacher", "teacher", train=train),
        freeze(make(120, 0.05, 5), "control", "control", train=train),
    ]


@pytest.fixture
def stream(make: Make, labelled: LabelAll) -> list[Labelled]:
    """Two subjects in turn, one of which rises half-way; lengths differ and some calls fail."""
    rng = np.random.default_rng(11)
    parts: list[list[Labelled]] = []
    for name, rates in (("steady", (0.05, 0.05)), ("rising", (0.05, 0.7))):
        mine = [
            each
            for half, rate in enumerate(rates)
            for chores in (1, 4)
            for each in make(20, rate, int(rng.integers(99)), name=f"{name}{half}{chores}-",
                             chores=chores)
        ]  # fmt: skip
        failing = [
            replace(
                each,
                calls=tuple(
                    replace(call, outcome="error" if rng.random() < 0.2 else "ok")
                    for call in each.calls
                ),
            )
            for each in mine
        ]
        subject = Subject("test", "agent", "1", name)
        parts.append([replace(item, subject=subject) for item in labelled(failing)])
    return [item for pair in zip(*parts, strict=True) for item in pair]


def rows(judgements: Sequence[Judgement]) -> dict[Key, Evidence]:
    found = {
        (row.trajectory_id, row.category, row.reference): row
        for judgement in judgements
        for row in judgement.evidence
    }
    assert len(found) == sum(len(judgement.evidence) for judgement in judgements)
    return found


def same(one: Sequence[Judgement], other: Sequence[Judgement]) -> None:
    mine, theirs = rows(one), rows(other)
    assert mine.keys() == theirs.keys()
    for key, row in mine.items():
        also = theirs[key]
        assert (row.subject, row.n, row.opportunities, row.taken) == (
            also.subject, also.n, also.opportunities, also.taken,
        )  # fmt: skip
        assert row.expected == pytest.approx(also.expected, rel=0, abs=CLOSE)
        assert row.evidence_log10 == pytest.approx(also.evidence_log10, rel=0, abs=CLOSE)
    raised = [[a.alert_id for judgement in each for a in judgement.alerts] for each in (one, other)]
    assert sorted(raised[0]) == sorted(raised[1])


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.lists(st.integers(1, 60), min_size=1), restores=st.sets(st.integers(0, 40)))
def test_batches_of_any_size_and_restores_anywhere(
    references: list[Reference], stream: list[Labelled], sizes: list[int], restores: set[int]
) -> None:
    whole = DetectorBench(references)
    at_once = whole.observe(stream, 1)
    assert at_once.alerts, "the stream must hold an alarm, or the test shows little"
    bench, pieces, stored = DetectorBench(references), list[Judgement](), dict[str, bytes]()
    start = number = 0
    while start < len(stream):
        if number in restores:
            bench = DetectorBench(references)
            bench.restore(stored)
        size = sizes[number % len(sizes)]
        pieces.append(bench.observe(stream[start : start + size], 1))
        stored |= pieces[-1].states
        start, number = start + size, number + 1
    same([at_once], pieces)
    for subject in {item.subject for item in stream}:
        for one, other in zip(whole.verdicts(subject, 1), bench.verdicts(subject, 1), strict=True):
            assert replace(one, evidence_log10=0, expected=0) == replace(
                other, evidence_log10=0, expected=0
            )
            assert one.evidence_log10 == pytest.approx(other.evidence_log10, rel=0, abs=CLOSE)
            assert one.expected == pytest.approx(other.expected, rel=0, abs=CLOSE)


def test_a_trajectory_judged_in_two_parts_counts_each_step_once(
    references: list[Reference], stream: list[Labelled]
) -> None:
    item = next(each for each in stream if len(each.trajectory.calls) == 5)
    early = replace(item, trajectory=replace(item.trajectory, calls=item.trajectory.calls[:3]))
    late = replace(item, trajectory=replace(item.trajectory, judged_calls=3))
    parts = DetectorBench(references)
    first = early.labels
    opportunities = tuple(each for each in first.opportunities if each.step < 3)
    actions = tuple(each for each in first.actions if each.step < 3)
    early = replace(early, labels=replace(first, opportunities=opportunities, actions=actions))
    parts.observe([early], 1)
    parts.observe([late], 1)
    whole = DetectorBench(references)
    whole.observe([item], 1)
    for one, other in zip(
        whole.verdicts(item.subject, 1), parts.verdicts(item.subject, 1), strict=True
    ):
        assert (one.opportunities, one.taken) == (other.opportunities, other.taken)
        assert one.expected == pytest.approx(other.expected, rel=0, abs=CLOSE)
