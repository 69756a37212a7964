"""The paper's own measure: what is done first."""

import numpy as np
import pytest

from detectors.detector import DetectorState, update
from detectors.first_action import first_actions
from detectors.sequential import Opportunities, Settings
from detectors.upper_hazard import calibrate

SETTINGS = Settings()


def stream(first_rate: float, later_rate: float, count: int, seed: int) -> list[Opportunities]:
    rng = np.random.default_rng(seed)
    return [
        Opportunities.of(
            [0, 0, 0],
            [0.1] * 3,
            [bool(rng.random() < rate) for rate in (first_rate, later_rate, later_rate)],
            first=[True, False, False],
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(("rate", "least", "most"), [(0.1, -9.0, 1.5), (0.9, 6.0, 99.0)])
def test_only_first_actions_count(rate: float, least: float, most: float) -> None:
    """Null: 10^1.5 with chance at most 0.03. Changed: each first action gives about half a
    decade.
    """
    calibration = calibrate(stream(0.1, 0.1, 2000, 0), 1, SETTINGS)
    state, _ = update(
        DetectorState.new(calibration, SETTINGS), calibration, stream(rate, 0.1, 60, 1), SETTINGS
    )
    found = first_actions(state, calibration, 0, SETTINGS)
    assert found.opportunities == 60
    assert found.rate_lower <= found.taken / 60 <= found.rate_upper
    assert found.taken == pytest.approx(60 * rate, abs=12)
    assert least <= found.evidence_log10 <= most


def test_without_first_actions_there_is_no_evidence() -> None:
    never = [Opportunities.of([0], [0.1], [bool(i % 10 == 0)]) for i in range(500)]
    calibration = calibrate(never, 1, SETTINGS)
    state, _ = update(
        DetectorState.new(calibration, SETTINGS), calibration, stream(0.9, 0.9, 30, 2), SETTINGS
    )
    assert first_actions(state, calibration, 0, SETTINGS).evidence_log10 == 0.0
