"""How a detector did on streams: run lengths, delays, misses, against a known or unknown onset."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from detectors.confidence import wilson_interval
from detectors.detector import DetectorState, rearm, update
from detectors.sequential import CATEGORIES, Opportunities, Settings
from detectors.upper_hazard import Calibration

NAN = math.nan


@dataclass(frozen=True, slots=True)
class Run:
    """One stream: the trajectory numbers (from 1) of its alarms, its length, and the number of the
    first changed trajectory, None where there is none or it is not known.
    """

    alarms: tuple[int, ...]
    length: int
    onset: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a detector did on some streams. What cannot be said is NaN, never 0.

    `exposure`: trajectories watched before any change; `false_alarms`: alarms in them; `run_length`
    and its exact Poisson interval. `found`, `missed`: changed streams with and without an alarm
    from the onset to onset + window (the end where no window is given); `missed_share` with
    Wilson's interval. `delay_*`: trajectories from the first changed one to the alarm, both
    counted, over the found ones. `ever_share`: streams with any alarm, with Wilson's interval.
    """

    streams: int
    exposure: int
    false_alarms: int
    run_length: float
    run_length_low: float
    run_length_high: float
    found: int
    missed: int
    missed_share: float
    missed_low: float
    missed_high: float
    delay_mean: float
    delay_low: float
    delay_high: float
    delay_median: float
    ever_share: float
    ever_low: float
    ever_high: float

    def to_json(self) -> dict[str, float | int | None]:
        """Plain JSON values, NaN and infinities as null."""
        return {
            name: value if math.isfinite(value) else None for name, value in asdict(self).items()
        }


def report(runs: Sequence[Run], window: int | None = None, alpha: float = 0.05) -> Report:
    """The report on some streams. An alarm before the onset is false and does not end a stream.

    Raises `ValueError` for an alarm outside its stream.
    """
    exposure, false_alarms, ever, missed = 0, 0, 0, 0
    delays: list[int] = []
    for run in runs:
        if any(not 1 <= alarm <= run.length for alarm in run.alarms):
            raise ValueError("an alarm lies outside its stream")
        ever += bool(run.alarms)
        quiet = run.length if run.onset is None else min(run.length, run.onset - 1)
        exposure += quiet
        false_alarms += sum(alarm <= quiet for alarm in run.alarms)
        if run.onset is None or run.onset > run.length:
            continue
        last = run.length if window is None else run.onset + window - 1
        hits = [alarm for alarm in run.alarms if run.onset <= alarm <= last]
        if hits:
            delays.append(min(hits) - run.onset + 1)
        else:
            missed += 1
    changed = len(delays) + missed
    low, high = _rate_bounds(false_alarms, exposure, alpha)
    missed_low, missed_high = wilson_interval(missed, changed, alpha)
    ever_low, ever_high = wilson_interval(ever, len(runs), alpha)
    mean, half = _mean_and_half(delays, alpha)
    return Report(
        streams=len(runs),
        exposure=exposure,
        false_alarms=false_alarms,
        run_length=exposure / false_alarms if false_alarms else NAN,
        run_length_low=1 / high if high > 0 else NAN,
        run_length_high=1 / low if low > 0 else NAN,
        found=len(delays),
        missed=missed,
        missed_share=missed / changed if changed else NAN,
        missed_low=missed_low if changed else NAN,
        missed_high=missed_high if changed else NAN,
        delay_mean=mean,
        delay_low=mean - half,
        delay_high=mean + half,
        delay_median=float(np.median(delays)) if delays else NAN,
        ever_share=ever / len(runs) if runs else NAN,
        ever_low=ever_low if runs else NAN,
        ever_high=ever_high if runs else NAN,
    )


def _rate_bounds(events: int, exposure: int, alpha: float) -> tuple[float, float]:
    """Exact bounds on a Poisson rate (Garwood 1936)."""
    from scipy.special import gammaincinv

    if exposure <= 0:
        return 0.0, 0.0
    low = float(gammaincinv(events, alpha / 2)) if events else 0.0
    return low / exposure, float(gammaincinv(events + 1, 1 - alpha / 2)) / exposure


def _mean_and_half(values: Sequence[int], alpha: float) -> tuple[float, float]:
    """Mean and half the width of Student's interval."""
    from scipy.special import stdtrit

    if not values:
        return NAN, NAN
    data = np.asarray(values, np.float64)
    if len(data) < 2:
        return float(data[0]), NAN
    error = float(data.std(ddof=1)) / math.sqrt(len(data))
    return float(data.mean()), float(stdtrit(len(data) - 1, 1 - alpha / 2)) * error


def alarms_of(
    calibration: Calibration,
    stream: Sequence[Opportunities],
    settings: Settings,
    *,
    again: bool = False,
) -> list[tuple[int, ...]]:
    """Trajectory numbers of the alarms of every category over a stream, from the start.

    `again`: each alarm is closed at once and the category's test begins anew; otherwise at most one
    alarm a category.
    """
    state = DetectorState.new(calibration, settings)
    found: list[list[int]] = [[] for _ in range(CATEGORIES)]
    size = 1 if again else 256
    for at in range(0, len(stream), size):
        state, change = update(state, calibration, stream[at : at + size], settings)
        for row, category in np.argwhere(change.alarmed):
            found[int(category)].append(int(change.n[row]))
            if again:
                state = rearm(state, int(category))
    return [tuple(each) for each in found]
