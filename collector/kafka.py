"""A `SpanSource` over Kafka: positions come from the store, records wait in a bounded buffer."""

import threading
from collections.abc import Callable, Mapping, Sequence

from collector.config import KafkaConfig
from collector.kafka_buffer import Buffer
from collector.kafka_client import check_installed, name, ssl_context
from collector.kafka_reader import KafkaReader
from contracts.clock import Clock
from contracts.errors import SourceUnavailable
from contracts.record import Gap, Partition, Position, Record

POLL_BYTES = 16 * 1024 * 1024
"""Most payload bytes handed over by one `poll`, unless one record alone has more."""
UNKNOWN_LAG_S = 30 * 86_400.0
"""Lag told before the brokers first answered, and before a partition that is behind gave its first
record: a backlog must not look like silence.
"""
FIRST_RECORD_S = 60.0
"""How long that record is waited for; after it such a partition is as old as it was noticed."""
STUCK_S = 60.0
"""A reader that gave no sign for this long hangs in the client library and is replaced."""


class _Listener:
    """What one reader told last. Written by its thread, read by others; each field is replaced or
    changed by single operations.
    """

    def __init__(self, clock: Clock, lost: Callable[[Gap], None]) -> None:
        self._clock = clock
        self.lost = lost
        self.started_ns = clock.now_ns()
        self.reached_ns = 0
        self.error: SourceUnavailable | None = None
        self.behind_since_ns: dict[Partition, int] = {}
        self.stalled_partitions: set[Partition] = set()

    def reached(self, behind: Mapping[Partition, int]) -> None:
        now_ns = self._clock.now_ns()
        before = self.behind_since_ns
        self.behind_since_ns = {partition: before.get(partition, now_ns) for partition in behind}
        self.stalled_partitions &= behind.keys()
        self.reached_ns = now_ns
        self.error = None

    def failed(self, error: SourceUnavailable) -> None:
        self.error = error

    def stalled(self, partition: Partition) -> None:
        self.stalled_partitions.add(partition)

    def delivered(self, partition: Partition) -> None:
        self.stalled_partitions.discard(partition)


class KafkaSource:
    """`contracts.ports.SpanSource` over Kafka topics. Thread-safe.

    Positions are the ledger's own: after `start` each partition is read from the offset after the
    stored one, a partition not stored from its beginning. Raises `ConfigError` where the crc32c
    package or a certificate file is missing.
    """

    def __init__(self, config: KafkaConfig, clock: Clock) -> None:
        check_installed()
        ssl_context(config)
        self._config = config
        self._clock = clock
        self._buffer = Buffer(config.buffer_records, config.buffer_bytes)
        self._lock = threading.Lock()
        self._reader: KafkaReader | None = None
        self._listener: _Listener | None = None
        self._ledger: dict[Partition, Position] = {}
        self._gaps: list[Gap] = []
        self._last_received_ns: dict[Partition, int] = {}

    @property
    def name(self) -> str:
        return "kafka"

    @property
    def up(self) -> bool:
        """Whether the brokers answered when last asked."""
        listener = self._listener
        return listener is not None and listener.error is None and listener.reached_ns > 0

    @property
    def stalled(self) -> bool:
        """Whether a partition that has records has given none for so long that the clients were
        rebuilt, and has not moved since.
        """
        listener = self._listener
        return listener is not None and bool(listener.stalled_partitions)

    def start(self, ledger: Mapping[Partition, Position]) -> None:
        """Begin, or begin anew, after these positions. What was not acknowledged comes again."""
        with self._lock:
            self._ledger = dict(ledger)
            self._replace_reader()

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        """Buffered records, partitions in turn. Raises `SourceUnavailable` where nothing is
        buffered and the brokers cannot be reached.
        """
        records = self._buffer.take(timeout_s, max_records, POLL_BYTES)
        for record in records:
            if record.position is not None:
                self._last_received_ns[record.position.partition] = record.received_ns
        if not records:
            self._raise_if_unavailable()
        return records

    def gaps(self) -> Sequence[Gap]:
        with self._lock:
            gaps, self._gaps = self._gaps, []
            return gaps

    def acknowledge(self, records: Sequence[Record], rejected: Mapping[int, int]) -> None:
        """Commit the offsets to the group as a courtesy. `rejected` means nothing to Kafka."""
        # The last in order, not the highest: the offsets of a topic created anew start at 0.
        positions = {r.position.partition: r.position for r in records if r.position is not None}
        with self._lock:
            self._ledger.update(positions)
            if self._reader is not None:
                self._reader.acknowledged({p: last.offset + 1 for p, last in positions.items()})

    def refuse(self, records: Sequence[Record], retry_after_s: float) -> None:
        """Hand the records out again, from the first of each partition on, after a while."""
        offsets: dict[Partition, int] = {}
        for record in records:
            if record.position is not None:
                partition, offset = record.position.partition, record.position.offset
                offsets[partition] = min(offset, offsets.get(partition, offset))
        with self._lock:
            if self._reader is not None:
                self._reader.seek_back(offsets, retry_after_s)

    def lag_s(self, now_ns: int) -> float | None:
        """Age of the oldest record not yet polled, as far as known; it grows while the brokers are
        away. `UNKNOWN_LAG_S` at least while it cannot be known. None before `start`.
        """
        listener = self._listener
        if listener is None:
            return None
        if listener.reached_ns == 0:
            return UNKNOWN_LAG_S + (now_ns - listener.started_ns) / 1e9
        since = [now_ns]
        oldest_ns = self._buffer.oldest_ns()
        if oldest_ns is not None:
            since.append(oldest_ns)
        if listener.error is not None:
            since.append(listener.reached_ns)
        for partition, noticed_ns in list(listener.behind_since_ns.items()):
            first_ns = noticed_ns
            if now_ns - noticed_ns < FIRST_RECORD_S * 1e9:
                first_ns -= int(UNKNOWN_LAG_S * 1e9)
            since.append(self._last_received_ns.get(partition, first_ns))
        return max(0.0, (now_ns - min(since)) / 1e9)

    def close(self, timeout_s: float) -> None:
        with self._lock:
            reader, self._reader = self._reader, None
            self._buffer.clear()
        if reader is not None:
            reader.stop()
            reader.join(timeout_s)

    def _replace_reader(self) -> None:
        """Stop the reader without waiting for it: what it still delivers goes to a buffer of its
        own.
        """
        if self._reader is not None:
            self._reader.stop()
        self._buffer = Buffer(self._config.buffer_records, self._config.buffer_bytes)
        self._listener = _Listener(self._clock, self._lost)
        self._reader = KafkaReader(
            self._config, self._clock, self._buffer, self._listener, self._ledger
        )
        self._reader.start()

    def _lost(self, gap: Gap) -> None:
        with self._lock:
            self._gaps.append(gap)

    def _raise_if_unavailable(self) -> None:
        with self._lock:
            reader, listener = self._reader, self._listener
            if reader is None or listener is None:
                return
            silent_s = self._clock.monotonic_ns() / 1e9 - reader.beat_s
            if silent_s > STUCK_S + self._config.request_timeout_s:
                self._replace_reader()
                raise SourceUnavailable(
                    f"{name(self._config)}: the client has hung for {silent_s:.0f} s; replaced"
                )
        if listener.error is not None:
            raise SourceUnavailable(str(listener.error))
