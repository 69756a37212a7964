import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from collector.config import KafkaConfig
from collector.inbox import OtlpInbox
from collector.otlp import decode
from contracts.clock import SystemClock
from contracts.ports import Decode
from contracts.record import Decoded, Partition, Position, Record


class Pipeline:
    """Polls an inbox as the daemon's loop does, and acknowledges what it decoded.

    While `may_commit` is clear it holds what it polled. With `refuses` set it gives records back.
    """

    def __init__(self, inbox: OtlpInbox) -> None:
        self.inbox = inbox
        self.records: list[Record] = []
        self.decoded: list[Decoded] = []
        self.may_commit = threading.Event()
        self.refuses = False
        self.decode: Decode = decode
        self.reset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def reset(self) -> None:
        self.records, self.decoded = [], []
        self.may_commit.set()
        self.refuses = False
        self.decode = decode

    def start(self) -> None:
        self.inbox.start({})
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.may_commit.set()
        self._thread.join()

    def span_names(self) -> list[str]:
        return [span.name for decoded in self.decoded for span in decoded.spans]

    def _run(self) -> None:
        while not self._stop.is_set():
            records = self.inbox.poll(0.05, 100)
            if not records:
                continue
            self.records.extend(records)
            results = self.decode(records)
            self.decoded.extend(results)
            self.may_commit.wait()
            if self.refuses:
                self.inbox.refuse(records, 3.0)
            else:
                rejected = {
                    record.ticket: result.rejected
                    for record, result in zip(records, results, strict=True)
                    if result.rejected
                }
                self.inbox.acknowledge(records, rejected)


@pytest.fixture(scope="module")
def inbox() -> OtlpInbox:
    return OtlpInbox(SystemClock())


@pytest.fixture(scope="module")
def running_pipeline(inbox: OtlpInbox) -> Iterator[Pipeline]:
    made = Pipeline(inbox)
    made.start()
    yield made
    made.stop()
    inbox.close(0.0)


@pytest.fixture
def pipeline(running_pipeline: Pipeline) -> Pipeline:
    """The running one, as new: a server takes a fifth of a second to stop, so it is shared."""
    running_pipeline.reset()
    return running_pipeline


@pytest.fixture
def topic() -> str:
    """A Kafka topic's name that nobody has used."""
    return f"spans-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def admin(kafka_broker: str) -> Iterator[Any]:
    """A `KafkaAdminClient`."""
    # Here and not above: kafka-python takes long to import, and few tests need it.
    from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # ships no types

    client = KafkaAdminClient(bootstrap_servers=kafka_broker)
    yield client
    client.close()


@pytest.fixture
def open_source(kafka_broker: str, topic: str) -> Iterator[Callable[..., Any]]:
    """Makes `KafkaSource`s of the test's topic, started after a ledger; closes them."""
    from collector.kafka import KafkaSource

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
