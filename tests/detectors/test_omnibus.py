"""The two-sample test by betting: keeps its error rate, sees a change of shape."""

import math

import numpy as np
import pytest

from contracts.errors import BaselineError
from detectors.omnibus import OmnibusState, drifted, observe


def run(shift: float, pairs: int, rng: np.random.Generator) -> OmnibusState:
    state = OmnibusState.new(4)
    for _ in range(pairs):
        student, reference = rng.normal(size=4), rng.normal(size=4)
        student[0] += shift
        state = observe(state, student, reference)
        if drifted(state, 0.1):
            break
    return state


def test_equal_distributions_are_rarely_called_different() -> None:
    """150 runs of 200 pairs at alpha 0.1, stopped at the first crossing: more than 28 crossings of
    150 have a chance below 1e-3.
    """
    rng = np.random.default_rng(0)
    assert sum(drifted(run(0.0, 200, rng), 0.1) for _ in range(150)) <= 28


def test_a_shift_of_one_standard_deviation_is_seen() -> None:
    """In at least 18 of 20 runs of 400 pairs."""
    rng = np.random.default_rng(1)
    assert sum(drifted(run(1.0, 400, rng), 0.1) for _ in range(20)) >= 18


def test_wealth_never_goes_below_half_a_bet() -> None:
    state = run(0.0, 100, np.random.default_rng(2))
    assert math.isfinite(state.log_wealth)
    assert 0 <= state.bet <= 0.5


def test_features_that_are_not_finite_are_passed_by() -> None:
    state = OmnibusState.new(2)
    assert observe(state, np.array([np.nan, 0.0]), np.zeros(2)) is state
    assert observe(state, np.zeros(2), np.array([np.inf, 0.0])) is state


def test_state_round_trip() -> None:
    state = run(0.5, 30, np.random.default_rng(3))
    data = state.to_bytes()
    back = OmnibusState.from_bytes(data)
    assert back.to_bytes() == data
    assert (back.weights == state.weights).all()
    for wrong in (b"", data[:-1], b"XXXX" + data[4:]):
        with pytest.raises(BaselineError):
            OmnibusState.from_bytes(wrong)
