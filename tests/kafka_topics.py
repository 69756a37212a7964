"""Topics, records and waiting, for tests against a real Kafka broker."""

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import kafka  # type: ignore[import-untyped]  # ships no types
import kafka.admin  # type: ignore[import-untyped]  # ships no types

from collector.kafka import KafkaSource
from contracts.record import Gap, Partition, Position, Record

# Any: the stubs that type checkers bring along are of kafka-python 2.
_kafka, _admin = cast("Any", kafka), cast("Any", kafka.admin)
TIMEOUT_S = 30.0
Open = Callable[..., KafkaSource]


def produce(
    broker: str, topic: str, values: Sequence[bytes], partitions: int = 4, **settings: Any
) -> None:
    """Spread over the partitions in turn."""
    producer = _kafka.KafkaProducer(bootstrap_servers=broker, **settings)
    for number, value in enumerate(values):
        producer.send(topic, value=value, partition=number % partitions)
    producer.flush()
    producer.close()


def create(admin: Any, topic: str, partitions: int = 4) -> None:
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})
    admin.wait_for_topics([topic])


def collect(source: KafkaSource, count: int, timeout_s: float = TIMEOUT_S) -> list[Record]:
    """At least `count` records, or what came in time."""
    records: list[Record] = []
    deadline = time.monotonic() + timeout_s
    while len(records) < count and time.monotonic() < deadline:
        records += source.poll(0.2, 500)
    return records


def wait_for(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def ledger_of(records: Sequence[Record]) -> dict[Partition, Position]:
    return {r.position.partition: r.position for r in records if r.position is not None}


def gaps_of(source: KafkaSource, count: int = 1) -> list[Gap]:
    gaps: list[Gap] = []

    def enough() -> bool:
        gaps.extend(source.gaps())
        return len(gaps) >= count

    wait_for(enough)
    return gaps
