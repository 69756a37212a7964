"""What a broker does at its worst, with a real Apache Kafka broker."""

import gc
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import kafka  # type: ignore[import-untyped]  # ships no types
import kafka.admin  # type: ignore[import-untyped]  # ships no types
import pytest

from collector.config import KafkaConfig
from collector.kafka import KafkaSource
from collector.kafka_client import Cluster, Feed, Topic
from contracts.clock import SystemClock
from contracts.errors import SourceUnavailable
from contracts.record import Partition, Position
from tests.kafka_broker import Broker, BrokerUnavailable
from tests.kafka_topics import (
    TIMEOUT_S,
    Open,
    collect,
    create,
    gaps_of,
    ledger_of,
    produce,
    wait_for,
)

pytestmark = pytest.mark.kafka

# Any: the stubs that type checkers bring along are of kafka-python 2.
_kafka, _admin = cast("Any", kafka), cast("Any", kafka.admin)


def test_deleted_records_are_a_gap_with_its_exact_range(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    create(admin, topic, 1)
    produce(kafka_broker, topic, [b"%d" % n for n in range(30)], partitions=1)
    key = _kafka.TopicPartition(topic, 0)
    admin.delete_records({key: 20})
    partition = Partition(topic, 0)
    source = open_source({partition: Position(partition, 4)})
    assert [r.payload for r in collect(source, 10)] == [b"%d" % n for n in range(20, 30)]
    (gap,) = gaps_of(source)
    assert (gap.partition, gap.first, gap.last) == (partition, 5, 19)
    assert gap.reason.startswith("retention")
    assert not source.gaps()


def test_retention_that_overtakes_a_running_reader(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    create(admin, topic, 1)
    produce(kafka_broker, topic, [b"x" * 1000] * 50, partitions=1)
    source = open_source(buffer_records=10, fetch_bytes=5_000, discover_s=60.0)
    first = collect(source, 1)
    produce(kafka_broker, topic, [b"y" * 1000] * 2000, partitions=1, linger_ms=0)
    admin.delete_records({_kafka.TopicPartition(topic, 0): 2040})
    records = first
    while not (records[-1].position and records[-1].position.offset == 2049):
        more = collect(source, 1)
        assert more
        records += more
    gaps = source.gaps()
    offsets = [r.position.offset for r in records if r.position]
    lost = [n for gap in gaps for n in range(gap.first, gap.last + 1)]
    assert sorted(offsets + lost) == list(range(2050))


def test_a_topic_created_anew_while_the_daemon_was_down(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    """The new topic is longer than the stored position: only the topic's id gives it away."""
    create(admin, topic, 1)
    produce(kafka_broker, topic, [b"old"] * 5, partitions=1)
    first = open_source()
    ledger = ledger_of(collect(first, 5))
    first.close(5)
    recreate(admin, topic)
    produce(kafka_broker, topic, [b"new%d" % n for n in range(9)], partitions=1)
    source = open_source(ledger)
    assert [r.payload for r in collect(source, 9)] == [b"new%d" % n for n in range(9)]
    (gap,) = gaps_of(source)
    assert (gap.first, gap.reason.split(":")[0]) == (5, "topic_recreated")


@pytest.mark.parametrize("records", [2, 9])
def test_a_topic_created_anew_under_a_running_reader(
    kafka_broker: str, topic: str, admin: Any, open_source: Open, records: int
) -> None:
    create(admin, topic, 1)
    produce(kafka_broker, topic, [b"old"] * 5, partitions=1)
    source = open_source()
    assert len(collect(source, 5)) == 5
    recreate(admin, topic)
    values = [b"new%d" % n for n in range(records)]
    produce(kafka_broker, topic, values, partitions=1)
    seen: set[bytes] = set()
    deadline = time.monotonic() + TIMEOUT_S
    while seen < set(values) and time.monotonic() < deadline:
        try:
            seen |= {r.payload for r in source.poll(0.2, 100)}
        except SourceUnavailable:
            continue  # while the topic was away
    assert seen == set(values)
    assert [gap.reason.split(":")[0] for gap in gaps_of(source)] == ["topic_recreated"]


def recreate(admin: Any, topic: str) -> None:
    admin.delete_topics([topic])
    wait_for(lambda: topic not in admin.list_topics())
    time.sleep(0.5)
    create(admin, topic, 1)


def test_a_batch_that_inflates_too_far_is_a_gap_and_no_more(
    kafka_broker: str, topic: str, admin: Any, open_source: Open
) -> None:
    create(admin, topic, 1)
    for values in ([b"a", b"b"], [bytes(900_000)], [b"c"]):
        produce(kafka_broker, topic, values, partitions=1, compression_type="zstd")
    source = open_source(inflated_bytes=100_000, backoff_s=0.1)
    assert [r.payload for r in collect(source, 3)] == [b"a", b"b", b"c"]
    (gap,) = gaps_of(source)
    assert (gap.first, gap.last) == (2, 2)
    assert gap.reason.startswith("corrupt_record")


def test_a_stalled_partition_is_read_again_after_a_rebuild(
    kafka_broker: str,
    topic: str,
    open_source: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As kafka-python has been seen to: healthy to look at, and one partition never returned."""
    produce(kafka_broker, topic, [b"%d" % n for n in range(40)])
    feeds: list[Feed] = []
    assign = Feed.assign

    def stalling(feed: Feed, positions: Mapping[Partition, int]) -> None:
        assign(feed, positions)
        if feed not in feeds:
            feeds.append(feed)
        if feed is feeds[0]:
            feed.pause(Partition(topic, 2))

    monkeypatch.setattr(Feed, "assign", stalling)
    with caplog.at_level(logging.WARNING, "telltale.kafka"):
        source = open_source(stall_s=2.5)
        records = collect(source, 30)
        assert Partition(topic, 2) not in ledger_of(records)
        wait_for(lambda: source.stalled)
        records += collect(source, 10)
    assert sorted(r.payload for r in records) == sorted(b"%d" % n for n in range(40))
    assert len(feeds) == 2
    assert "sought again" in caplog.text
    assert "rebuilt" in caplog.text
    assert not source.stalled


def test_a_batch_that_rotted_on_the_brokers_disk(tmp_path: Path) -> None:
    """Only the reader can find it: brokers hand batches out as they are."""
    try:
        broker = Broker(data=tmp_path, settings={"num.partitions": "1"})
        broker.start()
    except BrokerUnavailable as error:
        pytest.skip(f"no Kafka broker: {error}")
    settings: dict[str, Any] = {"bootstrap_servers": (broker.address,), "topics": ("spans",)}
    source = KafkaSource(KafkaConfig(**settings, backoff_s=0.2), SystemClock())
    try:
        for values in ([b"a", b"b"], [b"ROT 1", b"ROT 2", b"ROT 3"], [b"c"]):
            produce(broker.address, "spans", values, partitions=1)
        broker.stop()
        segment = tmp_path / "log" / "spans-0" / "00000000000000000000.log"
        content = segment.read_bytes()
        segment.write_bytes(content.replace(b"ROT 2", b"rot 2"))
        broker.start()
        source.start({})
        assert [r.payload for r in collect(source, 3)] == [b"a", b"b", b"c"]
        (gap,) = gaps_of(source)
        assert (gap.first, gap.last) == (2, 4)
        assert gap.reason == "corrupt_record: checksum does not match"
    finally:
        source.close(5)
        broker.close()


# kafka-python leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_restarts(tmp_path: Path) -> None:
    try:
        broker = Broker(data=tmp_path)
        broker.start()
    except BrokerUnavailable as error:
        pytest.skip(f"no Kafka broker: {error}")
    source = KafkaSource(
        KafkaConfig(
            bootstrap_servers=(broker.address,),
            topics=("spans",),
            discover_s=1.0,
            backoff_max_s=1.0,
            request_timeout_s=2.0,
        ),
        SystemClock(),
    )
    try:
        produce(broker.address, "spans", [b"%d" % n for n in range(100)])
        source.start({})
        records = collect(source, 100)
        broker.stop()
        wait_for(lambda: not source.up)
        with pytest.raises(SourceUnavailable, match=broker.address):
            source.poll(0.2, 100)
        cpu = time.process_time()
        for _ in range(4):
            with pytest.raises(SourceUnavailable):
                source.poll(0.5, 100)
        assert time.process_time() - cpu < 1.0
        lag = source.lag_s(time.time_ns())
        assert lag is not None
        assert lag > 1.0
        broker.start()
        produce(broker.address, "spans", [b"%d" % n for n in range(100, 200)])
        deadline = time.monotonic() + TIMEOUT_S
        while len(records) < 200 and time.monotonic() < deadline:
            try:
                records += source.poll(0.2, 100)
            except SourceUnavailable:
                continue
        assert sorted(int(r.payload) for r in records) == list(range(200))
        assert not source.gaps()
        wait_for(lambda: source.up)
    finally:
        source.close(5)
        broker.close()
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_speaks_something_else_leaves_no_threads_behind() -> None:
    """Each failed start of a client must clean up after itself: an outage can last for days."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        source = KafkaSource(
            KafkaConfig(
                bootstrap_servers=(address,),
                request_timeout_s=0.6,
                backoff_s=0.1,
                backoff_max_s=0.1,
            ),
            SystemClock(),
        )
        before = threading.active_count()
        source.start({})
        time.sleep(3)
        with pytest.raises(SourceUnavailable, match=address):
            source.poll(0.5, 10)
        assert threading.active_count() <= before + 3
        source.close(5)
        gc.collect()
    wait_for(lambda: threading.active_count() <= before)


def test_a_partition_without_a_leader_stalls_alone(
    kafka_broker: str,
    topic: str,
    admin: Any,
    open_source: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One broker cannot lose one leader, so its answer is changed on the way."""
    create(admin, topic, 2)
    produce(kafka_broker, topic, [b"0", b"1"], partitions=2)
    topics, away = Cluster.topics, [True]

    def without_leader(cluster: Cluster, names: Sequence[str] | None) -> list[Topic]:
        return [
            replace(each, partitions=each.partitions[:1], leaderless=each.partitions[1:])
            if away[0]
            else each
            for each in topics(cluster, names)
        ]

    monkeypatch.setattr(Cluster, "topics", without_leader)
    source = open_source()
    assert [r.payload for r in collect(source, 1)] == [b"0"]
    wait_for(lambda: source.stalled)
    assert source.up
    away[0] = False
    assert [r.payload for r in collect(source, 1)] == [b"1"]
    wait_for(lambda: not source.stalled)
    assert not source.gaps()
