"""Fitting and freezing references, also from next to nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS, Labels
from contracts.ports import Labelled, Labeller
from contracts.span import Value
from contracts.trajectory import Subject, Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.bench import DetectorBench
from detectors.features import encode
from detectors.hazard import RUNGS
from detectors.roles import widened
from detectors.sequential import NO_CONTEXT, Opportunities, Settings
from detectors.train import TrainSettings
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


@pytest.mark.parametrize("count", [4, 5, 11])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_every_rung_can_be_fitted_on_next_to_nothing(
    make: Make, freeze: Freeze, labelled: LabelAll, count: int, rate: float
) -> None:
    reference = freeze(make(count, rate), train=TrainSettings(recurrent_from=0))
    assert set(reference.document["likelihood"]) == set(RUNGS)
    states = {
        verdict.state
        for verdict in DetectorBench([reference])
        .observe(labelled(make(50, rate, 1, name="s")), 1)
        .verdicts
    }
    assert states <= {"insufficient", "blind"}


def test_a_role_with_one_trajectory_counts_and_never_makes_a_verdict_clear(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    lone = make(1, 0.0, 3, name="lone", agent="lone")
    lone = [replace(each, agent="lone") for each in lone]
    reference = freeze(make(300, 0.1) + lone)
    assert set(reference.roles) == {"svc/agent", "svc/lone"}
    fresh = [replace(each, agent="lone") for each in make(20, 0.1, 1, name="s", agent="lone")]
    states = {
        verdict.category: verdict.state
        for verdict in DetectorBench([reference]).observe(labelled(fresh), 1).verdicts
    }
    assert states["UA01"] == "insufficient"


def test_numbers_that_are_none_change_no_feature_to_one_that_is_none(
    make: Make, freeze: Freeze, labeller: Labeller
) -> None:
    """Infinite and undefined values, huge numbers and clocks running backwards in what is read."""
    nan, infinite = float("nan"), float("inf")
    odd_values: list[Value] = [nan, infinite, -infinite, 10**400, 1e308, {"x": nan}]
    odd = [
        replace(
            each,
            calls=tuple(
                replace(
                    call,
                    result=value,
                    arguments={"how": "archive", "size": value},
                    started_ns=clock,
                    duration_ns=-clock,
                )
                for call, clock in zip(each.calls, (2**63 - 1, 0, -(2**63)), strict=True)
            ),
        )
        for each, value in zip(
            make(60, 0.2),
            odd_values * 10,
            strict=True,
        )
    ]
    reference = freeze(make(60, 0.2, 1, name="plain") + odd)
    encoded = [encode(each, labeller.label(each.calls)) for each in odd]
    assert all(each.features.dtype == each.tokens.dtype == np.int64 for each in encoded)
    for tracks in reference.many(encoded, [0] * len(encoded)):
        for track in tracks:
            assert bool(((track.hazard >= 0) & (track.hazard <= 1)).all())


def test_two_fits_of_the_same_data_write_the_same_bytes(
    make: Make, labeller: Labeller, tmp_path: Path
) -> None:
    train = TrainSettings(rungs=("recurrent",), recurrent_from=0, recurrent_epochs=3)
    contents: list[dict[str, bytes]] = []
    for number in range(2):
        settings = FitSettings(tmp_path / str(number), number, target_key=b"k", train=train)
        folder, _ = fit_baseline("x", "base", make(80, 0.2), labeller, "true", settings)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    one, two = contents
    assert one["baseline.json"] == two["baseline.json"]
    assert one["weights.safetensors"] == two["weights.safetensors"]
    heads = [orjson.loads(each["manifest.json"]) for each in contents]
    assert [head.pop("created_ns") for head in heads] == [0, 1]
    assert heads[0] == heads[1]


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
    yes, no = (Opportunities.of([0], [0.01], [flag], cell=[number]) for flag in (True, False))
    return [yes] * taken + [no] * (count - taken)


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
