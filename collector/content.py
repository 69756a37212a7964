"""Builds spans, log events and dead letters of one record, the same way from both encodings."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import fields, make_dataclass
from typing import cast

import orjson

from collector.caps import Caps
from collector.config import DecodeLimits
from contracts.record import DeadLetter, Decoded, Record
from contracts.span import Event, LogEvent, Span, Value

MAX_TIME_NS = 2**63 - 1
HEAD_BYTES = 512
LOG_NAME_CHARS = 256
MISSING_IDS = "trace_id must be 16 bytes and span_id 8, neither all zero"


_Draft = make_dataclass("_Draft", [(field.name, object) for field in fields(Span)], slots=True)
"""`Span` before it is frozen: the constructor of a frozen class takes 5 times as long, a tenth of
all decoding. The class is changed once the span is made, which equal slots allow.
"""


class Resource:
    """A resource's attributes, shared by its spans, and their canonical form for the digest.

    `mended`: text was not valid, or the whole resource could not be read; `cut`: past a cap. Both
    are flagged on each of its spans.
    """

    __slots__ = ("attributes", "canonical", "cut", "mended")

    def __init__(
        self,
        attributes: dict[str, Value],
        limits: DecodeLimits,
        mended: bool = False,
        checked: bool = True,
    ) -> None:
        """Raises `TypeError` as `Content.span` does."""
        self.canonical = orjson.dumps(attributes, default=_bytes_value if checked else _no_bytes)
        self.attributes: Mapping[str, Value] = attributes
        self.mended = mended
        self.cut = False
        if len(self.canonical) > limits.key_chars:
            caps = Caps(limits)
            self.attributes = caps.attributes(attributes)
            self.cut = caps.cut


class Content:
    """What one record holds, gathered while it is decoded."""

    __slots__ = ("_dead_letters", "_limits", "_logs", "_record", "_rejected", "_spans")

    def __init__(self, record: Record, limits: DecodeLimits) -> None:
        self._record = record
        self._limits = limits
        self._spans: list[Span] = []
        self._logs: list[LogEvent] = []
        self._dead_letters: list[DeadLetter] = []
        self._rejected = 0

    def decoded(self) -> Decoded:
        return Decoded(
            tuple(self._spans), tuple(self._logs), tuple(self._dead_letters), self._rejected
        )

    def refuse(self, reason: str, detail: str, content: bytes) -> None:
        """Count `content` (a payload, a span or a log record) as a dead letter."""
        self._rejected += 1
        if len(self._dead_letters) < self._limits.dead_letters:
            record = self._record
            self._dead_letters.append(
                DeadLetter(
                    reason,
                    detail,
                    content[:HEAD_BYTES],
                    len(content),
                    record.source,
                    record.received_ns,
                    record.position,
                )
            )

    def span(
        self,
        trace_id: str,
        span_id: str,
        parent_span_id: str,
        name: str,
        kind: int,
        start_ns: int,
        end_ns: int,
        status_code: int,
        status_message: str,
        scope: str,
        resource: Resource,
        attributes: dict[str, Value],
        events: tuple[Event, ...],
        dropped: int,
        mended: bool,
        checked: bool = True,
    ) -> None:
        """Add a span. Values are plain and clean, attributes in key order, times as received.

        Without `checked`, bytes among the values may be text that is not UTF-8: raises `TypeError`
        where there are any, and adds nothing.

        The digest covers all of that in one canonical form, before anything is clamped or cut, so
        that a span is the same in both encodings and two spans that differ only in what was cut do
        not pass for one.
        """
        canonical = orjson.dumps(
            (
                trace_id,
                span_id,
                parent_span_id,
                name,
                kind,
                start_ns,
                end_ns,
                status_code,
                status_message,
                scope,
                dropped,
                attributes,
                events,
            ),
            default=_bytes_value if checked else _no_bytes,
        )
        digest = hashlib.blake2b(canonical, digest_size=16)
        digest.update(resource.canonical)
        flags: tuple[str, ...] = ("text_cleaned",) if mended or resource.mended else ()
        if not 0 < start_ns <= end_ns <= MAX_TIME_NS:
            if start_ns == 0 or end_ns == 0 or start_ns > MAX_TIME_NS or end_ns > MAX_TIME_NS:
                flags += ("time_clamped",)
            start_ns = min(start_ns, MAX_TIME_NS)
            end_ns = min(end_ns, MAX_TIME_NS)
        # Whatever has a canonical form shorter than the smallest cap is within all of them.
        if len(canonical) > self._limits.key_chars or resource.cut:
            caps = Caps(self._limits)
            attributes = caps.attributes(attributes)
            events = caps.events(events)
            name, scope = caps.text(name), caps.text(scope)
            status_message = caps.text(status_message)
            dropped += caps.dropped
            if caps.cut or resource.cut:
                flags += ("value_cut",)
        draft = _Draft(
            trace_id,
            span_id,
            parent_span_id,
            name,
            kind,
            start_ns,
            end_ns,
            status_code,
            status_message,
            scope,
            resource.attributes,
            attributes,
            events,
            dropped,
            flags,
            digest.hexdigest(),
            self._record.source,
            self._record.received_ns,
        )
        draft.__class__ = Span
        self._spans.append(cast("Span", draft))

    def log(
        self,
        trace_id: str,
        span_id: str,
        time_ns: int,
        event_name: str,
        scope: str,
        resource: Resource,
        attributes: dict[str, Value],
        body: Value,
        checked: bool = True,
    ) -> None:
        """Add a log record; as for `span`, `checked` included."""
        canonical = orjson.dumps(
            (trace_id, span_id, time_ns, event_name, scope, attributes, body),
            default=_bytes_value if checked else _no_bytes,
        )
        digest = hashlib.blake2b(canonical, digest_size=16)
        digest.update(resource.canonical)
        if len(canonical) > self._limits.key_chars:
            caps = Caps(self._limits)
            attributes = caps.attributes(attributes)
            body = caps.value(body)
            scope = caps.text(scope)
        if not event_name:
            named = attributes.get("event.name")
            event_name = named if isinstance(named, str) else body if isinstance(body, str) else ""
        self._logs.append(
            LogEvent(
                event_name[:LOG_NAME_CHARS],
                trace_id,
                span_id,
                min(time_ns, MAX_TIME_NS),
                scope,
                resource.attributes,
                attributes,
                body,
                digest.hexdigest(),
                self._record.source,
                self._record.received_ns,
            )
        )


def _bytes_value(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def _no_bytes(value: object) -> object:
    raise TypeError(type(value).__name__)
