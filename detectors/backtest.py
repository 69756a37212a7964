"""Any detector over any stored stream: what it would have said, and when."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from detectors.detector import DetectorState, rearm, update
from detectors.evaluate import Run
from detectors.marginal import MARGINAL
from detectors.run_length import Singles, threshold_for
from detectors.sequential import Flags, Opportunities, Settings
from detectors.threshold import guaranteed
from detectors.upper_hazard import Calibration


class StreamDetector(Protocol):
    """A detector of one category on one stream. An alarm is a statistic at or above `threshold`."""

    threshold: float

    def observe(self, trajectory: Opportunities) -> float:
        """The statistic after one more trajectory."""
        ...

    def reset(self) -> None:
        """Begin anew, as after a closed alarm."""
        ...

    def to_bytes(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave. Raises `BaselineError`."""
        ...


class Conditional:
    """Telltale's own: the statistic of `detector.update`, as a log, for one category."""

    def __init__(self, calibration: Calibration, settings: Settings, category: int) -> None:
        self.threshold = guaranteed(settings)
        self._calibration, self._settings, self._category = calibration, settings, category
        self._state = DetectorState.new(calibration, settings)

    def observe(self, trajectory: Opportunities) -> float:
        """Log of the statistic after one more trajectory; its other categories are passed by."""
        mine = trajectory.only(trajectory.category == self._category)
        self._state, change = update(self._state, self._calibration, [mine], self._settings)
        return float(change.evidence_log10[0, self._category] * np.log(10))

    def reset(self) -> None:
        """Begin anew."""
        self._state = rearm(self._state, self._category)

    def to_bytes(self) -> bytes:
        """The whole state."""
        return self._state.to_bytes()

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave. Raises `BaselineError`."""
        self._state = DetectorState.from_bytes(data)


class MarginalRate:
    """A detector of `marginal`, calibrated to the ARL on resampled trajectories of the reference.

    `name`: of `MARGINAL`. Raises `ValueError` where the reference has no trajectory.
    """

    def __init__(
        self,
        name: str,
        reference: Sequence[Opportunities],
        settings: Settings,
        category: int,
        rng: np.random.Generator,
        streams: int = 100,
    ) -> None:
        if not reference:
            raise ValueError("a marginal rate needs trajectories of the reference")
        self._category = category
        unsafe = np.array([self._unsafe(each) for each in reference])
        self._usual = min(0.5, max(float(unsafe.mean()), 0.5 / len(unsafe)))
        self._make = MARGINAL[name]
        self._detector = self._make(1, self._usual)
        self.threshold = threshold_for(self._null(unsafe, settings, rng, streams), settings.arl)

    def _null(
        self, unsafe: Flags, settings: Settings, rng: np.random.Generator, streams: int
    ) -> Singles:
        many = self._make(streams, self._usual)
        steps = int(2 * settings.arl)
        path = np.empty((steps, streams), np.float32)
        for step in range(steps):
            path[step] = many.update(unsafe[rng.integers(0, len(unsafe), streams)])
        return path

    def _unsafe(self, trajectory: Opportunities) -> bool:
        return bool((trajectory.taken & (trajectory.category == self._category)).any())

    def observe(self, trajectory: Opportunities) -> float:
        """The statistic after one more trajectory."""
        return float(self._detector.update(np.array([self._unsafe(trajectory)]))[0])

    def reset(self) -> None:
        """Begin anew."""
        self._detector = self._make(1, self._usual)

    def to_bytes(self) -> bytes:
        """The whole state."""
        return self._detector.to_bytes()

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave. Raises `BaselineError`."""
        self._detector.restore(data)


Make = Callable[
    [Calibration, Sequence[Opportunities], Settings, int, np.random.Generator], StreamDetector
]


def _conditional(mode: str) -> Make:
    def make(
        calibration: Calibration,
        reference: Sequence[Opportunities],
        settings: Settings,
        category: int,
        rng: np.random.Generator,
    ) -> StreamDetector:
        how = replace(settings, mode="gate" if mode == "gate" else "monitor")
        return Conditional(calibration, how, category)

    return make


def _marginal(name: str) -> Make:
    def make(
        calibration: Calibration,
        reference: Sequence[Opportunities],
        settings: Settings,
        category: int,
        rng: np.random.Generator,
    ) -> StreamDetector:
        return MarginalRate(name, reference, settings, category, rng)

    return make


DETECTORS: Mapping[str, Make] = {
    "e-detector": _conditional("monitor"),
    "e-process": _conditional("gate"),
    **{name: _marginal(name) for name in MARGINAL},
}
"""By name: made from the reference's calibration, its trajectories, settings, category, chance."""


def backtest(
    detector: StreamDetector, stream: Sequence[Opportunities], onset: int | None = None
) -> Run:
    """The alarms over a stream, each closed at once so that the next can be counted.

    `onset`: number of the first changed trajectory (from 1), None where not known.
    """
    alarms: list[int] = []
    for number, trajectory in enumerate(stream, 1):
        if detector.observe(trajectory) >= detector.threshold:
            alarms.append(number)
            detector.reset()
    return Run(tuple(alarms), len(stream), onset)
