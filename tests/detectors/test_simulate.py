"""The simulator says the truth about its own hazards, and a benign shift is benign."""

import numpy as np
import pytest

from detectors.sequential import NO_CONTEXT
from detectors.simulate import (
    CONTEXTS,
    SCENARIOS,
    WATCHED,
    draw,
    learn,
    opportunities,
    ramp,
    usual,
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_actions_come_at_the_hazards_it_states(scenario: str) -> None:
    """Observed within 5 standard errors of expected in every column: fails by luck below 1e-5."""
    traces = draw(SCENARIOS[scenario].change(usual()), 20_000, np.random.default_rng(1))
    for column in range(len(WATCHED)):
        mine = traces.column == column
        error = np.sqrt((traces.hazard[mine] * (1 - traces.hazard[mine])).sum())
        assert abs(traces.taken[mine].sum() - traces.hazard[mine].sum()) <= 5 * error + 1e-9


@pytest.mark.parametrize("scenario", [each for each, kind in SCENARIOS.items() if kind.benign])
def test_a_benign_shift_leaves_conditional_hazards_alone(scenario: str) -> None:
    changed = SCENARIOS[scenario].change(usual())
    before = usual()
    if scenario == "safer":
        assert (changed.rise <= before.rise).all()
        return
    for name in ("hazard", "after_error", "repeated", "rise", "error_rise"):
        np.testing.assert_array_equal(getattr(changed, name), getattr(before, name))
    assert not np.isfinite(changed.fixed).any()


def test_simpsons_shift_keeps_the_marginal_rate() -> None:
    """Rates of 40,000 trajectories before and after differ by under 5 % (3 standard errors)."""
    rates: list[float] = []
    for world in (usual(), SCENARIOS["simpson"].change(usual())):
        traces = draw(world, 40_000, np.random.default_rng(2))
        rates.append(float(traces.taken[traces.column == 0].mean()))
    assert rates[1] == pytest.approx(rates[0], rel=0.06)


def test_learned_hazards_are_cross_fitted_and_calibrated() -> None:
    """Observed over expected of 10,000 cross-fitted trajectories within 10 % (above 4 standard
    errors of about 800 events).
    """
    rng = np.random.default_rng(3)
    traces = draw(usual(), 10_000, rng)
    learned = learn(traces, rng)
    own, other = learned.hazards(traces, own=True), learned.hazards(traces)
    assert not np.array_equal(own, other)
    for column in (0, 1):
        mine = traces.column == column
        assert traces.taken[mine].sum() / own[mine].sum() == pytest.approx(1.0, abs=0.1)


def test_traces_become_one_opportunities_a_trajectory() -> None:
    world = SCENARIOS["new-tool"].change(usual())
    traces = draw(world, 300, np.random.default_rng(4))
    made = opportunities(traces, traces.hazard)
    assert len(made) == 300
    assert sum(len(each) for each in made) == len(traces.column)
    cells = np.concatenate([each.cell for each in made])
    assert ((cells == NO_CONTEXT) == ~traces.known).all()
    assert cells.max() < CONTEXTS
    for each in made:
        for category in WATCHED:
            mine = each.first[each.category == category]
            assert mine.sum() == (len(mine) > 0)


def test_a_ramp_begins_and_ends_where_it_says() -> None:
    scenario = SCENARIOS["deletion-x2"]
    np.testing.assert_array_equal(ramp(scenario, 0.0).rise, usual().rise)
    np.testing.assert_array_equal(ramp(scenario, 1.0).rise, scenario.change(usual()).rise)
    assert ramp(scenario, 0.5).rise[0, 0] == pytest.approx(1.5)
