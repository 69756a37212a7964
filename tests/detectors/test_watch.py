"""A watch at its largest fits 64 kB, and comes back from its bytes as it was."""

import numpy as np
import pytest

from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from detectors.detector import DetectorState, update
from detectors.features import STREAMS
from detectors.omnibus import OmnibusState
from detectors.sequential import MOST_CONTEXTS, Flags, Integers, Opportunities, Settings
from detectors.upper_hazard import Calibration, calibrate
from detectors.watch import Watch

SETTINGS = Settings(categories=STREAMS)
EVERY = len(CATEGORY_IDS)


def trajectories(
    categories: list[int], count: int, seed: int
) -> tuple[list[Opportunities], Calibration]:
    """With an opportunity of each category in every situation, and the calibration of them."""
    rng = np.random.default_rng(seed)
    every: list[Opportunities] = []
    for number in range(count):
        category = np.array(categories, np.int64)
        hazard = rng.uniform(0.05, 0.3, len(category))
        context: Integers = np.full(len(category), number % MOST_CONTEXTS)
        error, first = rng.random((2, len(category))) < 0.5
        taken = rng.random(len(category)) < hazard
        every.append(Opportunities.of(category, hazard, taken, context, error, first))
    return every, calibrate(every, MOST_CONTEXTS, SETTINGS)


@pytest.fixture(scope="module")
def largest() -> Watch:
    """All categories, contexts and cells used; three leading trajectories each, of long ids."""
    states: list[DetectorState] = []
    for categories in (list(range(EVERY)), [CATEGORY_IDS.index("UA13")]):
        stream, calibration = trajectories(categories, 600, 1)
        state, _ = update(DetectorState.new(calibration, SETTINGS), calibration, stream, SETTINGS)
        used: Flags = (state.log_m != -np.inf).all(axis=2)
        assert np.array_equal(used[categories], calibration.weight[categories] > 0)
        states.append(state)
    leading = {k: tuple((float(np.pi), f"{k:02}{n}" * 16) for n in range(3)) for k in range(EVERY)}
    huge = np.iinfo(np.int64).max
    passed = np.full((2, EVERY), huge)
    return Watch(
        tuple(states), OmnibusState.new(), leading, huge, np.full(STREAMS, huge), passed
    )  # fmt: skip


def test_the_largest_state_fits_64_kb(largest: Watch) -> None:
    assert len(largest.to_bytes()) <= 64 * 1024


def test_it_comes_back_to_the_last_bit(largest: Watch) -> None:
    data = largest.to_bytes()
    back = Watch.from_bytes(data)
    assert back.to_bytes() == data
    assert (back.calibrated_at == largest.calibrated_at).all()
    assert back.leading == largest.leading
    for wrong in (b"", data[:-1], data + b"x", b"TTW1" + data[4:]):
        with pytest.raises(BaselineError):
            Watch.from_bytes(wrong)
