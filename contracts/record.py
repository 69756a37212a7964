"""What a transport hands over: one payload, where it came from, and what became of it."""

from dataclasses import dataclass
from typing import Literal

from contracts.span import LogEvent, Span

Signal = Literal["traces", "logs"]
Encoding = Literal["auto", "otlp_proto", "otlp_json"]

REASONS = (
    "empty",
    "unknown_encoding",
    "invalid_protobuf",
    "invalid_json",
    "too_large",
    "too_deep",
    "missing_ids",
    "invalid_field",
    "conflicting_digest",
    "corrupt_record",
)
"""Closed set of dead-letter reasons; also the label values of `dead_letters_total`."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A Kafka topic partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where a Kafka record stood. `leader_epoch` is -1 where unknown.

    `topic_id`: Kafka's id of the topic, "" where unknown. A topic that was deleted and created
    again has another id, and its offsets start anew: with another id a lower offset is progress.
    """

    partition: Partition
    offset: int
    leader_epoch: int = -1
    topic_id: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One payload as a transport delivered it.

    `source`: `kafka:<topic>`, `otlp_http`, `otlp_grpc` or `replay`. `received_ns`: Kafka's record
    timestamp, else the time of receipt. `ticket`: what the source uses to match its
    acknowledgement.
    """

    payload: bytes
    signal: Signal
    encoding: Encoding
    source: str
    received_ns: int
    position: Position | None = None
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Bytes, or one span of them, that could not be stored. `head`: at most the first 512 bytes."""

    reason: str
    detail: str
    head: bytes
    size_bytes: int
    source: str
    received_ns: int
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """One record's content. `rejected` counts spans and log records that became dead letters."""

    spans: tuple[Span, ...]
    logs: tuple[LogEvent, ...]
    dead_letters: tuple[DeadLetter, ...]
    rejected: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Evidence known to be lost: Kafka offsets [first, last] that can never be read again."""

    partition: Partition
    first: int
    last: int
    reason: str
    noticed_ns: int
