"""OTLP bytes to spans and log events. A pure function of the records and the limits.

Records of one poll are joined into one protobuf parse; where that fails each is parsed alone, and
where that fails each of its spans, so that one broken span never takes its neighbours along.
Source: opentelemetry-proto docs/specification.md; RELIABILITY section 2.4.
"""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from collector import otlp_schema as schema
from collector.config import DecodeLimits
from collector.content import MAX_TIME_NS, MISSING_IDS, Content, Resource
from collector.otlp_json import decode_json
from collector.text import NO_SPAN, NO_TRACE, finite, wire_id
from collector.wire import TooDeep, TooManyValues, check_depth, check_values, mend_text
from contracts.record import Decoded, Record, Signal
from contracts.span import Event, Value

DEFAULT_LIMITS = DecodeLimits()
JOINED_BYTES = 128 * 1024
"""Payloads are joined into one parse up to about this size: more does not save any more calls, and
the parsed messages no longer fit a core's cache (measured: 8 MiB costs 1.25 times as much).
"""
TRUSTED_BYTES = 1024 * 1024
"""Payloads up to this size are parsed without counting their values first: the worst of them takes
about 100 MB for a moment.
"""


def decode(records: Sequence[Record], limits: DecodeLimits = DEFAULT_LIMITS) -> list[Decoded]:
    """One `Decoded` per record, in order. Never raises for bad bytes; see `contracts.ports.Decode`.

    A payload's content decides over `record.signal` where it is JSON; protobuf does not tell.
    """
    contents = [Content(record, limits) for record in records]
    decoders: dict[Signal, _Decoder] = {
        "traces": _Decoder("traces", limits),
        "logs": _Decoder("logs", limits),
    }
    for record, content in zip(records, contents, strict=True):
        payload = record.payload
        if not payload:
            # An exporter may post an empty request; a Kafka record without a value is no payload.
            if record.position is not None:
                content.refuse("empty", "record without a value", payload)
        elif len(payload) > limits.payload_bytes:
            content.refuse(
                "too_large",
                f"payload of {len(payload)} bytes, limit {limits.payload_bytes}",
                payload,
            )
        elif record.encoding == "otlp_json" or (
            # 0x0a is protobuf's first tag; that it is a newline before JSON shows in `_salvage`.
            record.encoding == "auto" and payload[0] != 0x0A and _looks_like_json(payload)
        ):
            decode_json(payload, content, limits)
        else:
            decoders[record.signal].add(record, content)
    for decoder in decoders.values():
        decoder.flush()
    return [content.decoded() for content in contents]


class _Decoder:
    """Decodes protobuf payloads of one signal, several in one parse, for one call of `decode`."""

    def __init__(self, signal: Signal, limits: DecodeLimits) -> None:
        self._signal: Signal = signal
        self._limits = limits
        self._waiting: list[tuple[Record, Content]] = []
        self._size = 0
        self._resources: dict[bytes, Resource] = {}
        self._scopes: dict[bytes, str] = {}

    def add(self, record: Record, content: Content) -> None:
        """Take a payload, and decode those taken so far once they are worth a parse."""
        size = len(record.payload)
        if size > TRUSTED_BYTES:
            try:
                check_values(record.payload, self._signal, self._limits.payload_values)
            except TooManyValues as error:
                content.refuse("too_large", str(error), record.payload)
                return
        self._waiting.append((record, content))
        self._size += size
        if self._size > JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Decode what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if waiting and not self._parse(waiting):
            for one in waiting:
                if len(waiting) == 1 or not self._parse([one]):
                    self._salvage(*one)

    def _parse(self, waiting: Sequence[tuple[Record, Content]]) -> bool:
        """Whether the payloads parse together; if so they are decoded."""
        parser = schema.POLL_OF_TRACES if self._signal == "traces" else schema.POLL_OF_LOGS
        try:
            poll = parser.FromString(join([record.payload for record, _ in waiting]))
        except DecodeError:
            return False
        add, limits = _ADD[self._signal], self._limits
        for (record, content), payload in zip(waiting, poll.payloads, strict=True):
            groups = payload.resources
            if not groups:
                content.refuse("unknown_encoding", "no OTLP content in it", record.payload)
            for group in groups:
                resource = self._resource(group.resource)
                for scope in group.scopes:
                    name = self._scope(scope.scope)
                    for item in scope.items:
                        add(item, name, resource, content, limits)
        return True

    def _salvage(self, record: Record, content: Content) -> None:
        """A payload that does not parse whole: every part that does, the rest dead letters."""
        try:
            envelope = schema.ENVELOPE.FromString(record.payload)
        except DecodeError:
            payload, told = record.payload, record.encoding == "otlp_proto"
            if not told and _looks_like_json(payload):
                decode_json(payload, content, self._limits)
            else:
                told = told or payload.startswith(b"\x0a")
                reason = "invalid_protobuf" if told else "unknown_encoding"
                content.refuse(reason, "payload does not parse", payload)
            return
        traces = self._signal == "traces"
        parser: schema.Parser[Any] = schema.SPAN if traces else schema.LOG_RECORD
        add = _ADD[self._signal]
        for group in envelope.resources:
            resource = self._resource(group.resource)
            for scope in group.scopes:
                name = self._scope(scope.scope)
                for item in scope.items:
                    try:
                        message = parser.FromString(item)
                    except DecodeError:
                        _refuse_broken(self._signal, item, content, self._limits)
                    else:
                        add(message, name, resource, content, self._limits)

    def _resource(self, item: bytes) -> Resource:
        resource = self._resources.get(item)
        if resource is None:
            resource = self._resources[item] = _resource(item, self._limits)
        return resource

    def _scope(self, item: bytes) -> str:
        name = self._scopes.get(item)
        if name is None:
            name = self._scopes[item] = _scope_name(item)
        return name


def _looks_like_json(payload: bytes) -> bool:
    return payload[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def join(payloads: Sequence[bytes]) -> bytes:
    """`PollOf...` with each payload as one field 1."""
    parts: list[bytes] = []
    for payload in payloads:
        size = len(payload)
        prefix = bytearray(b"\x0a")
        while size > 127:
            prefix.append(size & 127 | 128)
            size >>= 7
        prefix.append(size)
        parts.append(bytes(prefix))
        parts.append(payload)
    return b"".join(parts)


def _refuse_broken(signal: Signal, item: bytes, content: Content, limits: DecodeLimits) -> None:
    try:
        check_depth(item, signal, limits.depth)
    except TooDeep as error:
        content.refuse("too_deep", str(error), item)
    else:
        content.refuse("invalid_protobuf", f"one of the {signal} does not parse", item)


def _span(
    message: schema.SpanMessage,
    scope: str,
    resource: Resource,
    content: Content,
    limits: DecodeLimits,
    mended: bool = False,
    checked: bool = False,
) -> None:
    """Add one span. `checked`: its text is known to be UTF-8; only then are bytes really bytes."""
    trace_id, span_id = message.trace_id, message.span_id
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id == NO_TRACE or span_id == NO_SPAN:
        content.refuse("missing_ids", MISSING_IDS, message.SerializeToString())
        return
    try:
        parent = message.parent_span_id
        status = message.status
        events: tuple[Event, ...] = ()
        dropped = (
            message.dropped_attributes_count
            + message.dropped_events_count
            + message.dropped_links_count
        )
        if message.events:
            events = tuple(
                Event(
                    event.name,
                    min(event.time_unix_nano, MAX_TIME_NS),
                    _attributes(event.attributes, limits.depth),
                )
                for event in message.events
            )
            dropped += sum(event.dropped_attributes_count for event in message.events)
        content.span(
            trace_id.hex(),
            span_id.hex(),
            wire_id(parent, 8) if parent else "",
            message.name,
            message.kind,
            message.start_time_unix_nano,
            message.end_time_unix_nano,
            status.code,
            status.message,
            scope,
            resource,
            _attributes(message.attributes, limits.depth),
            events,
            dropped,
            mended,
            checked,
        )
    except (TypeError, UnicodeDecodeError):
        if checked:
            raise
        item, mended = mend_text("Span", message.SerializeToString())
        _span(schema.SPAN.FromString(item), scope, resource, content, limits, mended, checked=True)
    except TooDeep as error:
        content.refuse("too_deep", str(error), message.SerializeToString())


def _log(
    message: schema.LogMessage,
    scope: str,
    resource: Resource,
    content: Content,
    limits: DecodeLimits,
    checked: bool = False,
) -> None:
    """As `_span`, for a log record."""
    try:
        content.log(
            wire_id(message.trace_id, 16),
            wire_id(message.span_id, 8),
            message.time_unix_nano or message.observed_time_unix_nano,
            message.event_name,
            scope,
            resource,
            _attributes(message.attributes, limits.depth),
            _plain(message.body, limits.depth),
            checked,
        )
    except (TypeError, UnicodeDecodeError):
        if checked:
            raise
        item, _ = mend_text("LogRecord", message.SerializeToString())
        _log(schema.LOG_RECORD.FromString(item), scope, resource, content, limits, checked=True)
    except TooDeep as error:
        content.refuse("too_deep", str(error), message.SerializeToString())


_ADD: dict[Signal, Callable[[Any, str, Resource, Content, DecodeLimits], None]] = {
    "traces": _span,
    "logs": _log,
}
"""Any: which of the two messages it is, the poll's class said."""


def _resource(item: bytes, limits: DecodeLimits) -> Resource:
    """A resource that cannot be read costs its spans their identity, not their life."""
    try:
        attributes = _attributes(schema.RESOURCE.FromString(item).attributes, limits.depth)
        return Resource(attributes, limits, checked=False)
    except (TypeError, UnicodeDecodeError):
        item, mended = mend_text("Resource", item)
        attributes = _attributes(schema.RESOURCE.FromString(item).attributes, limits.depth)
        return Resource(attributes, limits, mended)
    except (DecodeError, TooDeep):
        return Resource({}, limits, mended=True)


def _scope_name(item: bytes) -> str:
    try:
        name: str | bytes = schema.SCOPE.FromString(item).name
    except DecodeError:
        return ""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _attributes(entries: schema.Attributes, depth: int) -> dict[str, Value]:
    """In key order: the map has none of its own, and the digest needs one."""
    values: dict[str, Value] = {}
    for key in sorted(entries):
        value = entries[key]
        # Most values are texts; an empty one takes the longer way and comes to the same.
        values[key] = value.string_value or _plain(value, depth)
    return values


def _plain(value: schema.AnyValueMessage, depth: int) -> Value:
    kind = value.WhichOneof("value")
    if kind == "int_value":
        return value.int_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "string_value":
        return value.string_value
    if kind == "double_value":
        return finite(value.double_value)
    if kind == "bytes_value":
        return value.bytes_value
    if kind is None:
        return None
    if depth <= 0:
        raise TooDeep("a value nested deeper than the limit")
    if kind == "array_value":
        return [_plain(item, depth - 1) for item in value.array_value.values]
    return _attributes(value.kvlist_value.values, depth - 1)
