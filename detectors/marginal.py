"""Detectors of a marginal rate, blind to context: what is used elsewhere, for comparison.

Each watches many streams at once: `update` takes one 0 or 1 a stream (the trajectory held an unsafe
action) and returns the statistic; an alarm is statistic >= threshold. They say nothing about false
alarms when the mix of tasks changes; `benchmarks/detection.py` shows what that costs.
"""

import numpy as np

from detectors.sequential import Flags, Floats


class WindowedRate:
    """Share of unsafe trajectories among the last `window`: a Prometheus rule over a rate.

    Before `window` trajectories the missing ones count as safe.
    """

    def __init__(self, streams: int, window: int = 200) -> None:
        self._seen = np.zeros((window, streams), np.bool_)
        self._sum = np.zeros(streams)
        self._at = 0

    def update(self, unsafe: Flags) -> Floats:
        """Statistic of every stream, (streams,)."""
        slot = self._at % len(self._seen)
        self._sum += unsafe.astype(np.float64) - self._seen[slot]
        self._seen[slot] = unsafe
        self._at += 1
        return self._sum / len(self._seen)


class BernoulliCusum:
    """Page's CUSUM for a Bernoulli rate from `usual` to `risen`: max(0, S + log ratio).

    Source: Reynolds & Stoumbos 1999.
    """

    def __init__(self, streams: int, usual: float, risen: float) -> None:
        if not 0 < usual < risen < 1:
            raise ValueError("0 < usual < risen < 1 is needed")
        self._hit = float(np.log(risen / usual))
        self._miss = float(np.log1p(-risen) - np.log1p(-usual))
        self._sum = np.zeros(streams)

    def update(self, unsafe: Flags) -> Floats:
        """Statistic of every stream, (streams,)."""
        self._sum = np.maximum(0.0, self._sum + np.where(unsafe, self._hit, self._miss))
        return self._sum


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
