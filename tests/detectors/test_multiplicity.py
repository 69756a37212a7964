"""False discoveries over many e-values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.multiplicity import e_bh, spent


def test_discoveries_of_a_worked_example() -> None:
    # n = 4, alpha = 0.1: thresholds 40, 20, 13.3, 10. Third largest is 15 >= 13.3, fourth 2 < 10.
    values = [math.log10(e) for e in (15.0, 2.0, 100.0, 18.0)]
    assert e_bh(values, 0.1).tolist() == [True, False, True, True]


@given(st.lists(st.floats(-3, 6), max_size=30), st.floats(0.001, 0.5))
def test_alone_each_discovery_has_at_least_the_last_threshold(
    values: list[float], alpha: float
) -> None:
    found = e_bh(values, alpha)
    count = int(found.sum())
    if count:
        least = min(value for value, hit in zip(values, found, strict=True) if hit)
        assert least >= math.log10(len(values) / (count * alpha)) - 1e-9
        assert all(hit or value <= least for value, hit in zip(values, found, strict=True))


def test_rate_of_false_discoveries_under_dependence() -> None:
    # 2,000 rounds of 20 nulls that share one e-value, E[e] = 1 (80 with chance 1/80): the share of
    # rounds with a discovery at alpha 0.1 is 1/80; above 0.1 has a chance below 1e-9.
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(2000):
        e = 80.0 if rng.random() < 1 / 80 else 1e-9
        hits += bool(e_bh([math.log10(e)] * 20, 0.1).any())
    assert 0 < hits <= 200


def test_nan_is_never_a_discovery_and_nothing_gives_nothing() -> None:
    assert e_bh([math.nan, 9.0], 0.05).tolist() == [False, True]
    assert len(e_bh([], 0.05)) == 0
    with pytest.raises(ValueError, match="alpha"):
        e_bh([1.0], 1.0)


def test_spending_never_passes_alpha() -> None:
    total = sum(spent(0.05, stage) for stage in range(1, 20_000))
    assert 0.0499 < total <= 0.05
    with pytest.raises(ValueError, match="stages"):
        spent(0.05, 0)
