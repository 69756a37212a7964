"""kafka-python behind two small classes, with the settings that were decided.

`Feed` fetches records, `Cluster` asks about topics and offsets and commits. Both raise
`SourceUnavailable` for whatever kafka-python raises. No consumer group is joined: a group
coordinator that is away must not keep records from being fetched, and one daemon needs no
assignment by others. Source: RELIABILITY 2.1 and PERFORMANCE 2, kafka-python 3.0.12.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import kafka  # type: ignore[import-untyped]  # ships no types
import kafka.admin  # type: ignore[import-untyped]  # ships no types
import kafka.errors  # type: ignore[import-untyped]  # ships no types
import kafka.structs  # type: ignore[import-untyped]  # ships no types
from kafka.net import (  # type: ignore[import-untyped]  # ships no types
    compat as kafka_compat,  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
)
from kafka.protocol import (  # type: ignore[import-untyped]  # ships no types
    consumer as kafka_protocol,  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
)

from collector.config import KafkaConfig
from collector.kafka_batches import BatchGuard, FetchedRecord
from contracts.errors import ConfigError, SourceUnavailable
from contracts.record import Partition

# Any, because the stubs that type checkers bring along are of kafka-python 2; what leaves this file
# is typed.
_kafka = cast("Any", kafka)
_admin = cast("Any", kafka.admin)
_compat = cast("Any", kafka_compat)
_errors = cast("Any", kafka.errors)
_protocol = cast("Any", kafka_protocol)
_structs = cast("Any", kafka.structs)

FETCH_MAX_WAIT_MS = 500
FRAME_BYTES = 100_000_000
"""Largest response taken from a broker, whatever length it announces."""
CONNECT_TIMEOUT_S = 3.0


class OutOfRange(Exception):
    """Positions that the brokers no longer have, or do not have yet. `partitions`: where the log
    was cut back behind a position, the offset from which its records are others now, else None.
    """

    def __init__(self, partitions: Mapping[Partition, int | None]) -> None:
        super().__init__(", ".join(map(str, partitions)))
        self.partitions = partitions


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers describe it; `topic_id` is "" with brokers before 2.8. `leaderless`:
    partitions that no broker serves now.
    """

    name: str
    topic_id: str
    partitions: tuple[Partition, ...]
    leaderless: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets that can be read now: `begin` up to, not including, `end`."""

    begin: int
    end: int


def check_installed() -> None:
    """Raises `ConfigError` where the crc32c package is missing: checksums then cost 16 to 42 times
    the whole of fetching.
    """
    if find_spec("crc32c") is None:
        raise ConfigError("kafka", "the package crc32c is not installed: pip install crc32c")


def ssl_context(config: KafkaConfig) -> ssl.SSLContext | None:
    """Our own context, because kafka-python ignores some of its ssl settings. TLS 1.2 or newer,
    certificates and host names checked. Raises `ConfigError`.
    """
    if not config.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=config.ssl_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.ssl_cert_file is not None:
            password = config.ssl_key_password
            context.load_cert_chain(
                config.ssl_cert_file,
                config.ssl_key_file,
                password.get_secret_value() if password else None,
            )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("kafka.ssl_*_file", f"cannot be loaded: {error}") from error
    return context


def _connection(config: KafkaConfig) -> dict[str, object]:
    # At DEBUG kafka-python logs its whole configuration, the password included.
    logging.getLogger("kafka").setLevel(max(logging.INFO, logging.getLogger("kafka").level))
    timeout_ms = int(config.request_timeout_s * 1000)
    settings: dict[str, object] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "client_id": config.client_id,
        "bootstrap_timeout_ms": timeout_ms,
        "request_timeout_ms": timeout_ms,
        "reconnect_backoff_ms": int(config.backoff_s * 1000),
        "reconnect_backoff_max_ms": int(config.backoff_max_s * 1000),
        "metadata_max_age_ms": int(config.discover_s * 1000),
        "receive_message_max_bytes": FRAME_BYTES,
        "security_protocol": config.security_protocol,
        "ssl_context": ssl_context(config),
    }
    if config.security_protocol.startswith("SASL"):
        password = config.sasl_password
        settings |= {
            "sasl_mechanism": config.sasl_mechanism,
            "sasl_plain_username": config.sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return settings


def check_reachable(config: KafkaConfig) -> None:
    """Raises `SourceUnavailable`, with the reason, where no bootstrap server takes a connection.

    kafka-python itself only says that it waited in vain, and leaves sockets behind on the way.
    """
    context = ssl_context(config)
    problems: list[str] = []
    for server in config.bootstrap_servers:
        host, _, port = server.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S) as plain:
                if context is not None:
                    context.wrap_socket(plain, server_hostname=host).close()
            return
        except (OSError, ValueError) as error:
            problems.append(f"{server} cannot be reached: {error}")
    raise SourceUnavailable(f"Kafka: {'; '.join(problems)}")


class Feed:
    """Fetches records of assigned partitions. Not thread-safe."""

    def __init__(self, config: KafkaConfig, guard: BatchGuard) -> None:
        self._config = config
        with _translated(config), _closed_on_failure() as make_client:
            self._consumer = _kafka.KafkaConsumer(
                **_connection(config),
                kafka_client=make_client,
                group_id=None,
                auto_offset_reset="none",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                isolation_level="read_committed",
                check_crcs=False,  # by the guard
                fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
                fetch_max_bytes=config.buffer_bytes,
                max_partition_fetch_bytes=config.fetch_bytes,
                metrics_enabled=False,
            )
        # The setting of that name does not reach the requests: a deleted topic came back by itself.
        self._consumer._cluster.config["allow_auto_create_topics"] = False
        guard.attach(self._consumer)

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Fetch these partitions and no others, from these offsets on."""
        keys = {partition: _key(partition) for partition in positions}
        with _translated(self._config):
            self._consumer.assign(list(keys.values()))
            for partition, offset in positions.items():
                self._consumer.seek(keys[partition], offset)

    def seek(self, partition: Partition, offset: int) -> None:
        with _translated(self._config):
            self._consumer.seek(_key(partition), offset)

    def position(self, partition: Partition) -> int:
        """Offset to be fetched next: after transaction markers, which are no records."""
        with _translated(self._config):
            return int(
                self._consumer.position(
                    _key(partition), timeout_ms=int(self._config.request_timeout_s * 1000)
                )
                or 0
            )

    def pause(self, partition: Partition) -> None:
        self._consumer.pause(_key(partition))

    def resume(self, partition: Partition) -> None:
        self._consumer.resume(_key(partition))

    def poll(self, timeout_s: float, max_records: int) -> dict[Partition, list[FetchedRecord]]:
        """Records by partition, in order. Raises `OutOfRange`."""
        with _translated(self._config):
            fetched = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        return {
            Partition(*key): cast("list[FetchedRecord]", records)
            for key, records in fetched.items()
        }

    def close(self) -> None:
        with _translated(self._config):
            self._consumer.close(autocommit=False, timeout_ms=1000)


class Cluster:
    """Asks about topics and offsets, and commits. Not thread-safe."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        with _translated(config), _closed_on_failure() as make_client:
            self._admin = _admin.KafkaAdminClient(**_connection(config), kafka_client=make_client)

    def topics(self, names: Sequence[str] | None) -> list[Topic]:
        """Topics of these names that exist, or all but the brokers' own."""
        with _translated(self._config):
            described = self._admin.describe_topics(None if names is None else list(names))
        return [_topic(each) for each in described if not each["error_code"] | each["is_internal"]]

    def ranges(self, partitions: Sequence[Partition]) -> dict[Partition, Range]:
        """What can be read of each partition now."""
        if not partitions:
            return {}
        begin = self._offsets(partitions, _protocol.OffsetSpec.EARLIEST)
        end = self._offsets(partitions, _protocol.OffsetSpec.LATEST)
        return {partition: Range(begin[partition], end[partition]) for partition in partitions}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Offset after the last record that can be read now."""
        return self._offsets(partitions, _protocol.OffsetSpec.LATEST) if partitions else {}

    def _offsets(self, partitions: Sequence[Partition], spec: object) -> dict[Partition, int]:
        with _translated(self._config):
            offsets = self._admin.list_partition_offsets(
                {_key(partition): spec for partition in partitions},
                isolation_level=_protocol.IsolationLevel.READ_COMMITTED,
                timeout_ms=int(self._config.request_timeout_s * 1000),
            )
        return {Partition(*key): int(found.offset) for key, found in offsets.items()}

    def commit(self, group_id: str, offsets: Mapping[Partition, int]) -> str:
        """Commit as a courtesy to lag tools; "" or why the broker refused."""
        with _translated(self._config):
            results = self._admin.alter_group_offsets(
                group_id,
                {
                    _key(p): _structs.OffsetAndMetadata(offset, "", -1)
                    for p, offset in offsets.items()
                },
            )
        refused = {
            str(error.__name__) for error in results.values() if error is not _errors.NoError
        }
        return ", ".join(sorted(refused))

    def close(self) -> None:
        with _translated(self._config):
            self._admin.close()


def _topic(described: Any) -> Topic:
    name: str = described["name"]
    numbers: dict[bool, list[int]] = {True: [], False: []}
    for partition in described["partitions"]:
        numbers[partition["leader_id"] >= 0].append(partition["partition_index"])
    served, leaderless = (
        tuple(Partition(name, number) for number in sorted(numbers[with_leader]))
        for with_leader in (True, False)
    )
    return Topic(name, str(described.get("topic_id") or ""), served, leaderless)


def _key(partition: Partition) -> object:
    return _kafka.TopicPartition(partition.topic, partition.partition)


@contextmanager
def _closed_on_failure() -> Generator[Callable[..., object]]:
    """A maker of the network client inside; where the constructor around it fails, the client's
    thread and sockets would stay for ever.
    """
    made: list[Any] = []

    def make(**settings: object) -> object:
        made.append(_compat.KafkaNetClient(**settings))
        return made[-1]

    try:
        yield make
    except BaseException:
        for client in made:
            client.close()
        raise


@contextmanager
def _translated(config: KafkaConfig) -> Generator[None]:
    """kafka-python's errors as ours."""
    try:
        yield
    except _errors.OffsetOutOfRangeError as error:
        raise OutOfRange({Partition(*key): None for key in error.args[0]}) from error
    except _errors.LogTruncationError as error:
        raise OutOfRange(
            {
                Partition(*key): None if divergent is None else divergent.offset
                for key, divergent in error.divergent_offsets.items()
            }
        ) from error
    except (_errors.KafkaError, OSError, RuntimeError, ValueError) as error:
        said = str(error) or "no answer"
        raise SourceUnavailable(f"{name(config)}: {type(error).__name__}: {said}") from error


def name(config: KafkaConfig) -> str:
    """How messages call the cluster."""
    return f"Kafka at {', '.join(config.bootstrap_servers)}"
