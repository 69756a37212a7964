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
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.bench import DetectorBench
from detectors.features import encode
from detectors.roles import widened
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


def _role(number: int, count: int, taken: int) -> list[Opportunities]:
    flags = [True] * taken + [False] * (count - taken)
    return [Opportunities.of([0], [0.01], [flag], cell=[number]) for flag in flags]


def test_how_far_a_role_is_trusted_depends_on_what_the_roles_tell() -> None:
    def factor(*roles: tuple[int, int]) -> float:
        """The last role's bound over the overall one."""
        every = [
            each
            for number, (count, taken) in enumerate(roles)
            for each in _role(number, count, taken)
        ]
        before = calibrate(every, len(roles), Settings())
        after = widened(before, 0.05)
        assert np.all(after.upper >= before.upper)
        return float(after.upper[0, CONTEXTS_FROM + len(roles) - 1] / after.upper[0, 0])

    unknown = factor((900, 9), (30, 0))
    alike = factor(*[(3_000, 30)] * 6, (3_000, 30))
    stranger = factor(*[(3_000, 30)] * 6, (30, 0))
    differing = factor((3_000, 3), (3_000, 90), (3_000, 10), (3_000, 60), (30, 0))
    assert 1.5 < unknown < 6
    assert alike < 1.4
    assert alike <= stranger < differing
    assert factor((900, 9)) == 1.0


@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_the_bound_holds_for_a_new_role_as_often_as_it_says(spread: float) -> None:
    rng = np.random.default_rng(5)
    held: list[bool] = []
    for _ in range(200):
        factors: list[float] = rng.gamma(1 / spread**2, spread**2, 6).tolist()
        counts = [400] * 5 + [20]
        every = [
            each
            for number, (count, g) in enumerate(zip(counts, factors, strict=True))
            for each in _role(number, count, int(rng.binomial(count, min(1.0, 0.01 * g))))
        ]
        bound = widened(calibrate(every, 6, Settings()), 0.05).upper[0, CONTEXTS_FROM + 5]
        held.append(bool(bound >= factors[5]))
    assert np.mean(held) >= 0.95
