"""Record batches inflated up to a bound.

kafka-python's own codec functions read to the end of whatever they are given: half a megabyte of
gzip made one consumer grow by 1.5 GB (RELIABILITY 2.1). These stop at a limit.
Source: Kafka record batch attributes, bits 0-2; snappy framing of xerial/snappy-java.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# lz4 and python-snappy ship no types.

import struct
import zlib
from collections.abc import Callable
from typing import cast

import lz4.frame  # type: ignore[import-untyped]  # ships no types
import snappy  # type: ignore[import-untyped]  # ships no types
import zstandard

NAMES = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_ZSTD_WINDOW = 2**27
"""zstd's own default bound; levels up to 19 need 2**23."""


class BatchUnreadable(Exception):
    """A batch that cannot be inflated within the limit, or whose content is not what it says."""


def inflate(codec: int, data: bytes, limit: int) -> bytes:
    """`data` decompressed. Raises `BatchUnreadable` where it is corrupt or more than `limit`."""
    if codec == 0:
        return data
    inflater = _INFLATERS.get(codec)
    if inflater is None:
        raise BatchUnreadable(f"unknown compression {codec}")
    try:
        inflated = inflater(data, limit)
    except BatchUnreadable:
        raise
    except Exception as error:  # four libraries, each with errors of its own
        raise BatchUnreadable(f"corrupt {NAMES[codec]}: {type(error).__name__}") from error
    if len(inflated) > limit:
        raise BatchUnreadable(f"{NAMES[codec]} inflates to more than {limit} bytes")
    return inflated


def _gzip(data: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit + 1
    while data and left > 0:
        member = zlib.decompressobj(31)
        part = member.decompress(data, left)
        if not member.eof and len(part) < left:
            raise BatchUnreadable("corrupt gzip: it ends early")
        parts.append(part)
        left -= len(part)
        data = member.unused_data
    return b"".join(parts)


def _snappy(data: bytes, limit: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _snappy_block(data, limit)
    parts: list[bytes] = []
    at, left = _XERIAL_HEADER_BYTES, limit
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if size <= 0:
            raise BatchUnreadable("corrupt snappy: a block without bytes")
        part = _snappy_block(data[at : at + size], left)
        parts.append(part)
        left -= len(part)
        at += size
    return b"".join(parts)


def _snappy_block(data: bytes, limit: int) -> bytes:
    size = shift = 0
    for byte in data[:5]:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if size > limit:
        raise BatchUnreadable(f"snappy inflates to more than {limit} bytes")
    return cast("bytes", snappy.decompress(data))


def _lz4(data: bytes, limit: int) -> bytes:
    frame = lz4.frame.LZ4FrameDecompressor()
    inflated = bytes(frame.decompress(data, max_length=limit + 1))
    if not frame.eof and len(inflated) <= limit:
        raise BatchUnreadable("corrupt lz4: it ends early")
    return inflated


def _zstd(data: bytes, limit: int) -> bytes:
    inflater = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    with inflater.stream_reader(data, read_across_frames=True) as reader:
        return reader.read(limit + 1)


_INFLATERS: dict[int, Callable[[bytes, int], bytes]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
