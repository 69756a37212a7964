"""The calibrated threshold that a baseline freezes: what it keeps, who has none."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from contracts.ports import Labelled
from contracts.trajectory import Trajectory
from detectors.allowance import KEY, allowances, calibrated_threshold
from detectors.baseline import Reference
from detectors.bench import DetectorBench
from detectors.run_length import first_passage, paths, pool
from detectors.sequential import Opportunities, Settings
from detectors.threshold import guaranteed
from detectors.upper_hazard import calibrate

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]
LabelAll = Callable[[list[Trajectory]], list[Labelled]]
ARL = 200.0


def trajectories(count: int, seed: int) -> list[Opportunities]:
    """A common category and one ten times rarer."""
    rng = np.random.default_rng(seed)
    return [
        Opportunities.of([0, 1], [0.2, 0.02], [rng.random() < 0.2, rng.random() < 0.02])
        for _ in range(count)
    ]


def test_the_run_length_holds_in_every_category_for_a_small_reference() -> None:
    """400 streams of 6 ARL each per category at the boundary, about 400 alarms: a realised ARL
    under 0.8 of the nominal has a chance below 1e-4 where the threshold is right.
    """
    how = Settings(arl=ARL, categories=1)
    own = trajectories(300, 0)
    made, rng = calibrate(own, 0, how), np.random.default_rng(1)
    nothing = [Opportunities.of([], [], [])] * len(own)
    found = allowances(how, [made, made], [*zip(own, nothing, strict=True)], rng)
    assert found["orders"] == 0.0
    assert 0.0 < found["acts"] < math.log(3)
    limit = calibrated_threshold({KEY: found}, 0, how)
    assert limit is not None
    assert limit == pytest.approx(guaranteed(how) - found["acts"])
    for category in (0, 1):
        path = paths(pool(made, own * 20, category, how, rng), None, 0, 1200, 400, rng)
        reached = first_passage(path, math.exp(limit))
        exposure = np.where(reached > 0, reached, len(path)).sum()
        assert exposure / (reached > 0).sum() >= 0.8 * ARL


def test_too_few_trajectories_keep_the_guaranteed_threshold() -> None:
    own = trajectories(99, 2)
    made = calibrate(own, 0, Settings())
    both = [*zip(own, own, strict=True)]
    found = allowances(Settings(), [made, made], both, np.random.default_rng(3))
    assert (found["acts"], found["orders"]) == (0.0, 0.0)


def test_another_materiality_a_gate_and_a_ceiling_have_none() -> None:
    document = {KEY: {"tau": 0.2, "acts": 0.5, "orders": 0.1}}
    assert calibrated_threshold(document, 1, Settings()) == guaranteed(Settings()) - 0.1
    assert calibrated_threshold(document, 0, Settings(tau=0.5)) is None
    assert calibrated_threshold(document, 0, Settings(mode="gate")) is None
    assert calibrated_threshold({}, 0, Settings()) is None


def test_the_same_trajectories_freeze_the_same(make: Make, freeze: Freeze) -> None:
    one, two = freeze(make(150, 0.2)), freeze(make(150, 0.2))
    assert one.info.digest == two.info.digest
    assert one.document[KEY]["acts"] > 0


def test_pages_come_at_the_calibrated_threshold_where_that_is_asked(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    reference = freeze(make(400, 0.2))
    stream = labelled(make(120, 0.6, 1, name="s"))
    usual = DetectorBench([reference]).observe(stream, 1)
    early = DetectorBench([reference], replace(Settings(), calibrated=True)).observe(stream, 1)
    (one,), (two,) = (
        [verdict for verdict in each.verdicts if verdict.category == "UA01"]
        for each in (usual, early)
    )
    assert one.alarm_at is not None
    assert two.alarm_at is not None
    assert two.alarm_at == two.calibrated_at == one.calibrated_at
    assert two.alarm_at <= one.alarm_at
    assert len(early.alerts) == len(usual.alerts) == 1
