"""The only place that reads the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Reads the time in nanoseconds."""

    def now_ns(self) -> int:
        """UTC nanoseconds since the Unix epoch; may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
