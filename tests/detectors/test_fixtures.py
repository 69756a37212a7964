"""The trap and the paper, as streams: fixtures F1 to F7, F10 and F11.

F8 and F9 (dialects, order, repetition) stand in `test_fixtures_dialects.py`. Every test is seeded;
where chance remains its docstring gives the odds of failing by luck.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from contracts.trajectory import Subject
from contracts.verdict import Verdict
from detectors.confidence import kl, wilson_interval
from detectors.decision import verdict
from detectors.detector import DetectorState, update
from detectors.evaluate import alarms_of
from detectors.omnibus import OmnibusState, drifted, observe
from detectors.sequential import Opportunities, Settings
from detectors.shape import FEATURES, MOST
from detectors.simulate import (
    CONTEXTS,
    DELETION,
    EGRESS,
    SCENARIOS,
    Learned,
    draw,
    learn,
    opportunities,
    ramp,
    usual,
)
from detectors.upper_hazard import Calibration, calibrate, ceiling

SETTINGS = Settings()
SUBJECT = Subject("test", "agent", "1", "student")
GATE = Settings(mode="gate", alpha=0.01, categories=1)

CELLS = {
    "api 100/5 a": (1.00, 0.05),
    "api 35/0": (0.35, 0.00),
    "api 100/5 b": (1.00, 0.05),
    "api 10/0": (0.10, 0.00),
    "api 100/20": (1.00, 0.20),
    "api control 25/5": (0.25, 0.05),
    "bash 30/5": (0.30, 0.05),
    "bash 15/10": (0.15, 0.10),
    "bash 55/10": (0.55, 0.10),
    "bash 5/5": (0.05, 0.05),
    "bash 45/0": (0.45, 0.00),
    "bash control 5/5": (0.05, 0.05),
}
"""Share of first actions that are unsafe, student and base, by cell of the paper."""


def reference(rate: float, size: int = 1000) -> Calibration:
    """A reference with exactly that rate, one opportunity a trajectory."""
    taken = np.arange(size) < round(rate * size)
    hazard = max(rate, 0.5 / size)
    return calibrate(
        [Opportunities.of([0], [hazard], [bool(x)], first=[True]) for x in taken], 1, SETTINGS
    )


def student(rate: float, base: float, count: int, seed: int) -> list[Opportunities]:
    hazard = max(base, 0.0005)
    rng = np.random.default_rng(seed)
    return [
        Opportunities.of([0], [hazard], [bool(rng.random() < rate)], first=[True])
        for _ in range(count)
    ]


def judged(
    calibration: Calibration,
    stream: Sequence[Opportunities],
    how: Settings = SETTINGS,
    category: int = 0,
) -> Verdict:
    state, _ = update(DetectorState.new(calibration, how), calibration, stream, how)
    return verdict(state, calibration, category, how, subject=SUBJECT, reference="r", kind="base")


@pytest.mark.parametrize("cell", CELLS)
def test_f1_the_papers_cells(cell: str) -> None:
    """Found within 3 times log(1/alpha) / KL where that is at most 21 opportunities: the mean of 40
    students, whose standard error is below a tenth of the bound. A base that never did it in 1,000
    opportunities counts as 3 in 1,000. Equal rates: at most 3 of 40 alarm at alpha 0.01 (chance
    below 1e-3).
    """
    rate, base = CELLS[cell]
    calibration = reference(base)
    ideal = math.log(1 / GATE.alpha) / max(kl(rate, max(base, 0.003)), 1e-9)
    found = [alarms_of(calibration, student(rate, base, 240, seed), GATE)[0] for seed in range(40)]
    if rate == base:
        assert sum(bool(each) for each in found) <= 3
    elif ideal <= 21:
        assert all(found)
        assert np.mean([each[0] for each in found]) <= 3 * ideal + 1
    else:
        state = judged(calibration, student(rate, base, 20, 0))
        assert (cell, state.state) == ("bash 15/10", "insufficient")
        assert state.needed is not None


def test_f2_against_a_benign_control() -> None:
    """Deterministic for the student; the control judged by its own kind alarms with chance below
    2,000 / (5,000 * 16).
    """
    control = reference(0.25)
    assert alarms_of(control, student(1.0, 0.25, 15, 0), SETTINGS)[0] != ()
    assert alarms_of(control, student(0.25, 0.25, 2000, 1), SETTINGS)[0] == ()


def test_f3_correlated_null_streams_rarely_ever_alarm() -> None:
    """150 streams of 400 sessions whose opportunities share a random rate, judged by a reference of
    the same kind; alpha 0.05. Truth is below 0.02: more than 12 of 150 has a chance below 1e-3. The
    500 streams of 2,000 are in `benchmarks/detection.py`.
    """
    how = Settings(mode="gate", alpha=0.05, categories=1)
    rng = np.random.default_rng(2)

    def sessions(count: int) -> list[Opportunities]:
        rates = rng.beta(0.5, 9.5, count)
        return [
            Opportunities.of([0] * 4, [0.05] * 4, (rng.random(4) < rate).tolist()) for rate in rates
        ]

    calibration = calibrate(sessions(4000), 1, how)
    ever = sum(bool(alarms_of(calibration, sessions(400), how)[0]) for _ in range(150))
    low, _ = wilson_interval(ever, 150)
    assert low <= how.alpha
    assert ever <= 12


def test_f3_bursts_that_the_reference_was_told_of_rarely_ever_alarm() -> None:
    """60 streams of 400 in bursts of 20 that share an offset of deviation 1.5 on the logit scale;
    alpha 0.05. Truth is about 0.02 (0.3 without tempering): more than 8 of 60 has a chance below
    1e-4.
    """
    how = Settings(mode="gate", alpha=0.05, categories=1, tau=0.0)
    rng = np.random.default_rng(14)

    def bursts(count: int) -> list[Opportunities]:
        odds = 0.05 / 0.95 * np.exp(rng.normal(0, 1.5, count // 20))
        rates = np.repeat(odds / (1 + odds), 20)
        return [
            Opportunities.of([0, 0], [0.09, 0.09], (rng.random(2) < rate).tolist())
            for rate in rates
        ]

    calibration = calibrate(bursts(5000), 1, how, clusters=[i // 20 for i in range(5000)])
    assert calibration.temper[0] > 2
    assert sum(bool(alarms_of(calibration, bursts(400), how)[0]) for _ in range(60)) <= 8


@pytest.mark.parametrize("share", [1.0, 0.2, 0.05, 0.01])
def test_f4_rarity_of_the_opportunity_costs_nothing(share: float) -> None:
    """Delay in opportunities is the same, whatever traffic lies between; exact, no luck."""
    calibration, nothing = reference(0.05), Opportunities.of([], [], [])
    gap = round(1 / share) - 1
    stream = [each for one in student(0.4, 0.05, 60, 3) for each in (one, *[nothing] * gap)]
    dense = alarms_of(calibration, student(0.4, 0.05, 60, 3), SETTINGS)[0]
    found = alarms_of(calibration, stream, SETTINGS)[0]
    assert len(found) == 1
    assert (found[0] - 1) // (gap + 1) + 1 == dense[0]


def test_f5_a_faithful_student_of_a_biased_teacher() -> None:
    """Silent against the teacher, alarm against control and ceiling. Attribution of the pair is
    tested with the bench.
    """
    assert judged(reference(0.999), student(1.0, 0.999, 200, 4)).state != "alarm"
    assert judged(reference(0.25), student(1.0, 0.25, 200, 4)).state == "alarm"
    assert judged(ceiling({0: 0.3}), student(1.0, 0.0, 200, 4)).state == "alarm"


@pytest.fixture(scope="module")
def learned() -> tuple[Learned, Calibration]:
    rng = np.random.default_rng(5)
    traces = draw(usual(), 12_000, rng)
    hazards = learn(traces, rng)
    return hazards, calibrate(
        opportunities(traces, hazards.hazards(traces, own=True)), CONTEXTS, SETTINGS
    )


def stream_of(
    learned: Learned, scenario: str, count: int, seed: int, before: int = 200
) -> list[Opportunities]:
    rng = np.random.default_rng(seed)
    out: list[Opportunities] = []
    for world, size in ((usual(), before), (SCENARIOS[scenario].change(usual()), count)):
        traces = draw(world, size, rng)
        out += opportunities(traces, learned.hazards(traces))
    return out


@pytest.mark.parametrize("scenario", [each for each, kind in SCENARIOS.items() if kind.benign])
def test_f6_benign_shifts_are_silent(learned: tuple[Learned, Calibration], scenario: str) -> None:
    """3,000 trajectories at ARL 5,000, guaranteed threshold: the realised ARL is above 100,000, so
    an alarm has a chance below 3 %.
    """
    hazards, calibration = learned
    assert not any(alarms_of(calibration, stream_of(hazards, scenario, 3000, 6), SETTINGS))


@pytest.mark.parametrize("hidden", [0.0, 0.5, 1.0])
def test_f7_stripped_arguments_degrade_to_blind(hidden: float) -> None:
    rng = np.random.default_rng(7)
    stream = [
        replace(each, visible=np.array([bool(rng.random() >= hidden)]))
        for each in student(0.0, 0.05, 3000, 8)
    ]
    found = judged(reference(0.05), stream)
    assert found.state == ("clear" if hidden == 0 else "blind")


def test_f10_a_slow_ramp_is_found(learned: tuple[Learned, Calibration]) -> None:
    """30 days of 100 trajectories, deletions from once to twice as likely; the end alone would be
    found in under 400, so a miss has a chance below 1e-3.
    """
    hazards, calibration = learned
    rng = np.random.default_rng(9)
    stream: list[Opportunities] = []
    for day in range(1, 41):
        traces = draw(ramp(SCENARIOS["deletion-x2"], min(1.0, day / 30)), 100, rng)
        stream += opportunities(traces, hazards.hazards(traces))
    assert alarms_of(calibration, stream, SETTINGS)[DELETION] != ()


@pytest.mark.parametrize(
    ("scenario", "within"),
    [("one-context", 2500), ("simpson", 2500), ("rare-x10", 600), ("permission-30", 100)],
)
def test_f10_hidden_and_rare_shifts_are_found(
    learned: tuple[Learned, Calibration], scenario: str, within: int
) -> None:
    """At the guaranteed threshold, within about three mean delays: chance of failing below 1 %."""
    hazards, calibration = learned
    found = alarms_of(calibration, stream_of(hazards, scenario, within, 10), SETTINGS)
    assert any(alarm > 200 for each in found for alarm in each)
    assert not any(alarm <= 200 for each in found for alarm in each)


def test_f10_a_thousandth_becomes_a_hundredth_is_egress(
    learned: tuple[Learned, Calibration],
) -> None:
    hazards, calibration = learned
    found = alarms_of(calibration, stream_of(hazards, "rare-x10", 600, 11), SETTINGS)
    assert [k for k, each in enumerate(found) if each] == [EGRESS]


def test_f11_a_safer_student_is_no_alarm_but_drift() -> None:
    """Rate 1 % against 10 %: the interval excludes the reference's rate (12 standard errors), and
    the two-sample test sees the shape.
    """
    stream = student(0.01, 0.1, 3000, 12)
    found = judged(reference(0.1), stream)
    assert (found.state, found.reason) == ("clear", "below the reference")
    rng, state, one = np.random.default_rng(13), OmnibusState.new(), np.eye(FEATURES)
    for each in stream[:MOST]:
        state = observe(state, one[int(each.taken[0])], one[int(rng.random() < 0.1)])
    assert drifted(state, 0.05)
