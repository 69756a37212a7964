"""The elementary e-values, and the run length their detector guarantees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.bets import BETS, Bet, log_increments, shares, tilt, towards
from detectors.sequential import Opportunities, Settings, shiryaev_roberts

bets = st.one_of(
    st.builds(tilt, st.floats(1.001, 1000), st.just(1.0)),
    st.builds(towards, st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.just(1.0)),
)


@given(upper=st.floats(1e-300, 1), share=st.floats(0, 1), bet=bets)
def test_increment_has_mean_at_most_one_under_the_null(
    upper: float, share: float, bet: Bet
) -> None:
    rate = upper * share
    both = log_increments(np.array([upper, upper]), np.array([True, False]), [bet])
    won, lost = np.exp(both[:, 0])
    assert rate * won + (1 - rate) * lost <= 1 + 1e-9


@given(upper=st.floats(1e-9, 1 - 1e-9), bet=bets)
def test_increment_has_mean_one_at_the_boundary_and_never_bets_on_a_fall(
    upper: float, bet: Bet
) -> None:
    both = log_increments(np.array([upper, upper]), np.array([True, False]), [bet])
    won, lost = np.exp(both[:, 0])
    assert upper * won + (1 - upper) * lost == pytest.approx(1)
    assert won >= 1 - 1e-12


def test_what_a_limit_of_zero_forbids_settles_the_matter() -> None:
    got = log_increments(np.zeros(2), np.array([True, False]), BETS)
    assert (got[0] == 1000).all()
    assert (got[1] == 0).all()


def test_what_always_happens_is_no_evidence() -> None:
    got = log_increments(np.ones(2), np.array([True, False]), BETS)
    assert got[0] == pytest.approx(0)
    assert np.isfinite(got[1]).all()
    assert (got[1] <= 0).all()


def test_a_tilt_multiplies_the_odds() -> None:
    u, odds = 0.1, 4.0
    tilted = u * odds / (1 - u + u * odds)
    taken = np.array([True, False])
    got = np.exp(log_increments(np.array([u, u]), taken, [tilt(odds, 1.0)])[:, 0])
    assert got == pytest.approx([tilted / u, (1 - tilted) / (1 - u)])


def test_a_bet_towards_a_level_goes_a_share_of_the_way_and_not_past_what_is_usual() -> None:
    usual, taken = np.array([0.1, 0.9]), np.array([True, True])
    got = np.exp(log_increments(usual, taken, [towards(0.5, 0.5, 1.0)])[:, 0])
    assert got == pytest.approx([0.25 / 0.1, 1.0])  # odds 1/9 and 1: half the way is 1/3


@pytest.mark.parametrize("wrong", [0.0, 1.0, float("nan")])
def test_bets_refuse_what_is_no_rise(wrong: float) -> None:
    with pytest.raises(ValueError, match="above 1"):
        tilt(wrong, 1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        towards(wrong, 0.5, 1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        towards(0.5, wrong, 1.0)


def test_shiryaev_roberts_is_the_sum_over_starting_times() -> None:
    steps = np.random.default_rng(0).normal(size=8)
    log_m = np.array(-np.inf)
    for step in steps:
        log_m = shiryaev_roberts(log_m, np.array(step), np.array(1.0))
    direct = sum(float(np.exp(steps[start:].sum())) for start in range(len(steps)))
    assert float(np.exp(log_m)) == pytest.approx(direct)


def test_steps_without_an_increment_can_be_added_later() -> None:
    step, none = np.array(0.7), np.array(0.0)
    one_by_one = np.array(-np.inf)
    for each in (none, none, step):
        one_by_one = shiryaev_roberts(one_by_one, each, np.array(1.0))
    together = shiryaev_roberts(np.array(-np.inf), step, np.array(3.0))
    assert float(together) == pytest.approx(float(one_by_one))


def test_mean_run_length_is_at_least_the_threshold() -> None:
    # 400 streams at the boundary, threshold 40. Truth is about 60, the standard error 3: a mean
    # below 40 would have a chance below 1e-9.
    rng = np.random.default_rng(1)
    log_m, lengths = np.full((400, 1), -np.inf), np.zeros(400)
    running = np.ones(400, np.bool_)
    for step in range(1, 2000):
        upper = np.full(400, 0.1)
        taken = rng.random(400) < upper
        log_m = shiryaev_roberts(
            log_m, log_increments(upper, taken, [tilt(4.0, 1.0)]), np.ones((400, 1))
        )
        done = running & (log_m[:, 0] >= np.log(40.0))
        lengths[done], running[done] = step, False
    assert not running.any()
    assert lengths.mean() >= 40


def test_shares_are_distributions_and_parts_bet_on_the_factors_between() -> None:
    whole, part = shares(BETS)
    assert whole.sum() == pytest.approx(1)
    assert part.sum() == pytest.approx(1)
    assert (whole > 0).all()
    assert part[:2].tolist() == [0, 0]
    assert shares([tilt(1.5, 1.0)])[1].tolist() == [1.0]


def test_opportunities_refuse_arrays_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="one shape"):
        Opportunities.of([0, 1], [0.1], [True, False])


@pytest.mark.parametrize(
    "wrong",
    [{"arl": 0.5}, {"alpha": 0.0}, {"tau": -0.1}, {"delta": 0.0}, {"margin": 1.1}, {"bets": ()}],
)
def test_settings_refuse_what_has_no_meaning(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needed"):
        Settings(**wrong)  # type: ignore[arg-type]  # wrong on purpose
