"""Spans and log records as decoded from OTLP, before any dialect is applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"
"""A decoded OTLP AnyValue; a value without content is None."""

STATUS_UNSET, STATUS_OK, STATUS_ERROR = 0, 1, 2
"""OTLP `Status.StatusCode`."""


@dataclass(frozen=True, slots=True)
class Event:
    """A span event. `time_ns`: UTC nanoseconds, 0 where not given."""

    name: str
    time_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """One OTLP span, text cleaned, times clamped to [0, 2**63 - 1].

    `trace_id`: 32 lower-case hex digits; `span_id`, `parent_span_id`: 16, parent "" for a root.
    `resource`, `attributes`: decoded, in key order; the last value of a repeated key wins.
    `dropped`: sum of OTLP's dropped attribute, event and link counts (the SDK cut something).
    `flags`: what the decoder had to mend, of `time_clamped`, `text_cleaned`, `value_cut`.
    `digest`: hex BLAKE2b-128 of the span as received; equal ids with other digests are tampering.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status_code: int
    status_message: str
    scope: str
    resource: Mapping[str, Value]
    attributes: Mapping[str, Value]
    events: tuple[Event, ...]
    dropped: int
    flags: tuple[str, ...]
    digest: str
    source: str
    received_ns: int


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One OTLP log record that may speak of a call (Claude Code, GenAI message events).

    `name`: `event_name`, else the attribute `event.name`, else a string body. `trace_id`, `span_id`
    are "" where not given.
    """

    name: str
    trace_id: str
    span_id: str
    time_ns: int
    scope: str
    resource: Mapping[str, Value]
    attributes: Mapping[str, Value]
    body: Value
    digest: str
    source: str
    received_ns: int
