"""A Kafka broker for benchmarks, and OTLP requests as records with times of their own."""

# pyright: reportUnknownMemberType=false
# kafka-python is untyped

import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from kafka import KafkaAdminClient, KafkaProducer  # type: ignore[import-untyped]  # ships no types
from kafka.admin import NewTopic  # type: ignore[import-untyped]  # ships no types

from contracts.clock import SystemClock
from tests.kafka_broker import Broker

PARTITIONS = 4
BETWEEN_MS = 20_000
"""Between two records' timestamps: within a trajectory's idle time-out."""
SINCE_MS = 900_000
"""Age of the newest record: past the idle time-out, so that all of them are judged once read."""

Timed = tuple[int, int, bytes]
"""Partition, timestamp in milliseconds, value."""


@contextmanager
def broker(address: str | None) -> Generator[str]:
    """`address`, or that of a broker started for as long as the context lasts."""
    if address:
        yield address
        return
    with Broker() as started:
        yield started.address


def timed(requests: Sequence[bytes]) -> list[Timed]:
    """The requests in turn over the partitions, with timestamps in the past."""
    now_ms = SystemClock().now_ns() // 1_000_000
    first = now_ms - SINCE_MS - len(requests) * BETWEEN_MS
    return [
        (number % PARTITIONS, first + number * BETWEEN_MS, request)
        for number, request in enumerate(requests)
    ]


def create_topic(address: str) -> str:
    """The name of a new topic of `PARTITIONS` partitions."""
    topic = f"spans-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)])
    admin.close()
    return topic


def send(address: str, topic: str, records: Iterable[Timed]) -> None:
    """Write the records, zstd-compressed, and wait until the broker has them."""
    producer = KafkaProducer(bootstrap_servers=address, compression_type="zstd", acks="all")
    for partition, timestamp_ms, value in records:
        producer.send(topic, value, partition=partition, timestamp_ms=timestamp_ms)
    producer.flush()
    producer.close()
