"""Metric families with a bounded number of series, exposed as one consistent snapshot."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "telltale_"


@dataclass(frozen=True, slots=True)
class Definition:
    """One exported metric. `name`: without the prefix, counters end in `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    help: str


class Series(Collector):
    """Values of the defined metrics. Register one per registry; every method is thread-safe.

    Written by the pipeline only: no callbacks run at scrape time, so a scrape cannot fail in
    somebody else's code. `limit`: most series over all metrics; a new series past it is refused and
    counted in `overflow`.
    """

    def __init__(
        self, registry: CollectorRegistry, definitions: Iterable[Definition], limit: int
    ) -> None:
        self.lock = threading.RLock()
        self._definitions = {definition.name: definition for definition in definitions}
        self._values: dict[str, dict[tuple[str, ...], float]] = {
            name: {} for name in self._definitions
        }
        self._limit = limit
        self._count = 0
        self.overflow = 0
        registry.register(self)

    def add(self, name: str, labels: tuple[str, ...] = (), amount: float = 1.0) -> bool:
        """Add to a counter. False where the series would be one too many."""
        values = self._values[name]
        with self.lock:
            if labels not in values and not self._admit(name, labels):
                return False
            values[labels] = values.get(labels, 0.0) + amount
        return True

    def set(self, name: str, value: float, labels: tuple[str, ...] = ()) -> bool:
        """Set a gauge. False where the series would be one too many."""
        values = self._values[name]
        with self.lock:
            if labels not in values and not self._admit(name, labels):
                return False
            values[labels] = float(value)
        return True

    def get(self, name: str, labels: tuple[str, ...] = ()) -> float | None:
        """The value now, None where there is no such series."""
        with self.lock:
            return self._values[name].get(labels)

    def clear(self, name: str) -> None:
        """Remove all series of one metric."""
        with self.lock:
            self._count -= len(self._values[name])
            self._values[name].clear()

    def _admit(self, name: str, labels: tuple[str, ...]) -> bool:
        expected = len(self._definitions[name].labels)
        if len(labels) != expected:
            raise ValueError(f"{name} takes {expected} labels, got {len(labels)}")
        if self._count >= self._limit:
            self.overflow += 1
            return False
        self._count += 1
        return True

    def collect(self) -> Iterator[Metric]:
        """All families as of one moment."""
        with self.lock:
            snapshot = {name: dict(values) for name, values in self._values.items()}
        for name, definition in self._definitions.items():
            yield _family(definition, snapshot[name])


def _family(definition: Definition, values: dict[tuple[str, ...], float]) -> Metric:
    name = PREFIX + definition.name
    if definition.kind == "counter":
        family: CounterMetricFamily | GaugeMetricFamily = CounterMetricFamily(
            name, definition.help, labels=definition.labels
        )
    else:
        family = GaugeMetricFamily(name, definition.help, labels=definition.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
