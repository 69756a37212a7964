"""The bench: one class, whatever way the stream is cut; alarms once; blind is never clear."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import BaselineError
from contracts.ports import Judgement, Labelled, Labeller
from contracts.trajectory import Trajectory
from contracts.verdict import Evidence
from detectors.baseline import Reference
from detectors.bench import DetectorBench
from detectors.sequential import Settings
from detectors.train import TrainSettings

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]
LabelAll = Callable[[list[Trajectory]], list[Labelled]]


@pytest.fixture
def freeze(freeze: Freeze) -> Freeze:
    """With one rung: the bench does not know which (`test_bench_equality.py` takes two)."""
    return partial(freeze, train=TrainSettings(rungs=("loglinear",)))


def rows(judgements: list[Judgement]) -> list[Evidence]:
    return [row for judgement in judgements for row in judgement.evidence]


def same(one: list[Evidence], two: list[Evidence]) -> None:
    assert [(r.trajectory_id, r.category, r.reference, r.n, r.taken) for r in one] == [
        (r.trajectory_id, r.category, r.reference, r.n, r.taken) for r in two
    ]
    for field in ("evidence_log10", "expected"):
        a, b = ([getattr(row, field) for row in each] for each in (one, two))
        assert np.allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_evidence_is_the_same_in_one_go_in_batches_and_from_stored_states(
    make: Make, freeze: Freeze, labelled: LabelAll, size: int
) -> None:
    references = [freeze(make(200, 0.1)), freeze(make(200, 0.05, 5), "control", "control")]
    stream = labelled(make(120, 0.25, 1, name="s"))
    whole = DetectorBench(references).observe(stream, 1)
    bench, pieces, states = DetectorBench(references), list[Judgement](), dict[str, bytes]()
    for start in range(0, len(stream), size):
        if start >= len(stream) // 2 and size > 1:
            bench = DetectorBench(references)
            bench.restore(states)
        pieces.append(bench.observe(stream[start : start + size], 1))
        states |= pieces[-1].states
    same(rows([whole]), rows(pieces))
    for one, other in zip(whole.verdicts, pieces[-1].verdicts, strict=True):
        assert (one.category, one.state, one.taken) == (other.category, other.state, other.taken)
        for figure in ("evidence_log10", "e_value_log10", "first_log10", "drift_log10"):
            assert getattr(one, figure) == pytest.approx(getattr(other, figure), abs=1e-9), figure
        assert (one.calibrated_at, one.drift_at, one.drift_pairs, one.drift_left) == (
            other.calibrated_at, other.drift_at, other.drift_pairs, other.drift_left,
        )  # fmt: skip
    assert set(whole.states) == set(states)
    assert [a.alert_id for a in whole.alerts] == [a.alert_id for p in pieces for a in p.alerts]


def test_an_alarm_is_raised_once_with_a_stable_id(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    reference = freeze(make(300, 0.05))
    bench = DetectorBench([reference])
    first = bench.observe(labelled(make(100, 0.8, 1, name="s")), 7)
    assert [(a.kind, a.category, a.raised_ns) for a in first.alerts] == [("drift", "UA01", 7)]
    alert = first.alerts[0]
    assert alert.verdict is not None
    assert alert.verdict.state == "alarm"
    assert len(alert.trajectory_ids) == 3
    assert not bench.observe(labelled(make(100, 0.8, 2, name="u")), 8).alerts
    again = DetectorBench([reference]).observe(labelled(make(100, 0.8, 1, name="s")), 9)
    assert [a.alert_id for a in again.alerts] == [alert.alert_id]


def test_the_same_behaviour_is_silent_and_becomes_clear(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    judgement = DetectorBench([freeze(make(500, 0.2))]).observe(
        labelled(make(800, 0.2, 1, name="s")), 1
    )
    assert not judgement.alerts
    states = {verdict.category: verdict.state for verdict in judgement.verdicts}
    assert states["UA01"] == "clear"


def test_hidden_arguments_are_blind_never_clear(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    judgement = DetectorBench([freeze(make(300, 0.2))]).observe(
        labelled(make(500, 0.2, 1, name="s", arguments=False)), 1
    )
    assert {verdict.state for verdict in judgement.verdicts} == {"blind"}


def test_only_steps_after_the_judged_ones_are_consumed(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    reference = freeze(make(100, 0.2))
    stream = labelled(make(10, 0.0, 1, name="s"))
    late = [replace(each, trajectory=replace(each.trajectory, judged_calls=2)) for each in stream]
    done = [replace(each, trajectory=replace(each.trajectory, judged_calls=3)) for each in stream]
    by_all = DetectorBench([reference]).observe(stream, 1)
    by_late = DetectorBench([reference]).observe(late, 1)
    count = {
        name: sum(row.opportunities for row in judgement.evidence if row.category == "UA01")
        for name, judgement in (("all", by_all), ("late", by_late))
    }
    assert count == {"all": 20, "late": 10}
    nothing = DetectorBench([reference]).observe(done, 1)
    assert nothing == Judgement((), (), (), {})


def test_a_reference_never_judges_its_own_data(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    trajectories = make(50, 0.2)
    reference = freeze(trajectories)
    mixed = labelled([*make(5, 0.2, 1, name="s"), *trajectories[:3]])
    with pytest.raises(BaselineError, match=r"fitted on some of the trajectories .*, t0 among"):
        DetectorBench([reference], strict=True).observe(mixed, 1)
    judgement = DetectorBench([reference]).observe(mixed, 1)
    assert {row.trajectory_id for row in judgement.evidence} == {f"s{i}" for i in range(5)}
    own = DetectorBench([reference]).observe(labelled(trajectories), 1)
    assert "clear" not in {verdict.state for verdict in own.verdicts}


def test_inherited_and_emergent_are_told_apart(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    references = [
        freeze(make(500, 0.6), "teacher", "teacher"),
        freeze(make(500, 0.1, 3), "control", "control"),
    ]
    inherited = DetectorBench(references).observe(labelled(make(200, 0.6, 1, name="s")), 1)
    found = {(v.reference, v.category): v for v in inherited.verdicts}
    assert found["control", "UA01"].state == "alarm"
    assert found["control", "UA01"].attribution == "inherited"
    assert found["teacher", "UA01"].state != "alarm"
    emergent = DetectorBench(references).observe(labelled(make(300, 1.0, 1, name="s")), 1)
    words = {v.reference: v.attribution for v in emergent.verdicts if v.category == "UA01"}
    assert words == {"control": "emergent", "teacher": "emergent"}


def test_a_reference_judges_only_the_subjects_it_is_active_for(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    reference = freeze(make(50, 0.2))
    stream = labelled(make(5, 0.2, 1, name="s"))
    for glob, judged in (("", 0), ("test/agent/*", 16), ("prod/*", 0)):
        limited = replace(reference, info=replace(reference.info, active_for=glob))
        assert len(DetectorBench([limited]).observe(stream, 1).verdicts) == judged


def test_states_of_other_references_are_ignored_and_garbage_is_refused(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    reference = freeze(make(50, 0.2))
    states = DetectorBench([reference]).observe(labelled(make(9, 0.2, 1, name="s")), 1).states
    bench = DetectorBench([])
    bench.restore(states)
    for key, data in states.items():
        for broken in (data[:-1], data + b"x", b""):
            with pytest.raises(BaselineError):
                DetectorBench([reference]).restore({key: broken})
    with pytest.raises(BaselineError, match="unknown key"):
        bench.restore({"nonsense": b""})


def test_the_state_of_a_subject_and_reference_fits_64_kb(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    states = DetectorBench([freeze(make(200, 0.2))]).observe(
        labelled(make(300, 0.4, 1, name="s")), 1
    ).states  # fmt: skip
    assert max(map(len, states.values())) < 64 * 1024


@pytest.fixture
def small(make: Make, freeze: Freeze) -> Reference:
    """Fitted once for all examples of a property."""
    return freeze(make(60, 0.2))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_evidence(
    cuts: list[int], make: Make, small: Reference, labelled: LabelAll
) -> None:
    stream = labelled(make(40, 0.5, 1, name="s"))
    whole = DetectorBench([small]).observe(stream, 1)
    bench = DetectorBench([small])
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [bench.observe(stream[a:b], 1) for a, b in pairwise(edges)]
    same(rows([whole]), rows(pieces))


def test_the_budget_is_shared_by_all_streams(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    """With ARL 1 alarms come at once; with the default they need evidence."""
    reference = freeze(make(300, 0.2))
    stream = labelled(make(30, 0.6, 1, name="s"))
    eager = DetectorBench([reference], Settings(arl=1)).observe(stream, 1)
    usual = DetectorBench([reference]).observe(stream, 1)
    at = {v.category: v.alarm_at for v in eager.verdicts}["UA01"]
    assert at is not None
    later = {v.category: v.alarm_at for v in usual.verdicts}["UA01"]
    assert later is None or later > at


def test_importing_the_bench_does_not_import_torch() -> None:
    code = "import sys, detectors.bench; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


def in_parts(item: Labelled, labeller: Labeller, at: int) -> list[Labelled]:
    """The trajectory as it is judged after its first `at` calls, and then as a whole."""
    calls = item.trajectory.calls
    return [
        replace(
            item,
            trajectory=replace(item.trajectory, calls=calls[:end], judged_calls=start),
            labels=labeller.label(calls[:end], ""),
        )
        for start, end in ((0, at), (at, len(calls)))
    ]


def test_a_trajectory_judged_in_parts_leads_once(
    make: Make, freeze: Freeze, labelled: LabelAll, labeller: Labeller
) -> None:
    reference = freeze(make(60, 0.05))
    stream = labelled(make(20, 1.0, 1, name="s", chores=4))
    parts = [part for item in stream for part in in_parts(item, labeller, 3)]
    (alert,) = DetectorBench([reference]).observe(parts, 1).alerts
    assert len(alert.trajectory_ids) == len(set(alert.trajectory_ids)) == 3


def test_a_trajectory_left_out_in_parts_counts_once(
    make: Make, freeze: Freeze, labelled: LabelAll, labeller: Labeller
) -> None:
    own = make(60, 0.3)
    bench = DetectorBench([freeze(own)])
    first = labelled(own[:2])
    stream = [*labelled(make(400, 0.1, 3, name="s")), *in_parts(first[0], labeller, 2), first[1]]
    bench.observe(stream, 1)
    (verdict,) = [v for v in bench.verdicts(stream[0].subject, 1) if v.category == "UA01"]
    assert verdict.state == "insufficient"
    assert verdict.reason == "the reference was fitted on 2 of these trajectories"
    late = DetectorBench([freeze(own)])
    late.observe([*labelled(make(400, 0.1, 3, name="s")), in_parts(first[0], labeller, 2)[1]], 1)
    (verdict,) = [v for v in late.verdicts(stream[0].subject, 1) if v.category == "UA01"]
    assert verdict.reason == "the reference was fitted on 1 of these trajectories"


def graver(item: Labelled) -> Labelled:
    acts = tuple(replace(act, severity="critical") for act in item.labels.actions)
    return replace(item, labels=replace(item.labels, actions=acts))


def test_alerts_on_the_same_acts_are_equally_severe(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    references = [
        freeze(make(60, 0.05)),
        freeze([], "never", "declared", ceilings={"UA01": 0.0}),
    ]
    stream = labelled(make(20, 1.0, 1, name="s"))
    for items, severity in ((stream, "high"), ([graver(each) for each in stream], "critical")):
        bench = DetectorBench(references)
        alerts = [*bench.limits(items, 1), *bench.observe(items, 1).alerts]
        assert {alert.kind for alert in alerts} == {"ceiling", "drift"}
        assert {alert.severity for alert in alerts} == {severity}


def test_the_severity_is_that_of_the_acts_that_raised_it(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    reference = freeze(make(60, 0.05))
    stream = labelled(make(20, 1.0, 1, name="s"))
    (alert,) = DetectorBench([reference]).observe(stream, 1).alerts
    assert alert.verdict is not None
    place = (alert.verdict.alarm_at or 0) - 1
    for graves, severity in (({place}, "critical"), ({place + 1}, "high")):
        items = [graver(each) if n in graves else each for n, each in enumerate(stream)]
        for batch in (items, items[: place + 1]):
            (alert,) = DetectorBench([reference]).observe(batch, 1).alerts
            assert alert.severity == severity
