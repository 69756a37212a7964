"""What the daemon does for its store beside the stream: deletion of what is past retention."""

import logging

from contracts.clock import Clock
from contracts.errors import RetryableError
from storage.store import Store

log = logging.getLogger("telltale.upkeep")

DAY_S = 86_400.0
OVERDUE_S = 3_600.0
"""A daemon that is never idle for so long after the day is over deletes all the same."""
AGAIN_S = 60.0
"""After a failure."""


class Retention:
    """Deletes, at start and then once a day, what is older than `days`; 0 keeps everything."""

    def __init__(self, store: Store, days: int, clock: Clock) -> None:
        self._store = store
        self._days = days
        self._clock = clock
        self._due_s = self._now_s()

    def turn(self, idle: bool) -> None:
        """Delete if it is due and the stream is `idle`, or if it is long overdue."""
        late_s = self._now_s() - self._due_s
        if not self._days or late_s < 0 or (not idle and late_s < OVERDUE_S):
            return
        try:
            receipt = self._store.retain(self._days)
        except RetryableError as error:
            log.warning("retention put off: %s", error)
            self._due_s = self._now_s() + AGAIN_S
            return
        self._due_s = self._now_s() + DAY_S
        log.info(
            "retention",
            extra={
                "days": self._days,
                "trajectories": receipt.trajectories,
                "spans": receipt.spans,
                "dead_letters": receipt.dead_letters,
            },
        )

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9
