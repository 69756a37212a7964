"""Fitting and freezing references, also from next to nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS, Labels
from contracts.ports import Labelled, Labeller
from contracts.trajectory import Subject, Trajectory
from detectors.baseline import ROLE_FACTOR, FitSettings, Reference, fit_baseline, widened
from detectors.bench import DetectorBench
from detectors.features import encode
from detectors.sequential import NO_CONTEXT, Opportunities, Settings
from detectors.upper_hazard import CONTEXTS_FROM, calibrate

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]
LabelAll = Callable[[list[Trajectory]], list[Labelled]]
SUBJECT = Subject("test", "agent", "1", "student")


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_trajectories_are_a_clear_error(make: Make, freeze: Freeze, count: int) -> None:
    with pytest.raises(BaselineError, match=f"^{count} trajectories .* at least 4"):
        freeze(make(count, 0.1))


def test_five_trajectories_make_a_reference_that_never_says_clear(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    bench = DetectorBench([freeze(make(5, 0.0))])
    judgement = bench.observe(labelled(make(2000, 0.0, 1, name="s")), 1)
    assert {verdict.state for verdict in judgement.verdicts} <= {"insufficient", "blind"}


def test_a_category_never_seen_is_blind_and_the_others_work(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    bench = DetectorBench([freeze(make(600, 0.1))])
    judgement = bench.observe(labelled(make(1500, 0.1, 1, name="s")), 1)
    states = {verdict.category: verdict.state for verdict in judgement.verdicts}
    assert states["UA05"] == "blind"
    assert states["UA01"] == "clear"


def test_trajectories_without_calls_or_labels_can_be_fitted(make: Make, tmp_path: Path) -> None:
    class Nothing:
        def label(self, calls: object, request: str = "") -> Labels:
            return Labels((), ())

    empty = [replace(each, calls=()) for each in make(6, 0.0)]
    folder, info = fit_baseline("x", "base", empty, Nothing(), "true", FitSettings(tmp_path, 1))
    assert info.calls == 0
    encoded = encode(make(1, 0.0)[0], Labels((), ()))
    assert len(Reference.load(folder).opportunities(encoded)) == 2


def test_the_manifest_says_where_it_came_from(make: Make, freeze: Freeze) -> None:
    reference = freeze(make(20, 0.2), name="n", kind="control", rules_digest="abc")
    info = reference.info
    assert (info.name, info.kind, info.trajectories, info.calls) == ("n", "control", 20, 60)
    assert info.subjects == ("test/agent/1/m",)
    assert len(info.trajectories_digest) == 64
    again = freeze(make(20, 0.2), name="n", kind="control", rules_digest="abc")
    assert again.info.digest == info.digest


def test_neither_targets_nor_ids_stand_in_the_files(make: Make, freeze: Freeze) -> None:
    reference = freeze(make(20, 0.2, name="secret-customer-"))
    stored = b"".join(path.read_bytes() for path in Path(reference.info.path).iterdir())
    assert b"/srv" not in stored
    assert b"secret-customer-" not in stored


def test_targets_are_known_by_role_and_key(make: Make, freeze: Freeze) -> None:
    trajectories = make(20, 0.2)
    reference = freeze(trajectories)
    call = trajectories[0].calls[1]
    assert reference.new_targets("svc/agent", call, b"k") == []
    assert reference.new_targets("svc/other", call, b"k") == [("path", "/srv/0")]
    assert reference.new_targets("svc/agent", call, b"another") == [("path", "/srv/0")]


def test_a_reference_knows_what_it_was_fitted_on(make: Make, freeze: Freeze) -> None:
    reference = freeze(make(20, 0.2))
    assert reference.fitted_on(["t3", "s3", "t19", "t20"]) == ["t3", "t19"]


def test_an_unknown_role_is_outside_the_reference(
    make: Make, freeze: Freeze, labeller: Labeller
) -> None:
    reference = freeze(make(40, 0.2))
    stranger = make(1, 0.0, agent="stranger")[0]
    encoded = encode(stranger, labeller.label(stranger.calls))
    for track in reference.opportunities(encoded):
        assert set(track.cell.tolist()) == {NO_CONTEXT}


def test_rare_roles_share_the_last_context(make: Make, freeze: Freeze) -> None:
    trajectories = [
        replace(each, agent=f"agent{number % 30}") for number, each in enumerate(make(120, 0.2))
    ]
    roles = freeze(trajectories).roles
    assert len(roles) == 30
    assert set(roles.values()) == set(range(12))


@pytest.mark.parametrize("ceilings", [{}, {"UA99": 0.1}, {"UA01": 1.0}, {"UA01": -0.1}])
def test_ceilings_must_be_rates_of_known_categories(
    tmp_path: Path, labeller: Labeller, ceilings: dict[str, float]
) -> None:
    with pytest.raises(BaselineError):
        fit_baseline("c", "declared", [], labeller, "", FitSettings(tmp_path, 1, ceilings=ceilings))


def test_a_declared_ceiling_needs_no_data(
    tmp_path: Path, labeller: Labeller, make: Make, labelled: LabelAll
) -> None:
    settings = FitSettings(tmp_path, 1, ceilings={"UA01": 0.05})
    folder, info = fit_baseline("c", "declared", [], labeller, "", settings)
    assert info.trajectories == 0
    bench = DetectorBench([Reference.load(folder, active_for="*")])
    judgement = bench.observe(labelled(make(200, 0.5)), 1)
    states = {verdict.category: verdict.state for verdict in judgement.verdicts}
    assert states["UA01"] == "alarm"
    assert states["UA13"] == "blind"


def test_the_folds_hazards_are_calibrated_on_held_out_data(make: Make, freeze: Freeze) -> None:
    reference = freeze(make(800, 0.2))
    k = CATEGORY_IDS.index("UA01")
    calibration = reference.calibrations[0]
    ratio = calibration.observed[k, 0] / calibration.expected[k, 0]
    assert 0.9 <= ratio <= 1.1


def test_roles_without_events_keep_the_bound_of_their_own_exposure() -> None:
    def role(number: int, count: int, taken: int) -> list[Opportunities]:
        flags = [True] * taken + [False] * (count - taken)
        return [Opportunities.of([0], [0.01], [flag], cell=[number]) for flag in flags]

    few = calibrate(role(0, 60, 0) + role(1, 30, 0), 2, Settings())
    wide = widened(few, 0.05)
    # Garwood: 0 events in an exposure of 0.3 expected ones, upper 95 % = 3.0 / 0.3
    assert wide.upper[0, CONTEXTS_FROM + 1] == pytest.approx(2.9957 / 0.3, rel=1e-3)
    uneven = widened(calibrate(role(0, 900, 0) + role(1, 30, 0), 2, Settings()), 0.05)
    assert uneven.upper[0, CONTEXTS_FROM + 1] == pytest.approx(ROLE_FACTOR * uneven.upper[0, 0])
    many = calibrate(role(0, 900, 90) + role(1, 300, 30), 2, Settings())
    assert np.all(widened(many, 0.05).upper >= many.upper)
    assert widened(many, 0.05).upper[0, CONTEXTS_FROM + 1] < 1.3 * many.upper[0, 0]
