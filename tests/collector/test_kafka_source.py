"""The Kafka source against a real Apache Kafka broker."""

import gc
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import kafka  # type: ignore[import-untyped]  # ships no types
import kafka.admin  # type: ignore[import-untyped]  # ships no types
import pytest

from collector.config import KafkaConfig
from collector.kafka import KafkaSource
from collector.kafka_client import Cluster, Feed, Topic
from collector.otlp import decode
from contracts.clock import SystemClock
from contracts.errors import SourceUnavailable
from contracts.record import Gap, Partition, Position, Record
from tests.kafka_broker import Broker, BrokerUnavailable

pytestmark = pytest.mark.kafka

# Any: the stubs that type checkers bring along are of kafka-python 2.
_kafka, _admin = cast("Any", kafka), cast("Any", kafka.admin)
TIMEOUT_S = 30.0
Open = Callable[..., KafkaSource]


@pytest.fixture
def topic() -> str:
    return f"spans-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def admin(kafka_broker: str) -> Iterator[Any]:
    client = _admin.KafkaAdminClient(bootstrap_servers=kafka_broker)
    yield client
    client.close()


@pytest.fixture
def open_source(kafka_broker: str, topic: str) -> Iterator[Open]:
    """Makes sources of the test's topic; closes them."""
    opened: list[KafkaSource] = []

    def make(ledger: Mapping[Partition, Position] | None = None, **settings: Any) -> KafkaSource:
        settings = {"bootstrap_servers": (kafka_broker,), "discover_s": 1.0, **settings}
        if "topic_pattern" not in settings:
            settings.setdefault("topics", (topic,))
        source = KafkaSource(KafkaConfig(**settings), SystemClock())
        opened.append(source)
        source.start(ledger or {})
        return source

    yield make
    for source in opened:
        source.close(5)


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
