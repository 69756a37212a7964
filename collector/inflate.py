"""Gzip, inflated under a hard bound."""

import zlib

from contracts.errors import BadPayload

GZIP_ONLY = 31
"""zlib's `wbits` for a gzip header and nothing else."""


class Gunzip:
    """Inflates one gzip body piece by piece; memory stays below `max_bytes` plus one piece.

    A body may hold several gzip members (RFC 1952 section 2.2); the bounds are over all of them.
    `ratio`: most inflated bytes per compressed byte, looked at beyond `floor_bytes`.
    """

    def __init__(self, max_bytes: int, ratio: int, floor_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._ratio = ratio
        self._floor_bytes = floor_bytes
        self._member = zlib.decompressobj(GZIP_ONLY)
        self._read = 0
        self._made = 0

    def feed(self, piece: bytes) -> bytes:
        """What `piece` inflates to. Raises `BadPayload` with `too_large`, or with
        `corrupt_record` where it is not gzip.
        """
        self._read += len(piece)
        made: list[bytes] = []
        while piece:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP_ONLY)
            # In steps, so that the ratio is looked at before the whole bound has been filled.
            step = min(self._floor_bytes, self._max_bytes - self._made + 1)
            try:
                out = self._member.decompress(piece, step)
            except zlib.error as error:
                raise BadPayload("corrupt_record", "the body is not valid gzip") from error
            made.append(out)
            self._made += len(out)
            if self._made > self._max_bytes:
                raise BadPayload("too_large", f"more than {self._max_bytes} bytes inflated")
            if self._made > self._floor_bytes and self._made > self._ratio * self._read:
                raise BadPayload("too_large", f"inflates more than {self._ratio} times")
            piece = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return b"".join(made)

    def finish(self) -> None:
        """Raises `BadPayload` with `corrupt_record` where the last member is not whole."""
        if not self._member.eof:
            raise BadPayload("corrupt_record", "the gzip body is cut short")
