"""One thread that reads Kafka into a buffer, from given positions, until it is stopped.

It finds topics and partitions anew from time to time, tells what was lost, rebuilds its clients
when they fail or stall, and never skips silently.
"""

import logging
import re
import threading
from collections.abc import Mapping
from typing import Protocol

from collector.config import KafkaConfig
from collector.kafka_batches import BatchGuard, FetchedRecord
from collector.kafka_buffer import Buffer
from collector.kafka_client import Cluster, Feed, OutOfRange, Range, Topic, check_reachable
from contracts.clock import Clock
from contracts.errors import SourceUnavailable
from contracts.record import Gap, Partition, Position, Record, Signal

log = logging.getLogger("telltale.kafka")

POLL_S = 0.2
MAX_RECORDS = 500
WATCH_S = 2.0
"""How often ends of partitions are asked for: bounds how late lag, stall and truncation show."""
COMMIT_S = 5.0
"""How often offsets are committed as a courtesy, like kafka clients do by default."""


class Stalled(Exception):
    """A partition gives no records although it has some; only new clients may help."""


class Listener(Protocol):
    """Whom the reader tells. Called from its thread."""

    def reached(self, behind: Mapping[Partition, int]) -> None:
        """The brokers answered; `behind`: partitions that have, or may have, more records."""
        ...

    def failed(self, error: SourceUnavailable) -> None: ...
    def stalled(self, partition: Partition) -> None: ...
    def delivered(self, partition: Partition) -> None: ...
    def lost(self, gap: Gap, /) -> None: ...


class KafkaReader(threading.Thread):
    """Reads until `stop`. `seek_back` and `acknowledged` may be called from other threads."""

    def __init__(
        self,
        config: KafkaConfig,
        clock: Clock,
        buffer: Buffer,
        listener: Listener,
        ledger: Mapping[Partition, Position],
    ) -> None:
        super().__init__(name="telltale-kafka", daemon=True)
        self._config = config
        self._clock = clock
        self._buffer = buffer
        self._listener = listener
        self._ledger = dict(ledger)
        self._guard = BatchGuard(
            inflated_bytes=config.inflated_bytes,
            poll_bytes=config.buffer_bytes,
            retries=config.corrupt_retries,
        )
        self._pattern = re.compile(config.topic_pattern) if config.topic_pattern else None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._rewinds: dict[Partition, tuple[int, float]] = {}
        self._acknowledged: dict[Partition, int] = {}
        self._topic_ids: dict[str, str] = {}
        self._next: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._moved: dict[Partition, tuple[int, float]] = {}
        self._sought: set[Partition] = set()
        self._paused_until: dict[Partition, float] = {}
        self._leaderless: list[Partition] = []
        self._missing: frozenset[str] = frozenset()
        self._refused_commit = ""
        self.beat_s = self._now_s()

    def stop(self) -> None:
        """End soon. Idempotent."""
        self._stopped.set()

    def seek_back(self, offsets: Mapping[Partition, int], delay_s: float) -> None:
        """Deliver again from these offsets on, after `delay_s`. What the buffer holds of these
        partitions is forgotten now.
        """
        with self._lock:
            until = self._now_s() + delay_s
            for partition, offset in offsets.items():
                earlier, _ = self._rewinds.get(partition, (offset, 0.0))
                self._rewinds[partition] = (min(offset, earlier), until)
            self._buffer.drop(offsets)

    def acknowledged(self, offsets: Mapping[Partition, int]) -> None:
        """Offsets to commit: those after the last durable record."""
        with self._lock:
            self._acknowledged.update(offsets)

    def run(self) -> None:
        backoff_s = self._config.backoff_s
        while not self._stopped.is_set():
            self.beat_s = began_s = self._now_s()
            try:
                self._session()
            except Stalled as stall:
                log.warning("kafka consumer rebuilt: %s", stall)
                continue
            except SourceUnavailable as error:
                self._fail(error)
            except Exception as error:  # a defect of the client library must not end the reader
                log.exception("kafka reader failed")
                self._fail(SourceUnavailable(f"Kafka client failed: {type(error).__name__}"))
            if self._now_s() - began_s > self._config.backoff_max_s:
                backoff_s = self._config.backoff_s
            self._stopped.wait(backoff_s)
            backoff_s = min(2 * backoff_s, self._config.backoff_max_s)

    def _fail(self, error: SourceUnavailable) -> None:
        if not self._stopped.is_set():
            self._listener.failed(error)

    def _session(self) -> None:
        """Read with new clients until stopped. Raises `SourceUnavailable`, `Stalled`."""
        check_reachable(self._config)
        cluster = Cluster(self._config)
        try:
            feed = Feed(self._config, self._guard)
            try:
                self._read(feed, cluster)
            finally:
                feed.close()
        finally:
            cluster.close()

    def _read(self, feed: Feed, cluster: Cluster) -> None:
        self._paused_until.clear()
        self._moved.clear()
        self._discover(feed, cluster, assign=True)
        watch_s = self._now_s()
        discover_s = commit_s = watch_s + COMMIT_S
        while not self._stopped.is_set():
            self.beat_s = now_s = self._now_s()
            self._rewind(feed, now_s)
            if self._buffer.wait_for_room(POLL_S):
                self._poll(feed, cluster)
            else:
                # Nobody asked for records: that is no stall.
                self._moved.clear()
            if now_s >= discover_s:
                self._discover(feed, cluster)
                discover_s = self._now_s() + self._config.discover_s
            if now_s >= watch_s:
                self._watch(feed, cluster)
                watch_s = self._now_s() + WATCH_S
            if now_s >= commit_s:
                self._commit(cluster)
                commit_s = self._now_s() + COMMIT_S
        self._commit(cluster)

    def _poll(self, feed: Feed, cluster: Cluster) -> None:
        self._guard.polled_bytes = 0
        try:
            fetched = feed.poll(POLL_S, MAX_RECORDS)
        except OutOfRange as error:
            self._reposition(feed, cluster, error.partitions)
            fetched = {}
        for partition, records in fetched.items():
            self._deliver(partition, records)
        for lost in self._guard.lost:
            reason = f"corrupt_record: {lost.reason}"
            self._gap(lost.partition, lost.first, lost.last, reason)
            self._next[lost.partition] = max(self._next.get(lost.partition, 0), lost.last + 1)
        self._guard.lost.clear()
        for partition in self._guard.retried:
            feed.pause(partition)
            self._paused_until[partition] = self._now_s() + self._config.backoff_s
        self._guard.retried.clear()

    def _deliver(self, partition: Partition, fetched: list[FetchedRecord]) -> None:
        signal: Signal = "logs" if partition.topic in self._config.log_topics else "traces"
        source = f"kafka:{partition.topic}"
        topic_id = self._topic_ids.get(partition.topic, "")
        now_ns = self._clock.now_ns()
        records = [
            Record(
                payload=record.value or b"",
                signal=signal,
                encoding=self._config.encoding,
                source=source,
                received_ns=record.timestamp_ms * 1_000_000 if record.timestamp_ms > 0 else now_ns,
                position=Position(partition, record.offset, record.leader_epoch, topic_id),
            )
            for record in fetched
        ]
        with self._lock:
            # What was fetched before a rewind was asked for would come twice and out of order.
            if partition not in self._rewinds and not self._stopped.is_set():
                self._buffer.put(partition, records)
        self._next[partition] = fetched[-1].offset + 1
        self._listener.delivered(partition)

    def _rewind(self, feed: Feed, now_s: float) -> None:
        with self._lock:
            rewinds, self._rewinds = self._rewinds, {}
        for partition, (offset, until_s) in rewinds.items():
            if partition in self._next:
                self._next[partition] = offset
                feed.seek(partition, offset)
                feed.pause(partition)
                self._paused_until[partition] = until_s
        for partition, until_s in list(self._paused_until.items()):
            if now_s >= until_s:
                del self._paused_until[partition]
                if partition in self._next:
                    feed.resume(partition)

    def _discover(self, feed: Feed, cluster: Cluster, assign: bool = False) -> None:
        """Take up new partitions, drop deleted ones, notice topics created anew."""
        topics = self._topics(cluster)
        for topic in topics:
            before = self._topic_ids.get(topic.name, "")
            if before and topic.topic_id and before != topic.topic_id:
                log.warning("topic created anew: %s", topic.name)
                for partition in [p for p in self._next if p.topic == topic.name]:
                    self._recreated(partition, self._next.pop(partition))
            self._topic_ids[topic.name] = topic.topic_id
        found = {partition for topic in topics for partition in topic.partitions}
        self._leaderless = [partition for topic in topics for partition in topic.leaderless]
        gone = [partition for partition in self._next if partition not in found]
        new = sorted(
            (partition for partition in found if partition not in self._next),
            key=lambda partition: (partition.topic, partition.partition),
        )
        for partition in gone:
            # Deleted, or without a leader: where it comes back it is read from here on.
            log.warning("partition is gone: %s", partition)
            topic_id = self._topic_ids.get(partition.topic, "")
            self._ledger[partition] = Position(
                partition, self._next.pop(partition) - 1, topic_id=topic_id
            )
        ranges = cluster.ranges(new)
        for partition in new:
            self._next[partition] = self._first_offset(partition, ranges[partition])
        if assign or gone or new:
            feed.assign(self._next)
            for partition in self._paused_until:
                if partition in self._next:
                    feed.pause(partition)

    def _topics(self, cluster: Cluster) -> list[Topic]:
        if self._pattern is not None:
            return [t for t in cluster.topics(None) if self._pattern.fullmatch(t.name)]
        topics = cluster.topics(self._config.topics)
        missing = frozenset(self._config.topics) - {topic.name for topic in topics}
        if missing != self._missing:
            self._missing = missing
            if missing:
                log.warning("topics do not exist yet: %s", ", ".join(sorted(missing)))
        return topics

    def _first_offset(self, partition: Partition, available: Range) -> int:
        """Where to begin: after the ledger's position, or at the beginning."""
        stored = self._ledger.pop(partition, None)
        if stored is None:
            return available.begin
        wanted = stored.offset + 1
        topic_id = self._topic_ids.get(partition.topic, "")
        if stored.topic_id and topic_id and stored.topic_id != topic_id:
            self._recreated(partition, wanted)
            return available.begin
        return self._available(partition, wanted, available)

    def _available(self, partition: Partition, wanted: int, available: Range) -> int:
        if wanted < available.begin:
            reason = "retention: deleted by the broker before it was read"
            self._gap(partition, wanted, available.begin - 1, reason)
            return available.begin
        if wanted > available.end:
            self._recreated(partition, wanted)
            return available.begin
        return wanted

    def _recreated(self, partition: Partition, wanted: int) -> None:
        """Offsets start anew; what of the old log was not read is lost, how much is not known."""
        last = max(wanted, self._ends.pop(partition, 0) - 1)
        reason = "topic_recreated: offsets start anew, what was not read of the old ones is lost"
        self._gap(partition, wanted, last, reason)

    def _reposition(
        self, feed: Feed, cluster: Cluster, partitions: Mapping[Partition, int | None]
    ) -> None:
        self._discover(feed, cluster)
        ranges = cluster.ranges([p for p in partitions if p in self._next])
        for partition, available in ranges.items():
            divergent = partitions[partition]
            wanted = self._next[partition]
            if divergent is not None:
                log.warning("log was cut back: %s to offset %d", partition, divergent)
                wanted = min(wanted, divergent)
            self._next[partition] = self._available(partition, wanted, available)
            feed.seek(partition, self._next[partition])

    def _watch(self, feed: Feed, cluster: Cluster) -> None:
        """Compare positions with the ends of the partitions: lag, truncation, stall."""
        self._ends = cluster.ends(list(self._next))
        now_s = self._now_s()
        behind: dict[Partition, int] = dict.fromkeys(self._leaderless, 1)
        cut: dict[Partition, int | None] = {}
        for partition, end in self._ends.items():
            position = feed.position(partition)
            if position < end:
                behind[partition] = end - position
            elif position > end and self._next[partition] > end:
                cut[partition] = None
            last, since_s = self._moved.get(partition, (-1, now_s))
            if position != last or position >= end or partition in self._paused_until:
                self._moved[partition] = (position, now_s)
                self._sought.discard(partition)
            elif now_s - since_s > 2 * self._config.stall_s:
                self._listener.stalled(partition)
                raise Stalled(f"no records of {partition} for {now_s - since_s:.0f} s")
            elif now_s - since_s > self._config.stall_s and partition not in self._sought:
                log.warning("no records of %s for %.0f s, sought again", partition, now_s - since_s)
                self._sought.add(partition)
                feed.seek(partition, self._next[partition])
        if cut:
            self._reposition(feed, cluster, cut)
        self._listener.reached(behind)
        for partition in self._leaderless:
            self._listener.stalled(partition)

    def _commit(self, cluster: Cluster) -> None:
        """A courtesy to lag tools: where it fails nothing of ours depends on it."""
        with self._lock:
            offsets, self._acknowledged = self._acknowledged, {}
        if not offsets or not self._config.group_id:
            return
        try:
            refused = cluster.commit(self._config.group_id, offsets)
        except SourceUnavailable as error:
            refused = str(error)
            with self._lock:
                self._acknowledged = offsets | self._acknowledged
        if refused != self._refused_commit:
            self._refused_commit = refused
            if refused:
                log.warning("offsets not committed to group %s: %s", self._config.group_id, refused)

    def _gap(self, partition: Partition, first: int, last: int, reason: str) -> None:
        log.warning("evidence lost: %s offsets %d to %d, %s", partition, first, last, reason)
        self._listener.lost(Gap(partition, first, last, reason, self._clock.now_ns()))

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9
