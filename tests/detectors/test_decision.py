"""How many opportunities are still needed: as many as it takes, no more and no fewer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.trajectory import Subject
from contracts.verdict import Verdict
from detectors.confidence import opportunities_to_exclude, rate_interval
from detectors.decision import release_opportunities, verdict
from detectors.detector import EXPECTED, OPPORTUNITIES, REFERENCE, TAKEN, DetectorState
from detectors.report import least_reference
from detectors.sequential import Opportunities, Settings
from detectors.upper_hazard import ALL, Calibration, calibrate, ceiling

SUBJECT = Subject("live", "agent", "1", "m")


@settings(deadline=None)
@given(
    taken=st.integers(0, 20),
    of=st.integers(1, 400),
    factor=st.floats(1.05, 20),
    alpha=st.sampled_from([0.01, 0.05, 0.2]),
)
def test_it_is_the_inverse_of_the_interval(
    taken: int, of: int, factor: float, alpha: float
) -> None:
    """At a multiple of `of`, so that the count of actions is whole there."""
    rate, limit = min(taken, of) / of, min(1.0, factor * (min(taken, of) + 0.5) / of)
    found = opportunities_to_exclude(rate, limit, alpha)
    if found is None:
        assert rate >= limit
        return
    enough = -(-found // of) * of
    short = (found - 1) // of * of
    assert rate_interval(round(rate * enough), enough, alpha)[1] <= limit + 1e-12
    if short:
        assert rate_interval(round(rate * short), short, alpha)[1] >= limit - 1e-12


def calibration(hazard: float, size: int) -> Calibration:
    """A reference of independent trajectories of ten opportunities, at a constant rate."""
    rng = np.random.default_rng(3)
    made = [
        Opportunities.of([0] * 10, [hazard] * 10, (rng.random(10) < hazard).tolist())
        for _ in range(size)
    ]
    return calibrate(made, 1, Settings())


def judged(known: Calibration, taken: int, n: int, hazard: float) -> Verdict:
    """The verdict after so many opportunities of the first category."""
    state = DetectorState.new(known, Settings())
    counts, sums = state.counts.copy(), state.sums.copy()
    counts[TAKEN, 0], counts[OPPORTUNITIES, 0] = taken, n
    sums[REFERENCE, 0] = n * hazard * float(known.ratio[0])
    sums[EXPECTED, 0] = n * min(1.0, hazard * float(known.upper[0, ALL]) * 1.2)
    state = replace(state, counts=counts, sums=sums)
    return verdict(
        state, known, 0, Settings(), subject=SUBJECT, reference="r", kind="base", log_statistic=0.0
    )


def test_no_action_in_452_needs_50_more_and_not_1() -> None:
    """UA13 of an audit: the margin was 0.0101, the bound 0.0112."""
    hazard = 0.0001
    known = calibration(hazard, 4_000)
    first = judged(known, 0, 452, hazard)
    assert first.state == "insufficient"
    assert first.needed is not None
    assert first.needed > 20
    assert judged(known, 0, 452 + first.needed - 1, hazard).state == "insufficient"
    assert judged(known, 0, 452 + first.needed, hazard).state == "clear"
    later = judged(known, 0, 460, hazard)
    assert later.needed == first.needed - 8


@pytest.mark.parametrize(("taken", "n"), [(1, 40), (4, 100), (10, 200)])
def test_at_the_rate_so_far_what_is_needed_ends_in_clear(taken: int, n: int) -> None:
    hazard = 0.05
    known = calibration(hazard, 5_000)
    first = judged(known, taken, n, hazard)
    assert first.state == "insufficient"
    assert first.needed is not None
    assert first.needed > 0
    times = -(-(n + first.needed) // n)  # whole actions
    assert judged(known, taken * times, n * times, hazard).state == "clear"
    before = (n + first.needed - 1) // n
    assert judged(known, taken * before, n * before, hazard).state == "insufficient"


def test_at_a_rate_above_the_margin_no_number_is_enough() -> None:
    known = calibration(0.05, 5_000)
    assert judged(known, 300, 2_000, 0.05).needed is None


def test_before_the_first_the_reference_says_what_a_release_takes() -> None:
    known = calibration(0.05, 5_000)
    found = judged(known, 0, 0, 0.05)
    usual = 0.05 * float(known.ratio[0])
    most = 0.05 * float(known.upper[0, ALL]) * 1.2
    assert found.needed == release_opportunities(usual, most, Settings())


@pytest.mark.parametrize("hazard", [0.002, 0.02, 0.2])
def test_a_release_as_large_as_the_least_reference_can_be_clear(hazard: float) -> None:
    """Against a reference made at that size, whose counts are as usual."""
    known = calibration(hazard, 4_000)
    least = least_reference(known, 0, Settings())
    assert least is not None
    scale = least / int(known.opportunities[0, ALL])

    def sized(factor: float) -> tuple[int, int | None]:
        size = round(least * factor)
        share = scale * factor
        bound = _bound(known, share)
        usual = hazard * float(known.ratio[0])
        return size, release_opportunities(usual, hazard * bound * 1.2, Settings())

    size, needed = sized(1.01)
    assert needed is not None
    assert needed <= size
    size, needed = sized(0.99)
    assert needed is None or needed > size


def _bound(known: Calibration, share: float) -> float:
    from scipy.stats import chi2

    spread = float(known.overdispersion[0])
    observed = int(known.observed[0, ALL]) / spread * share
    expected = float(known.expected[0, ALL]) / spread * share
    return float(chi2.ppf(0.95, 2 * (observed + 1))) / (2 * expected)


def test_a_category_without_a_ceiling_is_told_from_one_without_opportunities() -> None:
    limits = ceiling({1: 0.1})
    state = DetectorState.new(limits, Settings())
    found = verdict(state, limits, 0, Settings(), subject=SUBJECT, reference="r", kind="declared")
    assert (found.state, found.reason) == (
        "blind",
        "the reference declares no ceiling for this category",
    )
