"""Record batches read with a bound and without a way to stop a partition for ever.

kafka-python raises on a batch it cannot read, on every poll anew, without saying which partition or
offsets it is about, and goes round and round in it. Here such a batch is fetched again a few times,
then passed by, and what was lost is told exactly. Version-bound on purpose: it takes the place of
`Fetcher.PartitionRecords` on one consumer; kafka-python is pinned and
`tests/collector/test_kafka_batches.py` reads real batches through it.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# The class replaced here, and a batch's buffer, are kafka-python's own business.

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

import kafka.consumer.fetcher  # type: ignore[import-untyped]  # ships no types
from kafka.errors import CorruptRecordError  # type: ignore[import-untyped]  # ships no types

from collector.kafka_codecs import BatchUnreadable, inflate
from contracts.record import Partition

# Any, because the stubs that type checkers bring along are of kafka-python 2.
_PartitionRecords: Any = cast("Any", kafka.consumer.fetcher).Fetcher.PartitionRecords

_UNREADABLE = (BatchUnreadable, CorruptRecordError, struct.error, ValueError, IndexError)
"""What kafka-python raises on bytes that are no batch: it unpacks them before it checks them."""

MAX_RECORDS_PER_BATCH = 100_000
"""OTLP payloads take 100 bytes or more; a batch of millions of empty records is a bomb."""


class FetchedRecord(NamedTuple):
    """One record. `timestamp_ms`: -1 where it has none."""

    offset: int
    timestamp_ms: int
    value: bytes | None
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class LostBatch:
    """Offsets [first, last] that could not be read after all retries."""

    partition: Partition
    first: int
    last: int
    reason: str


@dataclass(slots=True)
class BatchGuard:
    """Bounds and outcomes of one consumer's batches. Used from the consumer's polling thread.

    `inflated_bytes`: most that one batch may inflate to. `poll_bytes`: most inflated in one poll;
    what is beyond is fetched again by the next one. `retries`: of an unreadable batch. `lost` and
    `retried` are taken and cleared by the reader after each poll.
    """

    inflated_bytes: int
    poll_bytes: int
    retries: int
    polled_bytes: int = 0
    lost: list[LostBatch] = field(default_factory=list[LostBatch])
    retried: set[Partition] = field(default_factory=set[Partition])
    _attempts: dict[tuple[Partition, int], int] = field(
        default_factory=dict[tuple[Partition, int], int]
    )

    def give_up(self, partition: Partition, first: int, last: int, reason: str) -> bool:
        """Whether to pass by the batch, which is then recorded as lost; else fetch it again."""
        attempts = self._attempts.get((partition, first), 0)
        if attempts < self.retries:
            self._attempts[partition, first] = attempts + 1
            self.retried.add(partition)
            return False
        self._attempts.pop((partition, first), None)
        self.lost.append(LostBatch(partition, first, last, reason))
        return True

    def readable(self, partition: Partition, first: int) -> None:
        """Forget the attempts at a batch that was read after all."""
        if self._attempts:
            self._attempts.pop((partition, first), None)

    def attach(self, consumer: object) -> None:
        """Read this consumer's batches through the guard."""

        def records(*arguments: object, **options: object) -> "_GuardedRecords":
            return _GuardedRecords(self, *arguments, **options)

        cast("Any", consumer)._fetcher.PartitionRecords = records


class _Batch(Protocol):
    """`kafka.record.default_records.DefaultRecordBatch` as far as it is used."""

    _buffer: bytes | bytearray
    _pos: int
    _decompressed: bool
    base_offset: int
    last_offset: int
    last_offset_delta: int
    next_offset: int
    records_count: int
    leader_epoch: int
    magic: int
    compression_type: int
    is_control_batch: bool
    is_transactional: bool
    producer_id: int

    def validate_crc(self) -> bool: ...
    def has_producer_id(self) -> bool: ...
    def __iter__(self) -> Iterator["_Record"]: ...


class _Record(Protocol):
    offset: int
    timestamp: int
    value: bytes | None


class _Batches(Protocol):
    def next_batch(self) -> _Batch | None: ...


class _GuardedRecords(_PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """The records of one partition in one fetch response."""

    next_fetch_offset: int
    leader_epoch: int

    def __init__(self, guard: BatchGuard, *arguments: object, **options: object) -> None:
        self._guard = guard
        super().__init__(*arguments, **options)

    def _unpack_records(
        self, tp: tuple[str, int], records: _Batches, *_deserializers: object
    ) -> Iterator[FetchedRecord]:
        """Yields records; sets `next_fetch_offset`; ends early where a batch is to be fetched
        again.
        """
        guard, partition = self._guard, Partition(*tp)
        pending: _Batch | None = None
        while guard.polled_bytes < guard.poll_bytes:
            first = self.next_fetch_offset
            batch: _Batch | None = None
            try:
                batch, pending = pending or records.next_batch(), None
                if batch is None:
                    break
                readable = self._read(batch)
            except _UNREADABLE as error:
                last, pending = _last_offset(batch, records, first)
                if last < first:
                    continue  # before the position
                if not guard.give_up(partition, first, last, str(error)):
                    break
                self.next_fetch_offset = last + 1
                if batch is None:
                    break  # where the next one begins is not known
                continue
            if batch.next_offset > first:
                guard.readable(partition, first)
            self.leader_epoch = batch.leader_epoch
            for record in readable:
                self.next_fetch_offset = record.offset + 1
                yield FetchedRecord(
                    record.offset, record.timestamp, record.value, batch.leader_epoch
                )
            # The batch keeps its last offset where compaction removed the last record.
            self.next_fetch_offset = max(first, batch.next_offset)
        self.drain()

    def _read(self, batch: _Batch) -> Sequence[_Record]:
        """All records of a batch; none of one that is before the position, is aborted or holds a
        transaction marker.
        """
        if batch.magic < 2:
            raise BatchUnreadable(f"message format v{batch.magic} of before Kafka 0.11")
        if not batch.validate_crc():
            raise BatchUnreadable("checksum does not match")
        if batch.next_offset <= self.next_fetch_offset:
            return ()
        if batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
                return ()
            if self._is_batch_aborted(batch):
                return ()
        if batch.is_control_batch:
            return ()
        if batch.records_count > MAX_RECORDS_PER_BATCH:
            raise BatchUnreadable(f"more than {MAX_RECORDS_PER_BATCH} records in a batch")
        content = bytes(memoryview(batch._buffer)[batch._pos :])
        batch._buffer = inflate(batch.compression_type, content, self._guard.inflated_bytes)
        batch._pos = 0
        batch._decompressed = True
        self._guard.polled_bytes += len(batch._buffer)
        return list(batch)


def _last_offset(batch: _Batch | None, records: _Batches, first: int) -> tuple[int, _Batch | None]:
    """Where an unreadable batch ends, and the batch after it if it is at hand.

    The header may be what is corrupt: the next batch's start says it best, then two fields that
    agree, else only `first` itself is given up.
    """
    try:
        following = records.next_batch() if batch is not None else None
    except _UNREADABLE:
        following = None
    if following is not None:
        return following.base_offset - 1, following
    if batch is None or batch.magic < 2:
        return first, None
    if batch.records_count == batch.last_offset_delta + 1 > 0:
        return max(batch.last_offset, first), None
    return first, None
