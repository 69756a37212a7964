"""Record batches as kafka-python's own producer code writes them, read through the guard."""

import random
import struct
import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import kafka.record.memory_records  # type: ignore[import-untyped]  # ships no types
import pytest

from collector.kafka_batches import BatchGuard, FetchedRecord, LostBatch
from collector.kafka_codecs import NAMES, BatchUnreadable, inflate
from contracts.record import Partition

_records = cast("Any", kafka.record.memory_records)
PARTITION = Partition("otlp_spans", 3)
LIMIT = 100_000


def batch(values: list[bytes], codec: int = 0, first: int = 0) -> bytes:
    """One record batch whose offsets begin at `first`."""
    builder = _records.MemoryRecordsBuilder(
        magic=2, compression_type=codec, batch_size=64 * 1024 * 1024
    )
    for value in values:
        builder.append(timestamp=1_700_000_000_000, key=b"k", value=value, headers=[("h", b"v")])
    builder.close()
    content = bytearray(builder.buffer())
    struct.pack_into(">q", content, 0, first)
    return bytes(content)


def read(guard: BatchGuard, content: bytes, position: int = 0) -> tuple[list[FetchedRecord], int]:
    """Records of one fetch response, and the offset to be fetched next."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace())
    guard.attach(consumer)
    guard.polled_bytes = 0
    part = consumer._fetcher.PartitionRecords(
        position,
        (PARTITION.topic, PARTITION.partition),
        _records.MemoryRecords(content),
        isolation_level=1,
    )
    taken: list[FetchedRecord] = part.take(None)
    return taken, part.next_fetch_offset


@pytest.fixture
def guard() -> BatchGuard:
    return BatchGuard(inflated_bytes=LIMIT, poll_bytes=10 * LIMIT, retries=2)


@pytest.mark.parametrize("codec", NAMES)
def test_batches_of_every_compression(guard: BatchGuard, codec: int) -> None:
    values = [b"one" * 100, b"", b"three"]
    records, following = read(guard, batch(values, codec, 7) + batch([b"four"], codec, 10))
    assert [record.value for record in records] == [*values, b"four"]
    assert [record.offset for record in records] == [7, 8, 9, 10]
    assert records[0].timestamp_ms == 1_700_000_000_000
    assert (following, guard.lost) == (11, [])


def test_reading_begins_in_the_middle_of_a_batch(guard: BatchGuard) -> None:
    records, following = read(guard, batch([b"a", b"b", b"c"], 4, 5), position=6)
    assert [record.value for record in records] == [b"b", b"c"]
    assert following == 8


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_bomb_is_passed_by_after_its_retries(guard: BatchGuard, codec: int) -> None:
    bomb = batch([bytes(3_000_000)] * 10, codec, 2)
    content = batch([b"a", b"b"], codec) + bomb + batch([b"after"], codec, 12)
    tracemalloc.start()
    for _ in range(guard.retries):
        records, following = read(guard, content)
        assert [record.value for record in records] == [b"a", b"b"]
        assert following == 2
        assert guard.retried == {PARTITION}
        assert guard.lost == []
    records, following = read(guard, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [record.value for record in records] == [b"a", b"b", b"after"]
    assert following == 13
    (lost,) = guard.lost
    assert (lost.partition, lost.first, lost.last) == (PARTITION, 2, 11)
    assert "more than" in lost.reason
    assert peak < 30 * LIMIT


def test_a_corrupt_batch_in_the_middle(guard: BatchGuard) -> None:
    guard.retries = 0
    corrupt = bytearray(batch([b"b" * 50, b"c"], 0, 1))
    corrupt[80] ^= 1
    records, following = read(guard, batch([b"a"]) + bytes(corrupt) + batch([b"d"], 0, 3))
    assert [record.value for record in records] == [b"a", b"d"]
    assert (following, guard.lost) == (
        4,
        [LostBatch(PARTITION, 1, 2, "checksum does not match")],
    )


def test_a_corrupt_batch_at_the_end(guard: BatchGuard) -> None:
    guard.retries = 0
    corrupt = bytearray(batch([b"b" * 50, b"c"], 0, 1))
    corrupt[80] ^= 1
    records, following = read(guard, batch([b"a"]) + bytes(corrupt))
    assert [record.value for record in records] == [b"a"]
    assert following == 3
    assert [(lost.first, lost.last) for lost in guard.lost] == [(1, 2)]


def test_a_corrupt_header_gives_up_no_more_than_it_must(guard: BatchGuard) -> None:
    """Byte 23 to 26 hold the last offset; with a wrong one only the next batch can tell."""
    guard.retries = 0
    corrupt = bytearray(batch([b"b", b"c"], 0, 1))
    struct.pack_into(">i", corrupt, 23, 1_000_000)
    records, following = read(guard, bytes(corrupt) + batch([b"d"], 0, 3), position=1)
    assert [record.value for record in records] == [b"d"]
    assert [(lost.first, lost.last) for lost in guard.lost] == [(1, 2)]
    guard.lost.clear()
    records, following = read(guard, bytes(corrupt), position=1)
    assert (records, following) == ([], 2)
    assert [(lost.first, lost.last) for lost in guard.lost] == [(1, 1)]


def test_records_that_do_not_fill_their_batch(guard: BatchGuard) -> None:
    """A batch with a right checksum over wrong content, as a broken producer makes it."""
    guard.retries = 0
    wrong = bytearray(batch([b"b", b"c"]))
    struct.pack_into(">i", wrong, 57, 1)
    from kafka.record.util import calc_crc32c  # type: ignore[import-untyped]  # ships no types

    struct.pack_into(">I", wrong, 17, calc_crc32c(memoryview(wrong)[21:]))
    records, _ = read(guard, bytes(wrong) + batch([b"d"], 0, 2))
    assert [record.value for record in records] == [b"d"]
    assert "unconsumed" in guard.lost[0].reason


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("seed", range(60))
def test_no_mutation_of_a_fetch_stops_a_partition(retries: int, seed: int) -> None:
    """Whatever a batch holds, reading ends, moves on, and says what it left out. Its first 12
    bytes, offset and length, are the broker's own: it finds its way in its log by them.
    """
    rng = random.Random(seed)
    batches = [
        bytearray(made)
        for made in (
            batch([b"a", b"b"], 4),
            batch([b"c" * 50] * 3, 1, 2),
            batch([b"d"], 0, 5),
        )
    ]
    for _ in range(rng.randint(1, 4)):
        mutated = rng.choice(batches)
        mutated[rng.randrange(12, len(mutated))] = rng.randrange(256)
    content = b"".join(batches)
    guard = BatchGuard(inflated_bytes=LIMIT, poll_bytes=10 * LIMIT, retries=retries)
    position = fetches = 0
    seen: list[int] = []
    while position < 6:
        records, following = read(guard, content, position)
        assert following >= position
        assert all(position <= record.offset < following for record in records)
        position = following
        fetches += 1
        seen += [record.offset for record in records]
        assert fetches <= 6 * (retries + 1)
    lost = [n for gap in guard.lost for n in range(gap.first, gap.last + 1)]
    assert sorted(seen + lost) == list(range(6))


def test_a_poll_inflates_no_more_than_its_share(guard: BatchGuard) -> None:
    content = b"".join(batch([bytes(90_000)], 4, n) for n in range(100))
    seen, position = 0, 0
    while position < 100:
        records, position = read(guard, content, position)
        assert 1 <= len(records) <= 12
        seen += len(records)
    assert seen == 100


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "content", [b"\xff" * 9, b"\0" * 40, b"\x1f\x8b\x08", b"\x82SNAPPY\0" + b"\0" * 30]
)
def test_what_is_not_compressed_at_all(codec: int, content: bytes) -> None:
    with pytest.raises(BatchUnreadable, match=NAMES[codec]):
        inflate(codec, content, 1000)


def test_a_compression_nobody_knows() -> None:
    with pytest.raises(BatchUnreadable, match="unknown"):
        inflate(5, b"x", 1000)
