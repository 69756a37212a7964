"""The queue between the OTLP receivers and the pipeline, as a `SpanSource`."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from contracts.clock import Clock
from contracts.errors import Busy
from contracts.record import Encoding, Gap, Partition, Position, Record, Signal

RETRY_AFTER_S = 1.0
"""Told to a sender that finds the inbox full; a group commit takes about half a second."""


@dataclass(slots=True)
class _Waiting:
    size_bytes: int
    done: Future[int]


class OtlpInbox:
    """Payloads that were pushed to us, until the pipeline has made them durable.

    Bounded by records and bytes, counting what is queued and what the pipeline has polled but not
    yet acknowledged. Every method may be called from any thread.

    Order at shutdown: close the receivers while the pipeline still runs, so that their senders get
    their answers; then the inbox; then the pipeline.
    """

    def __init__(
        self, clock: Clock, *, max_records: int = 4096, max_bytes: int = 256 << 20
    ) -> None:
        self._clock = clock
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._queue: deque[Record] = deque()
        self._waiting: dict[int, _Waiting] = {}
        self._bytes = 0
        self._last_ticket = 0
        self.turned_away = 0
        """Payloads not taken because the inbox was full, since the start; senders keep those."""
        self._open = False
        self._closed = False

    @property
    def name(self) -> str:
        return "otlp"

    @property
    def up(self) -> bool:
        """Whether payloads are accepted."""
        return self._open

    @property
    def stalled(self) -> bool:
        """Never: there is no peer that could hold anything back."""
        return False

    def submit(
        self, payload: bytes, signal: Signal, encoding: Encoding, source: str
    ) -> Future[int]:
        """A future of the number of spans (or log records) of `payload` that were rejected.

        It resolves after the commit that made the payload durable, or fails with `Busy` where that
        could not be done now. It cannot be cancelled: a sender that has gone away may never send
        again. Raises `Busy` at once where the inbox is full or not open.
        """
        done: Future[int] = Future()
        done.set_running_or_notify_cancel()
        with self._changed:
            if not self._open:
                raise Busy("not receiving", RETRY_AFTER_S)
            if len(self._waiting) >= self._max_records or (
                self._waiting and self._bytes + len(payload) > self._max_bytes
            ):
                self.turned_away += 1
                raise Busy("the inbox is full", RETRY_AFTER_S)
            self._last_ticket += 1
            record = Record(
                payload,
                signal,
                encoding,
                source,
                received_ns=self._clock.now_ns(),
                ticket=self._last_ticket,
            )
            self._waiting[record.ticket] = _Waiting(len(payload), done)
            self._bytes += len(payload)
            self._queue.append(record)
            self._changed.notify_all()
        return done

    @property
    def fill(self) -> tuple[int, int]:
        """Records and bytes not yet acknowledged."""
        with self._changed:
            return len(self._waiting), self._bytes

    def start(self, ledger: Mapping[Partition, Position]) -> None:
        """Begin to accept. `ledger` holds no positions of push transports and is not read."""
        with self._changed:
            self._open = not self._closed

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._closed, timeout_s)
            return [self._queue.popleft() for _ in range(min(max_records, len(self._queue)))]

    def gaps(self) -> Sequence[Gap]:
        """Never any: what was not acknowledged is still with its sender."""
        return ()

    def acknowledge(self, records: Sequence[Record], rejected: Mapping[int, int]) -> None:
        for record, done in self._settle(records):
            done.set_result(rejected.get(record.ticket, 0))

    def refuse(self, records: Sequence[Record], retry_after_s: float) -> None:
        for _, done in self._settle(records):
            done.set_exception(Busy("could not be stored now", retry_after_s))

    def lag_s(self, now_ns: int) -> float | None:
        with self._changed:
            return max(0.0, (now_ns - self._queue[0].received_ns) / 1e9) if self._queue else 0.0

    def close(self, timeout_s: float) -> None:
        """Refuse what is queued and all that comes, and wait `timeout_s` for what was polled."""
        with self._changed:
            self._open, self._closed = False, True
            queued = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        self.refuse(queued, RETRY_AFTER_S)
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s)
            left = list(self._waiting.values())
            self._waiting.clear()
            self._bytes = 0
        for waiting in left:
            waiting.done.set_exception(Busy("shutting down", RETRY_AFTER_S))

    def _settle(self, records: Sequence[Record]) -> list[tuple[Record, Future[int]]]:
        """The futures of `records` that are still open, taken off the books.

        They are resolved outside the lock: callbacks of a future run in the resolving thread.
        """
        settled: list[tuple[Record, Future[int]]] = []
        with self._changed:
            for record in records:
                waiting = self._waiting.pop(record.ticket, None)
                if waiting is not None:
                    self._bytes -= waiting.size_bytes
                    settled.append((record, waiting.done))
            self._changed.notify_all()
        return settled
