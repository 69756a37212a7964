"""Makers of OTLP payloads for tests: the stock classes, and OTLP/JSON written from the spec."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from collector.otlp import decode
from contracts.record import REASONS, Decoded, Encoding, Record, Signal
from contracts.span import Value

START_NS = 1_767_225_600_000_000_000


def any_value(value: Value) -> AnyValue:
    """A plain value as the stock message."""
    made = AnyValue()
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, float):
        made.double_value = value
    elif isinstance(value, str):
        made.string_value = value
    elif isinstance(value, bytes):
        made.bytes_value = value
    elif isinstance(value, list):
        made.array_value.SetInParent()
        made.array_value.values.extend(any_value(item) for item in value)
    elif isinstance(value, dict):
        made.kvlist_value.SetInParent()
        made.kvlist_value.values.extend(key_values(value))
    return made


def key_values(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span_fields(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Fields of the stock `Span`, but `attributes` and `events` (name, time, attributes) plain."""
    return {
        "trace_id": bytes([7] * 15 + [number % 256]),
        "span_id": number.to_bytes(8, "big"),
        "parent_span_id": b"",
        "name": f"execute_tool {number}",
        "kind": 3,
        "start_time_unix_nano": START_NS + number,
        "end_time_unix_nano": START_NS + 1_000 + number,
        "attributes": {"gen_ai.tool.name": "read_file", "n": number},
        **changes,
    }


def traces_data(
    spans: Sequence[Mapping[str, Any]], resource: Mapping[str, Value] | None = None
) -> TracesData:
    """One resource and scope with these spans."""
    data = TracesData()
    group = data.resource_spans.add()
    named = {"service.name": "billing"} if resource is None else resource
    group.resource.attributes.extend(key_values(named))
    scope = group.scope_spans.add()
    scope.scope.name = "tests"
    for fields in spans:
        plain = dict(fields)
        attributes, events = plain.pop("attributes", {}), plain.pop("events", ())
        span = scope.spans.add(**plain)
        span.attributes.extend(key_values(attributes))
        for name, time_ns, event_attributes in events:
            event = span.events.add(name=name, time_unix_nano=time_ns)
            event.attributes.extend(key_values(event_attributes))
    return data


def json_value(value: AnyValue, number_ints: bool = False) -> dict[str, Any]:
    """A stock value as OTLP/JSON."""
    kind = value.WhichOneof("value")
    if kind is None:
        return {}
    if kind == "string_value":
        return {"stringValue": value.string_value}
    if kind == "bool_value":
        return {"boolValue": value.bool_value}
    if kind == "int_value":
        return {"intValue": value.int_value if number_ints else str(value.int_value)}
    if kind == "double_value":
        number = value.double_value
        if number != number:
            return {"doubleValue": "NaN"}
        if number in (float("inf"), float("-inf")):
            return {"doubleValue": "Infinity" if number > 0 else "-Infinity"}
        return {"doubleValue": number}
    if kind == "bytes_value":
        return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
    if kind == "array_value":
        items = [json_value(item, number_ints) for item in value.array_value.values]
        return {"arrayValue": {"values": items}}
    return {"kvlistValue": {"values": json_pairs(value.kvlist_value.values, number_ints)}}


def json_pairs(pairs: Any, number_ints: bool = False) -> list[dict[str, Any]]:
    return [{"key": pair.key, "value": json_value(pair.value, number_ints)} for pair in pairs]


def otlp_json(
    data: TracesData,
    write_id: Callable[[bytes], str] = bytes.hex,
    number_ints: bool = False,
    write_enum: Callable[[str, int], object] = lambda name, number: number,
) -> bytes:
    """A stock request as OTLP/JSON, in the style asked for."""

    def span(message: Any) -> dict[str, Any]:
        return {
            "traceId": write_id(message.trace_id),
            "spanId": write_id(message.span_id),
            "parentSpanId": write_id(message.parent_span_id),
            "name": message.name,
            "kind": write_enum("SPAN_KIND", message.kind),
            "startTimeUnixNano": str(message.start_time_unix_nano),
            "endTimeUnixNano": str(message.end_time_unix_nano),
            "attributes": json_pairs(message.attributes, number_ints),
            "droppedAttributesCount": message.dropped_attributes_count,
            "droppedEventsCount": message.dropped_events_count,
            "droppedLinksCount": message.dropped_links_count,
            "events": [
                {
                    "name": event.name,
                    "timeUnixNano": str(event.time_unix_nano),
                    "attributes": json_pairs(event.attributes, number_ints),
                    "droppedAttributesCount": event.dropped_attributes_count,
                }
                for event in message.events
            ],
            "status": {
                "code": write_enum("STATUS_CODE", message.status.code),
                "message": message.status.message,
            },
            "fieldFromTheFuture": {"x": [1]},
        }

    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": json_pairs(group.resource.attributes, number_ints)},
                    "scopeSpans": [
                        {"scope": {"name": scope.scope.name}, "spans": list(map(span, scope.spans))}
                        for scope in group.scope_spans
                    ],
                }
                for group in data.resource_spans
            ]
        }
    ).encode()


def record_of(
    payload: bytes, signal: Signal = "traces", encoding: Encoding = "auto", **changes: Any
) -> Record:
    """A record as a replayed file gives it."""
    return Record(payload, signal, encoding, "replay", START_NS, **changes)


def one(payload: bytes, **changes: Any) -> Decoded:
    """Of one record: never silent about what it leaves out."""
    (decoded,) = decode([record_of(payload, **changes)])
    assert all(letter.reason in REASONS and letter.detail for letter in decoded.dead_letters)
    assert decoded.rejected >= len(decoded.dead_letters)
    return decoded
