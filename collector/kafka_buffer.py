"""Records fetched and not yet polled: bounded, fair between partitions."""

import threading
from collections import deque
from collections.abc import Iterable

from contracts.record import Partition, Record


class Buffer:
    """FIFO per partition, partitions in turn. Thread-safe. A put may go past the bounds once."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._queues: dict[Partition, deque[Record]] = {}
        self._records = 0
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, partition: Partition, records: Iterable[Record]) -> None:
        """Append records of one partition."""
        with self._changed:
            queue = self._queues.setdefault(partition, deque())
            for record in records:
                queue.append(record)
                self._records += 1
                self._bytes += len(record.payload)
            self._changed.notify_all()

    def wait_for_room(self, timeout_s: float) -> bool:
        """Whether there is room now, waiting for it at most `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._records < self._max_records and self._bytes < self._max_bytes,
                timeout_s,
            )

    def take(self, timeout_s: float, max_records: int, max_bytes: int) -> list[Record]:
        """Up to both bounds, one record at least if there is any, waiting for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._records > 0, timeout_s)
            taken: list[Record] = []
            size = 0
            while self._queues and len(taken) < max_records:
                partition, queue = next(iter(self._queues.items()))
                while queue and len(taken) < max_records:
                    if taken and size + len(queue[0].payload) > max_bytes:
                        break
                    record = queue.popleft()
                    taken.append(record)
                    size += len(record.payload)
                # To the back, so that a busy partition does not keep the others waiting.
                del self._queues[partition]
                if queue:
                    self._queues[partition] = queue
                    break
            self._records -= len(taken)
            self._bytes -= size
            self._changed.notify_all()
            return taken

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget what is held of these partitions."""
        with self._changed:
            for partition in partitions:
                for record in self._queues.pop(partition, ()):
                    self._records -= 1
                    self._bytes -= len(record.payload)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget everything."""
        self.drop(list(self._queues))

    def oldest_ns(self) -> int | None:
        """Earliest receive time among the partitions' next records; None where nothing is held."""
        with self._changed:
            return min((queue[0].received_ns for queue in self._queues.values()), default=None)
