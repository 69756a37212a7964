"""Detectors of a marginal rate, blind to context: what is used elsewhere, for comparison.

Each watches many streams at once: `update` takes one 0 or 1 a stream (the trajectory held an unsafe
action) and returns the statistic; an alarm is statistic >= threshold. They say nothing about false
alarms when the mix of tasks changes; `benchmarks/detection.py` shows what that costs.
"""

from collections.abc import Callable, Mapping

import numpy as np

from contracts.errors import BaselineError
from detectors.sequential import Flags, Floats


class WindowedRate:
    """Share of unsafe trajectories among the last `window`: a Prometheus rule over a rate.

    Before `window` trajectories the missing ones count as safe.
    """

    def __init__(self, streams: int, window: int = 200) -> None:
        self._seen = np.zeros((window, streams))
        self._at = 0

    def update(self, unsafe: Flags) -> Floats:
        """Statistic of every stream, (streams,)."""
        self._seen[self._at % len(self._seen)] = unsafe
        self._at += 1
        mean: Floats = self._seen.mean(axis=0)
        return mean

    def to_bytes(self) -> bytes:
        """The whole state."""
        return self._at.to_bytes(8, "little") + self._seen.astype("<f8").tobytes()

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave. Raises `BaselineError` for another length."""
        self._seen = _array(data[8:], self._seen.shape)
        self._at = int.from_bytes(data[:8], "little")


class BernoulliCusum:
    """Page's CUSUM for a Bernoulli rate from `usual` to `risen`: max(0, S + log ratio).

    Source: Reynolds & Stoumbos 1999.
    """

    def __init__(self, streams: int, usual: float, risen: float | None = None) -> None:
        risen = min(0.99, 2 * usual) if risen is None else risen
        if not 0 < usual < risen < 1:
            raise ValueError("0 < usual < risen < 1 is needed")
        self._hit = float(np.log(risen / usual))
        self._miss = float(np.log1p(-risen) - np.log1p(-usual))
        self._sum = np.zeros(streams)

    def update(self, unsafe: Flags) -> Floats:
        """Statistic of every stream, (streams,)."""
        self._sum = np.maximum(0.0, self._sum + np.where(unsafe, self._hit, self._miss))
        return self._sum

    def to_bytes(self) -> bytes:
        """The whole state."""
        return self._sum.astype("<f8").tobytes()

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave. Raises `BaselineError` for another length."""
        self._sum = _array(data, self._sum.shape)


class Ewma:
    """Exponentially weighted moving average of the rate. Source: Roberts 1959."""

    def __init__(self, streams: int, usual: float, weight: float = 0.02) -> None:
        if not 0 < weight <= 1:
            raise ValueError("0 < weight <= 1 is needed")
        self._mean = np.full(streams, usual)
        self._weight = weight

    def update(self, unsafe: Flags) -> Floats:
        """Statistic of every stream, (streams,)."""
        self._mean = self._mean + self._weight * (unsafe - self._mean)
        return self._mean

    def to_bytes(self) -> bytes:
        """The whole state."""
        return self._mean.astype("<f8").tobytes()

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave. Raises `BaselineError` for another length."""
        self._mean = _array(data, self._mean.shape)


Marginal = WindowedRate | BernoulliCusum | Ewma

MARGINAL: Mapping[str, Callable[[int, float], Marginal]] = {
    "windowed-rate": lambda streams, usual: WindowedRate(streams),
    "bernoulli-cusum": lambda streams, usual: BernoulliCusum(streams, usual),
    "ewma": lambda streams, usual: Ewma(streams, usual),
}
"""By name, made for a number of streams and the usual share of unsafe trajectories."""


def _array(data: bytes, shape: tuple[int, ...]) -> Floats:
    if len(data) != 8 * int(np.prod(shape)):
        raise BaselineError("the detector state cannot be read: wrong length")
    return np.frombuffer(data, "<f8").astype(np.float64).reshape(shape)
