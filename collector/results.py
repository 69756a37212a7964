"""Results of tools as SDKs write them, and which of two records of one says more."""

import re

import orjson

from collector.values import decode, literal, shallow
from contracts.span import Value

_REPR_CONTENT = re.compile(r"^content=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")
_HIDDEN = re.compile(r"^\s*[\[<(_*]+\s*(?:redacted|hidden|masked|filtered|removed)[\W_]*$", re.I)
"""What stands for a result that an instrumentation was told to hide."""


def result(raw: Value) -> Value:
    """A tool's result, LangChain message envelopes and JSON in JSON unwrapped.

    None where `raw` is, and for the marker of a hidden one; a recorded null is "", as other
    results that say nothing.
    """
    if raw is None:
        return None
    value = shallow(_result(decode(raw), 0))
    if isinstance(value, str) and _HIDDEN.match(value):
        return None
    return "" if value is None else value


def tells_more(one: Value, other: Value) -> bool:
    """Whether result `one` says more than `other`: anything than nothing, that than no record."""
    return _telling(one) > _telling(other)


def _telling(value: Value) -> int:
    if value is None:
        return 0
    return 1 if isinstance(value, (str, list, dict)) and not value else 2


def _result(value: Value, depth: int) -> Value:
    if depth > 4:
        return value
    if isinstance(value, str):
        found = _REPR_CONTENT.match(value)
        if found:
            inner = literal(found.group(1), value)
            return _result(decode(inner), depth + 1) if inner != value else value
        return value
    if isinstance(value, dict):
        for outer, inner_key in (("output", "kwargs"), ("kwargs", "content"), ("data", "content")):
            inner = value.get(outer)
            if isinstance(inner, dict) and inner_key in inner:
                taken = inner if outer == "output" else inner[inner_key]
                return _result(decode(taken), depth + 1)
        if "tool_output" in value and "tool_name" in value:
            return _result(decode(value["tool_output"]), depth + 1)
        if "blocks" in value and "tool_name" in value:
            return _result(decode(value["blocks"]), depth + 1)
        if "content" in value and ("tool_call_id" in value or value.get("type") == "tool"):
            return _result(decode(value["content"]), depth + 1)
        if len(value) == 1 and "output" in value and isinstance(value["output"], (dict, str)):
            return _result(decode(value["output"]), depth + 1)
    if isinstance(value, list) and value and all(_is_text_block(item) for item in value):
        texts = [text_block(item) for item in value]
        return _result(decode("\n".join(texts)), depth + 1)
    return value


def _is_text_block(item: Value) -> bool:
    if not isinstance(item, dict):
        return False
    kind = item.get("type") or item.get("block_type")
    return kind in ("text", "output_text", "input_text") or item.keys() <= {
        "text",
        "json",
    }


def text_block(item: Value) -> str:
    """The text of one content block; structures as JSON."""
    if isinstance(item, dict):
        for key in ("text", "content", "json", "value"):
            inner = item.get(key)
            if isinstance(inner, str):
                return inner
            if inner is not None:
                return orjson.dumps(inner).decode()
    return item if isinstance(item, str) else ""
