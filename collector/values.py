"""Values as SDKs write them: JSON in strings, Python reprs, envelopes, redaction, truncation."""

import ast
import json
import math
import re
from typing import NamedTuple, cast

import orjson

from contracts.span import Value
from contracts.trajectory import ArgumentsState

LITERAL_BYTES = 65_536
"""Longest text tried as a Python literal: the parser takes about 1 s per 5 MB."""

DEPTH = 64
"""Nesting kept; deeper content becomes its text. No tool schema in use is deeper than 20."""

REDACTED = re.compile(r"^\s*[\[<(_*]*\s*(?:redacted|hidden|masked|filtered|removed)[\W_]*$", re.I)
PLACEHOLDERS = frozenset({"", "none", "null", "unknown", "undefined", "<not specified>", "n/a"})
_QUOTES = "\"'"


class Decoded(NamedTuple):
    """A decoded value and how far decoding got."""

    value: Value
    state: ArgumentsState


def decode(raw: Value) -> Value:
    """What the text stands for: JSON, JSON in JSON, a Python literal, else the text itself.

    Structured AnyValues pass through with bytes as text and non-finite numbers as None.
    """
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8", "replace")
    if isinstance(raw, str):
        return _decode_text(raw)
    return raw if raw is None or isinstance(raw, (bool, int)) else plain(raw)


def _decode_text(text: str) -> Value:
    stripped = text.strip()
    if not stripped:
        return text
    head = stripped[0]
    if head in '{["' or head.isdigit() or head in "-tfn":
        try:
            value = cast(Value, orjson.loads(stripped))
        except orjson.JSONDecodeError:
            value = _lenient(stripped, text) if head in '{["' else text
        if isinstance(value, str) and value is not text and value[:1] in ("{", "[", '"'):
            return _decode_text(value)
        return value
    if head == "'" and len(stripped) > 1 and stripped[-1] == "'":
        return literal(stripped, text)
    return text


def _lenient(stripped: str, text: str) -> Value:
    """JSON that orjson refuses (NaN, lone surrogates, huge integers), else a Python literal."""
    try:
        return plain(cast(Value, json.loads(stripped, parse_constant=_no_constant)))
    except (ValueError, RecursionError):
        return literal(stripped, text)


def _no_constant(_name: str) -> None:
    return None


def literal(stripped: str, text: str) -> Value:
    """The Python literal that `stripped` is, else `text`."""
    if len(stripped) > LITERAL_BYTES or stripped[-1] not in "}]'\"":
        return text
    try:
        return plain(cast(Value, ast.literal_eval(stripped)))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


def plain(value: object, depth: int = 0) -> Value:
    """`value` with only what JSON has: bytes as text, sets and tuples as lists, NaN as None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    if depth >= DEPTH:
        return "..."
    if isinstance(value, dict):
        items = cast("dict[object, object]", value)
        return {clean(str(key)): plain(item, depth + 1) for key, item in items.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        elements = cast("list[object]", value)
        ordered = sorted(elements, key=repr) if isinstance(value, (set, frozenset)) else elements
        return [plain(item, depth + 1) for item in ordered]
    return clean(str(value))


def clean(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 encoder takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def shallow(value: Value) -> Value:
    """`value`, nested at most `DEPTH` deep: what is stored must be writable as JSON again."""
    return plain(value) if _deeper(value, DEPTH) else value


def _deeper(value: Value, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_deeper(item, left - 1) for item in value.values())
    if isinstance(value, list):
        return left == 0 or any(_deeper(item, left - 1) for item in value)
    return False


def text_of(value: Value) -> str:
    """A short scalar as text, "" for placeholders (`unknown`, `None`, ...) and structures."""
    if isinstance(value, str):
        stripped = value.strip()
        if stripped[:1] in _QUOTES and len(stripped) > 2 and stripped[-1] == stripped[0]:
            stripped = stripped[1:-1]
        return "" if stripped.lower() in PLACEHOLDERS else clean(stripped)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list) and len(value) == 1:
        return text_of(value[0])
    return ""


def is_schema(value: Value) -> bool:
    """Whether `value` is a JSON schema of parameters rather than arguments."""
    if not isinstance(value, dict) or not value:
        return False
    if isinstance(value.get("properties"), dict) and "type" in value:
        return True
    return all(
        isinstance(item, dict) and ("type" in item or "anyOf" in item) for item in value.values()
    )


def arguments(raw: Value) -> Decoded:
    """Arguments of a call from whatever an SDK wrote, envelopes unwrapped (CONVENTIONS 0.3)."""
    if raw is None:
        return Decoded(None, "absent")
    value = shallow(unwrap(decode(raw)))
    if isinstance(value, dict):
        return Decoded(value, "redacted" if value and _all_redacted(value) else "object")
    if value is None:
        return Decoded({}, "object")
    if isinstance(value, str):
        if not value.strip():
            return Decoded(None, "absent")
        if REDACTED.match(value):
            return Decoded(value, "redacted")
        return Decoded(value, _broken(value))
    if isinstance(value, list) and not value:
        return Decoded({}, "object")
    return Decoded(value, "text")


def _all_redacted(value: dict[str, Value]) -> bool:
    for item in value.values():
        if not isinstance(item, str) or len(item) > 40 or not REDACTED.match(item):
            return False
    return True


_REPORTED = re.compile(r"type=missing, input_value=(\{.*?\}), input_type=dict", re.S)


def from_validation_error(text: str) -> Decoded:
    """Arguments that a pydantic error about a missing field quotes, where no span records them."""
    found = _REPORTED.search(text[:LITERAL_BYTES])
    if not found:
        return Decoded(None, "absent")
    value = literal(found.group(1), found.group(1))
    return Decoded(value, "object" if isinstance(value, dict) else "truncated")


def _broken(text: str) -> ArgumentsState:
    """Whether text that starts like JSON was cut off, is wrong, or is just text."""
    stripped = text.strip()
    if stripped[:1] not in ("{", "["):
        return "truncated" if stripped.endswith(("...[truncated]", "[truncated]", "…")) else "text"
    try:
        json.loads(stripped)
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(stripped) - 1 or error.msg.startswith("Unterminated string")
        return "truncated" if at_end or stripped[-1] not in "}]" else "invalid"
    except RecursionError:
        return "invalid"
    return "text"


_INNER = ("inputs", "tool_input", "toolInput", "arguments", "kwargs", "args", "input", "parameters")
_SURE = frozenset({"inputs", "tool_input", "toolInput"})
# fmt: off
_ENVELOPE = frozenset(
    {
        "args", "kwargs", "inputs", "input_str", "input", "metadata", "tags", "name", "tool",
        "tool_name", "toolName", "toolCallId", "id", "type", "tool_call_id", "toolUseId",
        "tool_use_id", "call_id", "sanitize_inputs_outputs", "run_id", "callbacks", "config",
        "arguments", "parameters", "tool_input", "toolInput", "serialized", "run_name", "color",
        "context", "runtime", "state", "store", "stream_writer", "function", "function_name",
        "messages", "options", "self", "agent", "requestContext",
    }
)
# fmt: on
_PROOF = (
    frozenset({"args", "kwargs"}),
    frozenset({"input_str", "inputs"}),
    frozenset({"name", "args", "id"}),
    frozenset({"name", "args", "type"}),
    frozenset({"name", "arguments", "id"}),
    frozenset({"name", "arguments", "type"}),
    frozenset({"name", "input", "id"}),
    frozenset({"tool_name", "arguments"}),
    frozenset({"tool_name", "args"}),
    frozenset({"tool_name", "tool_input"}),
    frozenset({"tool", "tool_input"}),
    frozenset({"toolName", "args"}),
    frozenset({"toolName", "input"}),
    frozenset({"toolCallId", "args"}),
    frozenset({"toolCallId", "input"}),
    frozenset({"toolUseId", "input"}),
    frozenset({"tool_call_id", "arguments"}),
    frozenset({"tool_call_id", "args"}),
    frozenset({"function", "arguments"}),
)


def unwrap(value: Value, depth: int = 0) -> Value:
    """The arguments inside call envelopes, e.g. `{"args": [], "kwargs": {...}}` -> the kwargs.

    A dict is an envelope only if its keys are all envelope words and a telling pair is among them,
    so a tool whose own parameters are called `input` or `name` keeps them.
    """
    if not isinstance(value, dict) or depth > 3 or not value:
        return value
    keys = value.keys()
    if len(value) == 1 and isinstance(value.get("kwargs"), dict):
        return unwrap(value["kwargs"], depth + 1)
    if not (keys <= _ENVELOPE and any(proof <= keys for proof in _PROOF)):
        return value
    for name in _INNER:
        inner = decode(value.get(name))
        # `kwargs` beside other carriers are the framework's (run ids, colours), not the tool's.
        if isinstance(inner, dict) and (inner or name in _SURE):
            return unwrap(inner, depth + 1)
    if "input_str" in value:
        inner = decode(value["input_str"])
        return inner if inner != "" else {}
    positional = value.get("args")
    if isinstance(positional, list) and positional:
        return unwrap(positional[0], depth + 1) if len(positional) == 1 else positional
    for name in _INNER:
        if name in value and name not in ("args", "kwargs"):
            return decode(value[name])
    return {}


def same_arguments(one: Value, other: Value) -> bool:
    """Whether two writings of arguments mean the same, as far as both are legible."""
    if one == other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return canonical(one) == canonical(other)
    return False


def canonical(value: Value) -> bytes:
    """The same bytes for the same arguments, whatever the order of keys or kind of number."""
    try:
        return orjson.dumps(_floats(value), option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        return repr(value).encode("utf-8", "replace")


def _floats(value: Value) -> Value:
    """Whole floats as integers: 950.0 written by Python and 950 by JavaScript are one amount."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return value
