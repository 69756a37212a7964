"""The Kafka source against a real Apache Kafka broker."""

import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import kafka  # type: ignore[import-untyped]  # ships no types
import kafka.admin  # type: ignore[import-untyped]  # ships no types
import pytest

from collector.otlp import decode
from contracts.record import Partition
from tests.kafka_topics import Open, collect, create, ledger_of, produce, wait_for

pytestmark = pytest.mark.kafka

# Any: the stubs that type checkers bring along are of kafka-python 2.
_kafka, _admin = cast("Any", kafka), cast("Any", kafka.admin)


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("keyed", [False, True])
def test_every_record_once_and_in_order(
    kafka_broker: str, topic: str, open_source: Open, compression: str | None, keyed: bool
) -> None:
    began_ns = time.time_ns()
    producer = _kafka.KafkaProducer(bootstrap_servers=kafka_broker, compression_type=compression)
    values = [b"%d " % n * 50 for n in range(400)]
    for number, value in enumerate(values):
        producer.send(topic, value=value, key=b"%032x" % (number % 37) if keyed else None)
    producer.flush()
    producer.close()
    records = collect(open_source(), 400)
    assert sorted(r.payload for r in records) == sorted(values)
    by_partition: dict[Partition, list[int]] = {}
    for record in records:
        assert record.source == f"kafka:{topic}"
        assert (record.signal, record.encoding) == ("traces", "auto")
        assert began_ns - 10**9 < record.received_ns < time.time_ns() + 10**9
        assert record.position is not None
        assert record.position.topic_id
        by_partition.setdefault(record.position.partition, []).append(record.position.offset)
    assert all(offsets == list(range(len(offsets))) for offsets in by_partition.values())


def test_reading_goes_on_after_the_ledger(kafka_broker: str, topic: str, open_source: Open) -> None:
    produce(kafka_broker, topic, [b"%d" % n for n in range(40)])
    first = open_source()
    half = collect(first, 40)[:20]
    first.close(5)
    again = collect(open_source(ledger_of(half)), 20)
    produce(kafka_broker, topic, [b"new"])
    expected = {r.position for r in collect(open_source(), 41)}
    assert len(expected) == 41
    assert {r.position for r in half} | {r.position for r in again} <= expected
    assert not {r.position for r in half} & {r.position for r in again}
    assert len(half) + len(again) == 40


def test_start_again_seeks_to_the_ledger(kafka_broker: str, topic: str, open_source: Open) -> None:
    produce(kafka_broker, topic, [b"%d" % n for n in range(8)])
    source = open_source()
    records = collect(source, 8)
    source.start(ledger_of([r for r in records if r.position and r.position.offset == 0]))
    again = collect(source, 4)
    assert sorted(r.payload for r in again) == [b"4", b"5", b"6", b"7"]
    assert source.poll(0.5, 10) == []


def test_refused_records_come_again_later(kafka_broker: str, topic: str, open_source: Open) -> None:
    produce(kafka_broker, topic, [b"%d" % n for n in range(20)], partitions=2)
    source = open_source()
    records = collect(source, 20)
    refused = [r for r in records if r.position and r.position.offset >= 4]
    began = time.monotonic()
    source.refuse(refused, 1.0)
    again = collect(source, len(refused))
    assert time.monotonic() - began >= 0.8
    assert sorted(r.payload for r in again) == sorted(r.payload for r in refused)


def test_a_record_of_16_mb(kafka_broker: str, topic: str, open_source: Open) -> None:
    big = b"x" * 16_000_000
    produce(kafka_broker, topic, [b"a", big, b"b"], partitions=1, max_request_size=20_000_000)
    assert [len(r.payload) for r in collect(open_source(), 3)] == [1, 16_000_000, 1]


def test_tombstones_are_records_without_bytes(
    kafka_broker: str, topic: str, open_source: Open
) -> None:
    producer = _kafka.KafkaProducer(bootstrap_servers=kafka_broker)
    producer.send(topic, key=b"k", value=None)
    producer.flush()
    producer.close()
    (record,) = collect(open_source(), 1)
    assert record.payload == b""
    assert record.position is not None


def test_aborted_transactions_are_not_read_and_markers_are_no_lag(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    create(admin, topic, 1)
    producer = _kafka.KafkaProducer(
        bootstrap_servers=kafka_broker, transactional_id=uuid.uuid4().hex
    )
    producer.init_transactions()
    for value, keep in ((b"yes", True), (b"no", False), (b"also", True)):
        producer.begin_transaction()
        producer.send(topic, value=value, partition=0)
        (producer.commit_transaction if keep else producer.abort_transaction)()
    producer.close()
    source = open_source(stall_s=0.5)
    assert [r.payload for r in collect(source, 2)] == [b"yes", b"also"]
    wait_for(lambda: source.lag_s(time.time_ns()) == 0.0)
    time.sleep(3)
    assert source.lag_s(time.time_ns()) == 0.0
    assert not source.stalled


def test_topics_by_pattern_and_found_later(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    create(admin, f"{topic}.a", 1)
    create(admin, f"x{topic}.a", 1)
    source = open_source(topic_pattern=f"{topic}\\..*", log_topics=(f"{topic}.logs",))
    produce(kafka_broker, f"{topic}.a", [b"a"], partitions=1)
    produce(kafka_broker, f"x{topic}.a", [b"not me"], partitions=1)
    assert [r.payload for r in collect(source, 1)] == [b"a"]
    create(admin, f"{topic}.logs", 2)
    produce(kafka_broker, f"{topic}.logs", [b"l0", b"l1"], partitions=2)
    later = collect(source, 2)
    assert {(r.payload, r.signal) for r in later} == {(b"l0", "logs"), (b"l1", "logs")}
    admin.create_partitions({f"{topic}.a": 2})
    wait_for(lambda: len(admin.describe_topics([f"{topic}.a"])[0]["partitions"]) == 2)
    produce(kafka_broker, f"{topic}.a", [b"0", b"1"], partitions=2)
    assert {r.payload for r in collect(source, 2)} == {b"0", b"1"}


def test_a_topic_that_does_not_exist_yet(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    source = open_source()
    wait_for(lambda: source.up)
    assert source.poll(0.2, 10) == []
    assert source.lag_s(time.time_ns()) == 0.0
    assert topic not in admin.list_topics()
    create(admin, topic)
    produce(kafka_broker, topic, [b"first"])
    assert [r.payload for r in collect(source, 1)] == [b"first"]


def test_acknowledged_offsets_are_committed_as_a_courtesy(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    produce(kafka_broker, topic, [b"%d" % n for n in range(10)], partitions=1)
    group = f"group-{topic}"
    source = open_source(group_id=group)
    records = collect(source, 10)
    source.acknowledge(records[:6], {})
    key = _kafka.TopicPartition(topic, 0)

    def committed() -> int:
        try:
            offsets = admin.list_group_offsets({group: [key]})[group]
        except _kafka.errors.RetriableError:
            return -1  # on a fresh broker, whose offsets topic is only made now
        return int(offsets[key].offset) if key in offsets else -1

    wait_for(lambda: committed() == 6)


def test_the_buffer_is_bounded_while_nobody_polls(
    kafka_broker: str, topic: str, open_source: Open
) -> None:
    produce(kafka_broker, topic, [b"x" * 1000] * 5000, compression_type="zstd")
    source = open_source(buffer_records=100)
    wait_for(lambda: source.lag_s(time.time_ns()) is not None)
    time.sleep(2)
    held = source.poll(0.1, 100_000)
    assert 100 <= len(held) <= 100 + 500
    assert len(held) + len(collect(source, 5000 - len(held))) == 5000


def test_lag_is_the_age_of_what_waits(kafka_broker: str, topic: str, open_source: Open) -> None:
    producer = _kafka.KafkaProducer(bootstrap_servers=kafka_broker)
    hour_ago_ms = int((time.time_ns() - 3_600 * 10**9) / 1_000_000)
    producer.send(topic, value=b"old", partition=0, timestamp_ms=hour_ago_ms)
    producer.flush()
    producer.close()
    source = open_source()
    before = source.lag_s(time.time_ns())
    assert before is not None
    assert before >= 3_600
    wait_for(lambda: source.up)
    lag = source.lag_s(time.time_ns())
    assert lag is not None
    assert 3_590 < lag < 3_700
    assert len(collect(source, 1)) == 1
    wait_for(lambda: source.lag_s(time.time_ns()) == 0.0)


@pytest.mark.shared
def test_captured_payloads_come_through_kafka_as_they_were_sent(
    kafka_broker: str, topic: str, admin: Any, open_source: Open, shared: Path
) -> None:
    """Protobuf and JSON mixed in 4 partitions, zstd, as the Collector's exporter writes them."""
    create(admin, topic, 4)
    files = [f for f in sorted((shared / "spans").glob("*/*/*.*")) if ".logs." not in f.name]
    payloads = [f.read_bytes() for f in files if f.suffix in {".binpb", ".json"}]
    produce(
        kafka_broker, topic, payloads, compression_type="zstd", max_request_size=8 * 1024 * 1024
    )
    records = collect(open_source(), len(payloads))
    assert len(records) == len(payloads)
    through = {span.digest for decoded in decode(records) for span in decoded.spans}
    direct = decode([replace(records[0], payload=payload) for payload in payloads])
    assert through == {span.digest for decoded in direct for span in decoded.spans}
    assert len(through) > 4000
    assert not any(decoded.rejected for decoded in direct)
