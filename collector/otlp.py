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
from collector.text import finite, wire_id
from collector.wire import TooDeep, TooManyValues, check_depth, check_values, mend_text
from contracts.record import Decoded, Record, Signal
from contracts.span import Event, Value

DEFAULT_LIMITS = DecodeLimits()
JOINED_BYTES = 8 * 1024 * 1024
"""Most bytes joined into one parse: bounds the memory of the parsed poll, and what is parsed again
where one payload of it is broken.
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
    joined: dict[Signal, list[int]] = {"traces": [], "logs": []}
    size = 0
    for index, record in enumerate(records):
        payload = record.payload
        if not payload:
            # An exporter may post an empty request; a Kafka record without a value is no payload.
            if record.position is not None:
                contents[index].refuse("empty", "record without a value", payload)
        elif len(payload) > limits.payload_bytes:
            contents[index].refuse(
                "too_large",
                f"payload of {len(payload)} bytes, limit {limits.payload_bytes}",
                payload,
            )
        elif record.encoding == "otlp_json" or (
            record.encoding == "auto" and payload.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
        ):
            decode_json(payload, contents[index], limits)
        else:
            joined[record.signal].append(index)
            size += len(payload)
            if size > JOINED_BYTES:
                _decode_joined(records, contents, joined, limits)
                size = 0
    _decode_joined(records, contents, joined, limits)
    return [content.decoded() for content in contents]


def _decode_joined(
    records: Sequence[Record],
    contents: Sequence[Content],
    joined: dict[Signal, list[int]],
    limits: DecodeLimits,
) -> None:
    for signal, indices in joined.items():
        if indices:
            _decode_protobuf(
                signal, [records[i] for i in indices], [contents[i] for i in indices], limits
            )
            indices.clear()


def _decode_protobuf(
    signal: Signal, records: Sequence[Record], contents: Sequence[Content], limits: DecodeLimits
) -> None:
    """Parse all records at once; on failure, and for big payloads, with care and one by one."""
    parser = schema.POLL_OF_TRACES if signal == "traces" else schema.POLL_OF_LOGS
    try:
        payloads = [record.payload for record in records]
        if max(map(len, payloads)) > TRUSTED_BYTES:
            for payload in payloads:
                if len(payload) > TRUSTED_BYTES:
                    check_values(payload, signal, limits.payload_values)
        poll = parser.FromString(_join(payloads)).payloads
    except (DecodeError, TooManyValues) as error:
        if len(records) > 1:
            for record, content in zip(records, contents, strict=True):
                _decode_protobuf(signal, [record], [content], limits)
        elif isinstance(error, TooManyValues):
            contents[0].refuse("too_large", str(error), records[0].payload)
        else:
            _salvage(signal, records[0], contents[0], limits)
        return
    add = _ADD[signal]
    for record, content, parsed in zip(records, contents, poll, strict=True):
        if not parsed.resources:
            content.refuse("unknown_encoding", "no OTLP content in it", record.payload)
        for group in parsed.resources:
            resource = _resource(group.resource, limits)
            for scope in group.scopes:
                name = _scope_name(scope.scope)
                for item in scope.items:
                    add(item, name, resource, content, limits)


def _join(payloads: Sequence[bytes]) -> bytes:
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


def _salvage(signal: Signal, record: Record, content: Content, limits: DecodeLimits) -> None:
    """A payload that does not parse whole: every part that does, the rest dead letters."""
    try:
        envelope = schema.ENVELOPE.FromString(record.payload)
    except DecodeError:
        told = record.encoding == "otlp_proto" or record.payload.startswith(b"\x0a")
        reason = "invalid_protobuf" if told else "unknown_encoding"
        content.refuse(reason, "payload does not parse", record.payload)
        return
    parser: schema.Parser[Any] = schema.SPAN if signal == "traces" else schema.LOG_RECORD
    add = _ADD[signal]
    for group in envelope.resources:
        try:
            resource = _resource(schema.RESOURCE.FromString(group.resource), limits)
        except DecodeError:
            resource = Resource({}, limits, mended=True)
        for scope in group.scopes:
            try:
                name = _scope_name(schema.SCOPE.FromString(scope.scope))
            except DecodeError:
                name = ""
            for item in scope.items:
                try:
                    message = parser.FromString(item)
                except DecodeError:
                    _refuse_broken(signal, item, content, limits)
                else:
                    add(message, name, resource, content, limits)


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
) -> None:
    trace_id = wire_id(message.trace_id, 16)
    span_id = wire_id(message.span_id, 8)
    if not trace_id or not span_id:
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
            trace_id,
            span_id,
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
        )
    except UnicodeDecodeError:
        text = schema.SPAN.FromString(mend_text("Span", message.SerializeToString()))
        _span(text, scope, resource, content, limits, mended=True)
    except TooDeep as error:
        content.refuse("too_deep", str(error), message.SerializeToString())


def _log(
    message: schema.LogMessage,
    scope: str,
    resource: Resource,
    content: Content,
    limits: DecodeLimits,
) -> None:
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
        )
    except UnicodeDecodeError:
        text = schema.LOG_RECORD.FromString(mend_text("LogRecord", message.SerializeToString()))
        _log(text, scope, resource, content, limits)
    except TooDeep as error:
        content.refuse("too_deep", str(error), message.SerializeToString())


_ADD: dict[Signal, Callable[[Any, str, Resource, Content, DecodeLimits], None]] = {
    "traces": _span,
    "logs": _log,
}
"""Any: which of the two messages it is, the poll's class said."""


def _resource(
    message: schema.ResourceMessage, limits: DecodeLimits, mended: bool = False
) -> Resource:
    try:
        return Resource(_attributes(message.attributes, limits.depth), limits, mended)
    except UnicodeDecodeError:
        text = mend_text("Resource", message.SerializeToString())
        return _resource(schema.RESOURCE.FromString(text), limits, mended=True)
    except TooDeep:
        return Resource({}, limits, mended=True)


def _scope_name(message: schema.ScopeMessage) -> str:
    try:
        return message.name
    except UnicodeDecodeError:
        return schema.SCOPE.FromString(mend_text("Scope", message.SerializeToString())).name


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
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        return value.int_value
    if kind == "bool_value":
        return value.bool_value
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
