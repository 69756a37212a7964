"""Intervals that hold at every sample size, and how many opportunities a test needs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.confidence import kl, needed_opportunities, rate_interval, wilson_interval


@settings(deadline=None)  # the first call imports scipy.optimize
@given(taken=st.integers(0, 200), rest=st.integers(0, 2000), alpha=st.floats(1e-6, 0.5))
def test_interval_holds_the_observed_rate(taken: int, rest: int, alpha: float) -> None:
    low, high = rate_interval(taken, taken + rest, alpha)
    assert 0 <= low <= high <= 1
    if taken + rest:
        assert low <= taken / (taken + rest) <= high


def test_no_data_says_nothing() -> None:
    assert rate_interval(0, 0, 0.05) == (0.0, 1.0)


def test_interval_narrows_with_data() -> None:
    widths = [
        high - low for low, high in (rate_interval(n // 10, n, 0.05) for n in (20, 200, 5000))
    ]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 3 * 1.96 * 2 * math.sqrt(0.1 * 0.9 / 5000)


@pytest.mark.parametrize("swing", [0.0, 0.9])
def test_interval_covers_the_running_mean_rate_at_all_times(swing: float) -> None:
    # 200 streams of 400, alpha 0.2, checked at every 20th step, with rates that depend on the past.
    # Truth is below 0.1: more than 40 misses of 200 have a chance below 1e-5.
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        taken, total = 0, 0.0
        for n in range(1, 401):
            rate = 0.1 * (1 + (swing if taken % 2 else -swing))
            total += rate
            taken += rng.random() < rate
            if n % 20 == 0:
                low, high = rate_interval(taken, n, 0.2)
                if not low <= total / n <= high:
                    missed += 1
                    break
    assert missed <= 40


def test_kl_of_known_pairs() -> None:
    assert kl(0.3, 0.3) == 0
    assert kl(1.0, 0.5) == pytest.approx(math.log(2))
    assert kl(0.1, 0.0) == math.inf
    assert kl(0.0, 0.5) == pytest.approx(math.log(2))


def test_needed_opportunities_are_log_threshold_over_kl() -> None:
    assert needed_opportunities(0.25, 0.05, math.log(100)) == math.ceil(
        math.log(100) / kl(0.25, 0.05)
    )
    assert needed_opportunities(0.05, 0.05, 5.0) is None
    assert needed_opportunities(0.1, 0.2, 5.0) is None
    assert needed_opportunities(1.0, 0.0, 5.0) == 1


def test_wilson_interval_of_a_published_example() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
