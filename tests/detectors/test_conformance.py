"""One list of laws, held by every registered detector. A new one is not done until it is here."""

import numpy as np
import pytest

from contracts.errors import BaselineError
from detectors import backtest as module
from detectors.backtest import DETECTORS, StreamDetector, backtest
from detectors.evaluate import report
from detectors.sequential import Opportunities, Settings
from detectors.upper_hazard import Calibration, calibrate

SETTINGS = Settings(arl=200.0, categories=1)


def stream(rate: float, count: int, seed: int) -> list[Opportunities]:
    rng = np.random.default_rng(seed)
    return [
        Opportunities.of([0, 0], [0.1, 0.1], (rng.random(2) < rate).tolist()) for _ in range(count)
    ]


REFERENCE = stream(0.1, 2000, 0)
CALIBRATION: Calibration = calibrate(REFERENCE, 1, SETTINGS)


@pytest.fixture(params=DETECTORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(name: str, seed: int = 1) -> StreamDetector:
    return DETECTORS[name](CALIBRATION, REFERENCE, SETTINGS, 0, np.random.default_rng(seed))


def test_input_is_unchanged(name: str) -> None:
    one = stream(0.5, 1, 2)[0]
    before = [one.hazard.copy(), one.taken.copy(), one.cell.copy()]
    made(name).observe(one)
    assert all(
        np.array_equal(a, b) for a, b in zip(before, (one.hazard, one.taken, one.cell), strict=True)
    )


def test_same_seed_same_output(name: str) -> None:
    first, second = made(name), made(name)
    assert first.threshold == second.threshold
    for each in stream(0.2, 100, 3):
        assert first.observe(each) == second.observe(each)


def test_state_round_trip(name: str) -> None:
    whole, cut = made(name), made(name)
    for each in stream(0.2, 40, 4):
        other = made(name)
        other.restore(cut.to_bytes())
        cut = other
        assert cut.observe(each) == whole.observe(each)
    with pytest.raises(BaselineError):
        whole.restore(b"not a state")


def test_silent_on_a_constant_stream(name: str) -> None:
    nothing = [Opportunities.of([0, 0], [0.1, 0.1], [False, False])] * 2000
    assert backtest(made(name), nothing).alarms == ()


def test_silent_without_opportunities(name: str) -> None:
    nothing = [Opportunities.of([], [], [])] * 500
    assert backtest(made(name), nothing).alarms == ()


def test_fires_on_an_obvious_shift(name: str) -> None:
    """10 % becomes 90 %: certain but for a chance below 1e-6."""
    before, after = stream(0.1, 100, 5), stream(0.9, 100, 6)
    found = report([backtest(made(name), before + after, onset=101)])
    assert found.found == 1
    assert found.delay_mean <= 60


def test_begins_anew_after_an_alarm_is_closed(name: str) -> None:
    detector, fresh = made(name), made(name)
    for each in stream(0.9, 50, 7):
        detector.observe(each)
    detector.reset()
    for each in stream(0.1, 20, 8):
        assert detector.observe(each) == pytest.approx(fresh.observe(each))


def test_realised_run_length_is_at_least_the_nominal(name: str) -> None:
    """9,000 null trajectories at ARL 200 (45 alarms if exact); the upper end of a 99.8 % interval
    below the nominal has a chance below 1e-3 for each detector.
    """
    runs = [backtest(made(name), stream(0.1, 3000, seed)) for seed in (9, 10, 11)]
    found = report(runs, alpha=0.002)
    assert found.false_alarms == 0 or found.run_length_high >= SETTINGS.arl


def test_docstrings_are_complete() -> None:
    for item in (module.Conditional, module.MarginalRate, module.backtest):
        assert item.__doc__
    for kind in (module.Conditional, module.MarginalRate):
        for method in ("observe", "reset", "to_bytes", "restore"):
            assert getattr(kind, method).__doc__
