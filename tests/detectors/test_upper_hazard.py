"""Upper hazards: exact where they can be, never below the overall bound, wide when data are few."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from contracts.errors import BaselineError
from detectors.sequential import NO_CONTEXT, Opportunities, Settings
from detectors.upper_hazard import (
    AFTER_ERROR,
    ALL,
    CONTEXTS_FROM,
    REPEATED,
    Calibration,
    calibrate,
    ceiling,
    cells_of,
    repeated,
    upper_hazards,
)

SETTINGS = Settings()


def singles(taken: Sequence[bool], hazard: float, cell: int = 0) -> list[Opportunities]:
    """One opportunity of category 0 a trajectory."""
    return [Opportunities.of([0], [hazard], [x], [cell]) for x in taken]


def test_overall_bound_is_the_exact_poisson_bound() -> None:
    made = calibrate(singles([True] * 7 + [False] * 193, 0.03), 1, SETTINGS)
    assert made.observed[0, ALL] == 7
    assert made.expected[0, ALL] == pytest.approx(6.0)
    assert made.upper[0, ALL] == pytest.approx(chi2.ppf(0.95, 2 * 8) / (2 * 6.0))


def test_bound_covers_the_true_ratio() -> None:
    # 400 references of 300, true ratio 1.3, delta 0.05: misses are Binomial(400, <= 0.05); more
    # than 36 have a chance below 1e-3 (exact Poisson bounds are conservative, so less).
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(400):
        taken = rng.random(300) < 0.05 * 1.3
        missed += calibrate(singles(taken.tolist(), 0.05), 1, SETTINGS).upper[0, ALL] < 1.3
    assert missed <= 36


def test_a_category_never_seen_taken_gets_three_over_expected() -> None:
    made = calibrate(singles([False] * 500, 0.002), 1, SETTINGS)
    assert made.upper[0, ALL] == pytest.approx(2.9957, rel=1e-3)
    assert not made.knows()[1:].any()


def test_no_cell_is_below_the_overall_bound_and_a_worse_cell_is_above() -> None:
    rng = np.random.default_rng(5)
    mild = [Opportunities.of([0], [0.1], [bool(rng.random() < 0.05)], [0]) for _ in range(2000)]
    harsh = [
        Opportunities.of([0], [0.1], [bool(rng.random() < 0.3)], [1], [True]) for _ in range(500)
    ]
    made = calibrate(mild + harsh, 2, SETTINGS)
    assert (made.upper[0] >= made.upper[0, ALL]).all()
    assert made.upper[0, AFTER_ERROR] > 2.5
    assert made.upper[0, CONTEXTS_FROM + 1] > 2.5
    assert made.upper[0, CONTEXTS_FROM] == made.upper[0, ALL]


def test_dependence_within_a_trajectory_raises_the_hazard_of_repeats() -> None:
    rng = np.random.default_rng(6)
    reference: list[Opportunities] = []
    for _ in range(3000):
        rate = 0.5 if rng.random() < 0.1 else 0.0
        reference.append(Opportunities.of([0] * 4, [0.05] * 4, (rng.random(4) < rate).tolist()))
    made = calibrate(reference, 1, SETTINGS)
    assert made.overdispersion[0] > 2
    assert made.upper[0, REPEATED] > 5


def test_dependence_between_trajectories_widens_the_overall_bound() -> None:
    rng = np.random.default_rng(7)
    rates = np.repeat(rng.choice([0.0, 0.2], 60), 20)
    reference = singles((rng.random(1200) < rates).tolist(), 0.1)
    alone = calibrate(reference, 1, SETTINGS)
    grouped = calibrate(reference, 1, SETTINGS, clusters=[i // 20 for i in range(1200)])
    assert alone.overdispersion[0] == 1
    assert grouped.overdispersion[0] > 2
    assert grouped.upper[0, ALL] > alone.upper[0, ALL]


def test_upper_hazard_takes_the_worst_cell_and_stops_at_one() -> None:
    made = calibrate(singles([True] * 5 + [False] * 95, 0.05), 1, SETTINGS)
    one = Opportunities.of([0, 0], [0.05, 0.9], [False, False])
    cells = cells_of(made.bands, 1, one, np.zeros(2, np.int64))
    got = upper_hazards(made, one.category, one.hazard, cells, 0.2)
    assert got[0] == pytest.approx(0.05 * made.upper[0, cells[0]].max() * 1.2)
    assert got[1] == 1.0


def test_a_ceiling_needs_no_reference() -> None:
    made = ceiling({3: 0.02})
    cells = np.zeros((1, 6), np.int64)
    assert upper_hazards(made, np.array([3]), np.array([np.nan]), cells, 0.2).tolist() == [0.02]
    assert made.knows().tolist() == [k == 3 for k in range(16)]
    with pytest.raises(BaselineError, match="ceiling"):
        ceiling({0: 1.5})


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=30),
)
def test_repeats_are_what_a_loop_counts(rows: list[tuple[int, int, bool]]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    seen: set[tuple[int, int]] = set()
    want: list[int] = []
    for trajectory, category, taken in rows:
        want.append(int((trajectory, category) in seen))
        if taken:
            seen.add((trajectory, category))
    got = repeated(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.bool_),
    )
    assert got.tolist() == want


def test_calibration_survives_plain_json() -> None:
    made = calibrate(singles([True, False, False], 0.3), 2, SETTINGS)
    for each in (made, ceiling({0: 0.1})):
        text = json.dumps(each.to_json(), allow_nan=False)
        back = Calibration.from_json(json.loads(text))
        assert json.dumps(back.to_json(), allow_nan=False) == text


@pytest.mark.parametrize("spoil", [{"contexts": 99}, {"expected": [None]}, {"upper": "x"}])
def test_a_foreign_calibration_is_refused(spoil: dict[str, object]) -> None:
    data = calibrate(singles([True, False], 0.3), 1, SETTINGS).to_json() | spoil
    with pytest.raises(BaselineError):
        Calibration.from_json(data)


def test_an_empty_reference_knows_nothing() -> None:
    made = calibrate([], 0, SETTINGS)
    assert not made.knows().any()


def test_broken_and_hidden_opportunities_of_the_reference_are_left_out() -> None:
    reference = [
        Opportunities.of([0, 0], [np.nan, 0.1], [True, True]),
        Opportunities.of([0], [0.1], [True], visible=[False]),
        Opportunities.of([0], [0.1], [False], [NO_CONTEXT]),
    ]
    made = calibrate(reference, 1, SETTINGS)
    assert made.opportunities[0, ALL] == 2
    assert made.observed[0, ALL] == 1


def test_too_many_contexts_are_refused() -> None:
    with pytest.raises(BaselineError, match="contexts"):
        calibrate([], 13, SETTINGS)
