"""Reports on streams, checked against counts made by hand."""

import math

import pytest

from detectors.evaluate import Run, alarms_of, report
from detectors.sequential import Opportunities, Settings
from detectors.upper_hazard import ceiling


def test_a_report_counted_by_hand() -> None:
    runs = [
        Run((30, 105), 200, onset=101),  # one false alarm in 100, found after 5
        Run((), 200, onset=101),  # missed
        Run((190,), 200, onset=101),  # after the window: missed
        Run((), 300),  # nothing changed
    ]
    got = report(runs, window=50)
    assert (got.exposure, got.false_alarms, got.run_length) == (600, 1, 600)
    assert (got.found, got.missed, got.delay_mean, got.delay_median) == (1, 2, 5, 5)
    assert got.missed_share == pytest.approx(2 / 3)
    assert got.missed_low < 2 / 3 < got.missed_high
    assert got.run_length_low < 600 < got.run_length_high
    assert got.ever_share == 0.5


def test_what_cannot_be_said_is_not_zero() -> None:
    got = report([Run((), 10)])
    assert math.isnan(got.run_length)
    assert math.isnan(got.delay_mean)
    assert math.isnan(got.missed_share)
    assert got.run_length_low > 0
    assert got.to_json()["delay_mean"] is None
    assert math.isnan(report([]).ever_share)


def test_run_length_interval_is_exact_poisson() -> None:
    # 3 events: 0.6187 to 8.7673 (Garwood 1936, table).
    got = report([Run((1, 2, 3), 1000)])
    assert got.run_length_low == pytest.approx(1000 / 8.7673, rel=1e-4)
    assert got.run_length_high == pytest.approx(1000 / 0.6187, rel=1e-3)


def test_an_alarm_outside_its_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        report([Run((11,), 10)])


def test_alarms_of_a_stream_come_again_only_where_asked() -> None:
    limits = ceiling({0: 0.01})
    stream = [Opportunities.of([0], [0.0], [True]) for _ in range(40)]
    once = alarms_of(limits, stream, Settings())
    again = alarms_of(limits, stream, Settings(), again=True)
    assert len(once[0]) == 1
    assert len(again[0]) > 1
    assert once[0][0] == again[0][0]
    assert not any(once[1:])
