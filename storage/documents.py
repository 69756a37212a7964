"""Values to JSON text and back, without loss and without an exception for any value.

JSON has no bytes, no NaN, no infinities and, in orjson, no integers beyond 64 bits. These are
written as objects with one tag key: `{"$bytes": base64}`, `{"$float": "NaN"}`, `{"$int": digits}`;
an object that already looks so is written as `{"$dict": {...}}`.
"""

import base64
import math
from collections.abc import Mapping
from typing import cast

import orjson

from contracts.span import Value

MAX_DEPTH = 200
"""orjson refuses to write below 254 levels; deeper parts become a text that says so."""

_MAX_DIGITS = 4000
"""CPython refuses to convert integers of more than 4,300 digits to text."""

_TAGS = frozenset({"$bytes", "$float", "$int", "$dict"})
_UINT64_MAX = 2**64 - 1
_INT64_MIN = -(2**63)


def to_json(value: object) -> str:
    """JSON text of a value. Lone surrogates become U+FFFD; never raises."""
    try:
        written = orjson.dumps(value)
    except (TypeError, RecursionError):
        return orjson.dumps(_tagged(value, 0)).decode()
    # orjson writes NaN and infinities as null, and tags are only misread where one already stands
    # in the value, so the walk is needed for few values.
    if (b"null" in written and _has_odd_float(value)) or b'{"$' in written:
        return orjson.dumps(_tagged(value, 0)).decode()
    return written.decode()


def from_json(text: str) -> Value:
    """The value that `to_json` was given."""
    value = cast("Value", orjson.loads(text))
    return _untagged(value) if '{"$' in text else value


def clean_text(text: str) -> str:
    """`text` with lone surrogates, which neither Arrow nor DuckDB can hold, as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _has_odd_float(value: object) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return True
        elif isinstance(item, Mapping):
            stack.extend(cast("Mapping[str, object]", item).values())
        elif isinstance(item, list):
            stack.extend(cast("list[object]", item))
    return False


def _tagged(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        if _INT64_MIN <= value <= _UINT64_MAX:
            return int(value)
        digits = value.bit_length() * 0.30103
        return {"$int": str(value) if digits < _MAX_DIGITS else f"about 10^{digits:.0f}"}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if depth >= MAX_DEPTH:
        return f"[nested deeper than {MAX_DEPTH} levels]"
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        made = {clean_text(str(key)): _tagged(item, depth + 1) for key, item in mapping.items()}
        return {"$dict": made} if len(made) == 1 and next(iter(made)) in _TAGS else made
    if isinstance(value, list | tuple):
        return [_tagged(item, depth + 1) for item in cast("list[object]", value)]
    return clean_text(str(value))


def _untagged(value: Value) -> Value:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag == "$dict" and isinstance(content, dict):
            return {key: _untagged(item) for key, item in content.items()}
        if isinstance(content, str):
            if tag == "$bytes":
                return base64.b64decode(content)
            if tag == "$float":
                return float(content)
            if tag == "$int":
                return int(content) if content.lstrip("-").isdigit() else content
    return {key: _untagged(item) for key, item in value.items()}
