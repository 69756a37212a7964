"""The thread that delivers the outbox."""

import random
import threading
from collections.abc import Callable, Sequence

from alerts.alertmanager import Alertmanager
from alerts.exposition import Exposition
from alerts.log_sink import LogSink
from alerts.outbox import Delivery
from alerts.policy import Memory, Settings, firing
from contracts.clock import Clock
from contracts.errors import RetryableError
from contracts.verdict import Alert
from storage import listings
from storage.store import Store

TURN_S = 1.0


class Deliverer:
    """Delivers until closed. `page`, `runbooks`: addresses for links. `memory`: what the pipeline
    knows of raised alerts, now.
    """

    def __init__(
        self,
        store: Store,
        urls: Sequence[str],
        page: str,
        runbooks: str,
        memory: Callable[[], Memory],
        exposition: Exposition,
        clock: Clock,
    ) -> None:
        settings = Settings()
        self._store = store
        self._clock = clock
        self._exposition = exposition
        self._sink = Alertmanager(urls, clock, page, runbooks) if urls else LogSink()
        jitter = random.Random(page)
        self._delivery = Delivery(
            store,
            self._sink,
            lambda alert: firing(memory(), alert, clock.now_ns(), settings),
            exposition.delivery,
            jitter.random,
            open_alerts=_open(store, memory(), clock.now_ns(), settings),
        )
        self._changed = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There are new alerts. Any thread may call it."""
        self._changed.set()

    def close(self, timeout_s: float) -> None:
        """End after the attempt in work; what is left stays in the outbox. Idempotent."""
        self._closed = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if isinstance(self._sink, Alertmanager):
            self._sink.close()

    def _run(self) -> None:
        while not self._closed:
            self._changed.wait(TURN_S)
            self._changed.clear()
            self._delivery.turn(self._clock.now_ns())
            try:
                self._exposition.outbox(self._store.fetch(listings.outbox_size))
            except RetryableError:
                self._exposition.failed("alerts")  # the store is being reopened; next turn


def _open(store: Store, memory: Memory, now_ns: int, settings: Settings) -> list[Alert]:
    """Delivered alerts that still hold: receivers may have forgotten them meanwhile."""
    return [a for a in store.fetch(listings.delivered) if firing(memory, a, now_ns, settings)]
