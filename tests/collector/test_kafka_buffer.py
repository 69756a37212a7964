"""The buffer between the Kafka thread and the daemon's loop."""

import threading

from collector.kafka_buffer import Buffer
from contracts.record import Partition, Position, Record

A, B = Partition("t", 0), Partition("t", 1)


def records(partition: Partition, count: int, size: int = 10) -> list[Record]:
    return [
        Record(bytes(size), "traces", "auto", "kafka:t", 100 + n, Position(partition, n))
        for n in range(count)
    ]


def test_partitions_take_turns_and_keep_their_order() -> None:
    buffer = Buffer(1000, 10_000)
    buffer.put(A, records(A, 6))
    buffer.put(B, records(B, 2))
    taken = [buffer.take(0, 3, 1000) for _ in range(3)]
    positions = [
        [(r.position.partition, r.position.offset) for r in t if r.position] for t in taken
    ]
    assert positions == [
        [(A, 0), (A, 1), (A, 2)],
        [(B, 0), (B, 1), (A, 3)],
        [(A, 4), (A, 5)],
    ]
    assert buffer.take(0, 3, 1000) == []


def test_a_take_is_bounded_in_bytes_but_never_empty() -> None:
    buffer = Buffer(1000, 10_000)
    buffer.put(A, records(A, 3, 600))
    assert [len(buffer.take(0, 10, limit)) for limit in (1, 1200, 1200)] == [1, 2, 0]


def test_room_is_bounded_and_comes_back() -> None:
    buffer = Buffer(5, 100)
    buffer.put(A, records(A, 5, 1))
    assert not buffer.wait_for_room(0)
    threading.Timer(0.05, lambda: buffer.take(0, 1, 100)).start()
    assert buffer.wait_for_room(5)
    buffer.put(A, records(A, 1, 100))
    assert not buffer.wait_for_room(0)
    buffer.clear()
    assert buffer.wait_for_room(0)


def test_dropping_a_partition_leaves_the_others() -> None:
    buffer = Buffer(1000, 10_000)
    buffer.put(A, records(A, 2))
    buffer.put(B, records(B, 1))
    assert buffer.oldest_ns() == 100
    buffer.drop([A])
    assert [r.position for r in buffer.take(0, 10, 1000)] == [Position(B, 0)]
    assert buffer.oldest_ns() is None
