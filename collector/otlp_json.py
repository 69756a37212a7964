"""OTLP/JSON to spans and log events.

Own decoder because protobuf's JSON mapping reads the hex ids of OTLP as base64 and refuses unknown
fields. Accepts what real exporters send: ids in hex of any case or base64, 64-bit integers as text
or numbers, enums as numbers or names. Unknown fields are ignored; of repeated keys the last wins.
Lone surrogates and bytes that are not UTF-8 become U+FFFD and are flagged; NaN, Infinity and 1e999
become the texts `NaN`, `Infinity`, `-Infinity`.
Source: opentelemetry-proto docs/specification.md, "JSON Protobuf Encoding".
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import cast

import orjson

from collector.config import DecodeLimits
from collector.content import MAX_TIME_NS, MISSING_IDS, Content, Resource
from collector.text import clean_text, finite, hex_id
from collector.wire import TooDeep
from contracts.span import Event, Value

MAX_NESTING = 200
"""Brackets within brackets: 7 levels around an attribute's value and 4 for each level inside it,
for values of up to 24 levels, with room for unknown fields.
"""
MAX_INT, MIN_INT, MAX_UINT = 2**63 - 1, -(2**63), 2**64 - 1
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_KINDS = {
    name: number
    for number, name in enumerate(
        ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    )
}
_STATUS_CODES = {"UNSET": 0, "OK": 1, "ERROR": 2}

Object = Mapping[str, object]


def decode_json(payload: bytes, content: Content, limits: DecodeLimits) -> None:
    """Add what is in `payload` to `content`; traces and logs by the key they stand under."""
    brackets = payload.count(b"{") + payload.count(b"[")
    if brackets > limits.payload_values and _nesting(payload, limits.payload_values)[1]:
        content.refuse("too_large", f"more than {limits.payload_values} values", payload)
        return
    try:
        document: object = orjson.loads(payload)
    except orjson.JSONDecodeError:
        if brackets > MAX_NESTING and _nesting(payload, brackets)[0] > MAX_NESTING:
            content.refuse("too_deep", f"brackets nested deeper than {MAX_NESTING}", payload)
            return
        try:
            text = payload.decode("utf-8-sig", "surrogateescape")
            document = json.loads(text, parse_int=_long_int)
        except (ValueError, RecursionError):
            # The message of the error quotes nothing of the payload, but neither do we need it.
            content.refuse("invalid_json", "payload is not JSON", payload)
            return
    if not isinstance(document, dict):
        content.refuse("unknown_encoding", "JSON, but not an OTLP request", payload)
        return
    request = cast("Object", document)
    if request and not ("resourceSpans" in request or "resourceLogs" in request):
        content.refuse("unknown_encoding", "JSON without resourceSpans or resourceLogs", payload)
        return
    for group in _objects(request.get("resourceSpans")):
        _group(group, "scopeSpans", "spans", _span, content, limits)
    for group in _objects(request.get("resourceLogs")):
        _group(group, "scopeLogs", "logRecords", _log, content, limits)


def _nesting(payload: bytes, limit: int) -> tuple[int, bool]:
    """Deepest level of brackets outside of strings, and whether more than `limit` open; it looks no
    further than that.
    """
    depth = deepest = opened = 0
    for match in _TOKEN.finditer(payload):
        first = payload[match.start()]
        if first in b"[{":
            opened += 1
            if opened > limit:
                return deepest, True
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest, False


def _long_int(digits: str) -> int | str:
    """Integers of more digits than Python converts stay text."""
    return int(digits) if len(digits) <= 20 else digits


Add = Callable[[Object, str, Resource, Content, DecodeLimits], None]


def _group(
    group: Object, scopes: str, items: str, add: Add, content: Content, limits: DecodeLimits
) -> None:
    text = _Text()
    try:
        resource = Resource(
            _attributes(_object(group.get("resource")).get("attributes"), limits.depth, text),
            limits,
            text.mended,
        )
    except TooDeep:
        resource = Resource({}, limits, mended=True)
    for scope in _objects(group.get(scopes)):
        name = text(_object(scope.get("scope")).get("name"))
        for item in _objects(scope.get(items)):
            try:
                add(item, name, resource, content, limits)
            except TooDeep as error:
                content.refuse("too_deep", str(error), _head(item))


def _span(
    span: Object, scope: str, resource: Resource, content: Content, limits: DecodeLimits
) -> None:
    trace_id, span_id = hex_id(span.get("traceId"), 16), hex_id(span.get("spanId"), 8)
    if not trace_id or not span_id:
        content.refuse("missing_ids", MISSING_IDS, _head(span))
        return
    text = _Text()
    status = _object(span.get("status"))
    events = _objects(span.get("events"))
    content.span(
        trace_id,
        span_id,
        hex_id(span.get("parentSpanId"), 8),
        text(span.get("name")),
        _enum(span.get("kind"), "SPAN_KIND_", _KINDS),
        _unsigned(span.get("startTimeUnixNano")),
        _unsigned(span.get("endTimeUnixNano")),
        _enum(status.get("code"), "STATUS_CODE_", _STATUS_CODES),
        text(status.get("message")),
        scope,
        resource,
        _attributes(span.get("attributes"), limits.depth, text),
        tuple(
            Event(
                text(event.get("name")),
                min(_unsigned(event.get("timeUnixNano")), MAX_TIME_NS),
                _attributes(event.get("attributes"), limits.depth, text),
            )
            for event in events
        ),
        sum(
            _unsigned(holder.get(f"dropped{what}Count"))
            for what, holders in (
                ("Attributes", (span, *events)),
                ("Events", (span,)),
                ("Links", (span,)),
            )
            for holder in holders
        ),
        text.mended,
    )


def _log(
    log: Object, scope: str, resource: Resource, content: Content, limits: DecodeLimits
) -> None:
    text = _Text()
    content.log(
        hex_id(log.get("traceId"), 16),
        hex_id(log.get("spanId"), 8),
        _unsigned(log.get("timeUnixNano")) or _unsigned(log.get("observedTimeUnixNano")),
        text(log.get("eventName")),
        scope,
        resource,
        _attributes(log.get("attributes"), limits.depth, text),
        _plain(log.get("body"), limits.depth, text),
    )


class _Text:
    """Cleans text and remembers whether any needed it."""

    def __init__(self) -> None:
        self.mended = False

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            return ""
        cleaned = clean_text(value)
        if cleaned is not value:
            self.mended = True
        return cleaned


def _attributes(pairs: object, depth: int, text: _Text) -> dict[str, Value]:
    """In key order, as from protobuf."""
    values = {
        text(pair.get("key")): _plain(pair.get("value"), depth, text) for pair in _objects(pairs)
    }
    return {key: values[key] for key in sorted(values)}


def _plain(value: object, depth: int, text: _Text) -> Value:
    if not isinstance(value, dict):
        # Not OTLP, but what a careless producer means by {"value": "text"} is plain.
        return _scalar(value, text)
    kinds = cast("Object", value)
    if "stringValue" in kinds:
        return text(kinds["stringValue"])
    if "intValue" in kinds:
        return _int(kinds["intValue"], text)
    if "boolValue" in kinds:
        return bool(kinds["boolValue"])
    if "doubleValue" in kinds:
        return _double(kinds["doubleValue"], text)
    if "bytesValue" in kinds:
        return _bytes(kinds["bytesValue"], text)
    if "arrayValue" in kinds or "kvlistValue" in kinds:
        if depth <= 0:
            raise TooDeep("a value nested deeper than the limit")
        if "arrayValue" in kinds:
            items = _object(kinds["arrayValue"]).get("values")
            if not isinstance(items, list):
                return []
            return [_plain(item, depth - 1, text) for item in cast("list[object]", items)]
        return _attributes(_object(kinds["kvlistValue"]).get("values"), depth - 1, text)
    return None


def _scalar(value: object, text: _Text) -> Value:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, bool) or value is None:
        return value
    return _int(value, text) if isinstance(value, int) else None


def _int(value: object, text: _Text) -> Value:
    """Text that is no 64-bit integer is kept as text: it is evidence all the same."""
    number = _integer(value)
    if number is not None and MIN_INT <= number <= MAX_INT:
        return number
    return text(value if isinstance(value, str) else str(value))


def _integer(value: object) -> int | None:
    if isinstance(value, str):
        try:
            return int(value) if len(value) <= 20 else None
        except ValueError:
            return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _double(value: object, text: _Text) -> Value:
    if isinstance(value, int | float):
        return finite(float(value))
    if isinstance(value, str):
        try:
            return finite(float(value))
        except ValueError:
            return text(value)
    return None


def _bytes(value: object, text: _Text) -> Value:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value.translate(_URL_SAFE) + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return text(value)


_URL_SAFE = str.maketrans("-_", "+/")


def _unsigned(value: object) -> int:
    """An unsigned 64-bit field; 0 where it is missing or none."""
    return min(max(_integer(value) or 0, 0), MAX_UINT)


def _enum(value: object, prefix: str, names: Mapping[str, int]) -> int:
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        return names.get(value.removeprefix(prefix), 0)
    number = _integer(value) or 0
    return number if -(2**31) <= number < 2**31 else 0


def _object(value: object) -> Object:
    return cast("Object", value) if isinstance(value, dict) else {}


def _objects(value: object) -> list[Object]:
    if not isinstance(value, list):
        return []
    return [cast("Object", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def _head(item: Object) -> bytes:
    """The start of a span or log record, for its dead letter."""
    return json.dumps(item)[:2048].encode()
