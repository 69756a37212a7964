"""Protobuf bytes looked at without parsing them: size and depth of a payload, and text mended."""

from typing import TypeAlias

from google.protobuf.message import Message

from collector.otlp_schema import BINARY_FIELDS, UNCHECKED
from contracts.record import Signal

Node: TypeAlias = "dict[int, Node]"


class TooManyValues(Exception):
    """More messages than the limit; a bomb of empty ones takes 40 times its size once parsed."""


class TooDeep(Exception):
    """A value nested deeper than the limit."""


_ANY: Node = {}
_KEY_VALUE: Node = {2: _ANY}
_ANY.update({5: {1: _ANY}, 6: {1: _KEY_VALUE}})
_ITEMS: dict[Signal, Node] = {
    "traces": {9: _KEY_VALUE, 11: {3: _KEY_VALUE}, 13: {4: _KEY_VALUE}, 15: {}},
    "logs": {5: _ANY, 6: _KEY_VALUE},
}
_PAYLOADS: dict[Signal, Node] = {
    signal: {1: {1: {1: _KEY_VALUE}, 2: {1: {3: _KEY_VALUE}, 2: item}}}
    for signal, item in _ITEMS.items()
}


def check_values(payload: bytes, signal: Signal, limit: int) -> None:
    """Raises `TooManyValues` where `payload` holds more than `limit` messages of any kind."""
    _walk(payload, _PAYLOADS[signal], values=limit, depth=len(payload))


def check_depth(item: bytes, signal: Signal, limit: int) -> None:
    """Raises `TooDeep` where a value of the span or log record is nested deeper than `limit`."""
    _walk(item, _ITEMS[signal], values=len(item), depth=limit)


def _walk(data: bytes, root: Node, values: int, depth: int) -> None:
    """Visit every field that is a message. Stops without a word where the bytes are not protobuf:
    that is for the parser to say.
    """
    at, end, node, level = 0, len(data), root, 0
    outer: list[tuple[int, Node, int]] = []  # where to go on: end, node and level of each parent
    seen = 0
    try:
        while True:
            if at >= end:
                if not outer:
                    return
                end, node, level = outer.pop()
                continue
            tag, at = _varint(data, at)
            wire = tag & 7
            if wire == 0:
                _, at = _varint(data, at)
            elif wire == 1:
                at += 8
            elif wire == 2:
                size, at = _varint(data, at)
                child = node.get(tag >> 3)
                if child is None:
                    at += size
                    continue
                seen += 1
                if seen > values:
                    raise TooManyValues(f"more than {values} values in the payload")
                outer.append((end, node, level))
                end, node, level = at + size, child, level + (child is _ANY)
                if level > depth:
                    raise TooDeep(f"a value nested deeper than {depth} levels")
            elif wire == 5:
                at += 4
    except IndexError:
        return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value = byte & 127
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, at + 1


def mend_text(name: str, item: bytes) -> tuple[bytes, bool]:
    """A `Span`, `LogRecord`, `Resource` or `Scope` with U+FFFD for what is not UTF-8 in it, and
    whether there was any.
    """
    message = UNCHECKED[name].FromString(item)
    return (message.SerializeToString(), True) if _mend(message) else (item, False)


def _mend(message: Message) -> bool:
    mended = False
    for field, value in message.ListFields():
        if isinstance(value, Message):
            mended |= _mend(value)
        elif isinstance(value, bytes):
            text = value.decode("utf-8", "replace").encode()
            if field.name not in BINARY_FIELDS and text != value:
                setattr(message, field.name, text)
                mended = True
        elif field.message_type is not None:
            for item in value:
                mended |= _mend(item)
    return mended
