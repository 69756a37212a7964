"""The two-sample test by betting: keeps its error rate, sees a change of shape, comes to an end."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from contracts.errors import BaselineError
from contracts.ports import Labelled
from contracts.trajectory import Trajectory
from detectors.baseline import Reference
from detectors.bench import DetectorBench
from detectors.omnibus import OmnibusState, drifted, follow, left, observe
from detectors.sequential import Floats
from detectors.shape import FEATURES, MOST, WIDTH

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]
LabelAll = Callable[[list[Trajectory]], list[Labelled]]


def vector(rng: np.random.Generator, shift: float = 0.0) -> Floats:
    """Norm 1, random in the first four places."""
    out = np.zeros(FEATURES)
    out[:4] = rng.normal(size=4)
    out[0] += shift
    return out / float(np.sqrt(out @ out))


def run(shift: float, pairs: int, rng: np.random.Generator) -> OmnibusState:
    state = OmnibusState.new()
    for _ in range(pairs):
        state = observe(state, vector(rng, shift), vector(rng))
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
    """In at least 18 of 20 runs of 200 pairs."""
    rng = np.random.default_rng(1)
    assert sum(drifted(run(1.0, 200, rng), 0.1) for _ in range(20)) >= 18


def test_features_that_are_not_finite_are_passed_by() -> None:
    state = OmnibusState.new()
    for number in (math.nan, math.inf):
        bad = np.full(FEATURES, number)
        assert observe(state, bad, np.zeros(FEATURES)) is state
        assert observe(state, np.zeros(FEATURES), bad) is state


def test_a_vector_is_used_once_and_of_the_same_context_only() -> None:
    rng = np.random.default_rng(2)
    sample = np.zeros((6, WIDTH))
    sample[4:, 0] = 1.0  # four of context 0, two of context 1
    sample[:, 1:] = [vector(rng) for _ in range(6)]
    seen = [(n, 1, vector(rng)) for n in range(1, 6)]
    state = follow(OmnibusState.new(), sample, seen, 0.05)
    assert (state.pairs, left(state, sample)) == (2, 0)
    assert follow(state, sample, [(6, 1, vector(rng)), (7, -1, vector(rng))], 0.05) is state
    state = follow(state, sample, [(8, 0, vector(rng))], 0.05)
    assert (state.pairs, left(state, sample)) == (3, 3)
    assert state.used.tolist()[:2] == [1, 2]


def test_cut_and_restored_it_is_the_same_to_the_last_bit() -> None:
    rng = np.random.default_rng(3)
    sample = np.hstack([np.zeros((80, 1)), [vector(rng) for _ in range(80)]])
    seen = [(n, 0, vector(rng, 0.8)) for n in range(1, 90)]
    whole = follow(OmnibusState.new(), sample, seen, 0.05)
    half = follow(OmnibusState.new(), sample, seen[:37], 0.05)
    rest = follow(OmnibusState.from_bytes(half.to_bytes()), sample, seen[37:], 0.05)
    assert rest.to_bytes() == whole.to_bytes()
    assert whole.drift_at > 0
    data = whole.to_bytes()
    for wrong in (b"", data[:-1], data + b"x", b"XXXX" + data[4:]):
        with pytest.raises(BaselineError):
            OmnibusState.from_bytes(wrong)


def test_verdicts_report_drift_of_a_safer_student_and_never_alarm(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    """Every comparison of 300 with deletions at 2 % against 60 % gains about 0.4 nats."""
    bench = DetectorBench([freeze(make(400, 0.6))])
    told = bench.observe(labelled(make(300, 0.02, 1, name="s")), 1)
    (verdict,) = [v for v in told.verdicts if v.category == "UA01"]
    assert verdict.state == "clear"
    assert not told.alerts
    assert verdict.drift_log10 is not None
    assert verdict.drift_log10 > 2
    assert verdict.drift_at is not None
    assert (verdict.drift_pairs, verdict.drift_left) == (300, 100)
    assert {(v.drift_log10, v.drift_at) for v in told.verdicts} == {
        (verdict.drift_log10, verdict.drift_at)
    }


def test_the_same_behaviour_is_no_drift_and_the_test_ends(
    make: Make, freeze: Freeze, labelled: LabelAll
) -> None:
    """Seeded; the chance of a false report is at most 0.05."""
    reference = freeze(make(600, 0.2))
    assert len(reference.shapes) == MOST
    told = DetectorBench([reference]).observe(labelled(make(700, 0.2, 1, name="s")), 1)
    verdict = told.verdicts[0]
    assert verdict.drift_at is None
    assert (verdict.drift_pairs, verdict.drift_left) == (MOST, 0)
