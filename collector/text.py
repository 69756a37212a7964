"""Text and ids made fit for every reader behind the collector."""

import base64
import binascii
import math

NO_TRACE, NO_SPAN = bytes(16), bytes(8)
"""The all-zero ids, which OTLP calls invalid."""


def clean_text(text: str) -> str:
    """`text` with lone surrogates replaced by U+FFFD: UTF-8, DuckDB, Arrow and /metrics refuse
    them.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def hex_id(value: object, size_bytes: int) -> str:
    """A JSON id as lower-case hex, "" where it is none. Hex of any case, as OTLP/JSON wants it, or
    base64, which producers on protobuf's own JSON mapping send by mistake.
    """
    if not isinstance(value, str):
        return ""
    if len(value) == 2 * size_bytes:
        try:
            return wire_id(bytes.fromhex(value), size_bytes)
        except ValueError:
            return ""
    try:
        padded = value + "=" * (-len(value) % 4)
        return wire_id(base64.b64decode(padded, validate=True), size_bytes)
    except (binascii.Error, ValueError):
        return ""


def wire_id(value: bytes, size_bytes: int) -> str:
    """A protobuf id as lower-case hex, "" where it has another size or is all zero (invalid)."""
    return value.hex() if len(value) == size_bytes and value != NO_TRACE[:size_bytes] else ""


def finite(value: float) -> float | str:
    """`value`, or `NaN`, `Infinity`, `-Infinity` as text, the way protobuf's JSON writes them: JSON
    columns have no other way to keep them.
    """
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
