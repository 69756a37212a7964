"""OTLP payload files, through the same path as live spans."""

import gzip
import io
import os
import sys
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import orjson
import zstandard

from contracts.clock import Clock
from contracts.errors import ConfigError
from contracts.record import Encoding, Gap, Partition, Position, Record, Signal

SOURCE = "replay"
STDIN = "-"
PAYLOAD_BYTES = 64 << 20
"""Of one payload, decompressed: above the receivers' bound, so that what they took can be replayed.
What is larger is set aside unread and told of."""
POLL_BYTES = 16 << 20
"""Of payloads in one poll, beyond its first, so that a batch of large files stays small."""

PROTOBUF, JSON = (".binpb", ".pb"), (".json", ".jsonl")
COMPRESSED = (".gz", ".zst")
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UNREADABLE_KEPT = 100


@dataclass(slots=True)
class Tally:
    """What became of the files.

    `payloads`: handed on. `not_otlp`: file to number of its JSON documents or lines that hold no
    spans or log records. `unreadable`: file to message, the first 100 of `unreadable_files`.
    """

    files: int = 0
    payloads: int = 0
    not_otlp: dict[str, int] = field(default_factory=dict[str, int])
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    unreadable_files: int = 0

    def cannot_read(self, name: str, message: str) -> None:
        self.unreadable_files += name not in self.unreadable
        if len(self.unreadable) < UNREADABLE_KEPT:
            self.unreadable[name] = message


def read_payloads(
    paths: Sequence[str | Path], clock: Clock, tally: Tally, stdin: io.BufferedReader | None = None
) -> Iterator[Record]:
    """The OTLP export requests in `paths`, read as they are asked for, with tickets from 1.

    A folder gives its `*.binpb`, `*.pb`, `*.json` and `*.jsonl` files, and those as `.gz` or
    `.zst`, of all folders below, in sorted order; a file named by itself may have any name. `-` is
    standard input. A protobuf file holds one request. A JSON file holds one, or one a line, as the
    OpenTelemetry Collector's file exporter writes them. Protobuf logs are told by `.logs.` in the
    name; JSON tells by itself. JSON without spans or log records (a manifest beside the payloads)
    is counted and not handed on; what is not even JSON is handed on and becomes a dead letter.

    Raises `ConfigError` before anything is read where a path does not exist.
    """
    for path in paths:
        if str(path) != STDIN and not os.path.exists(path):
            raise ConfigError("", f"no such file or folder: {path}")
    return _records(paths, clock, tally, stdin)


def _records(
    paths: Sequence[str | Path], clock: Clock, tally: Tally, stdin: io.BufferedReader | None
) -> Iterator[Record]:
    for name in _names(paths):
        tally.files += 1
        try:
            with _opened(name, stdin) as stream:
                for payload, signal, encoding in _payloads(stream, name, tally):
                    tally.payloads += 1
                    yield Record(
                        payload, signal, encoding, SOURCE, clock.now_ns(), ticket=tally.payloads
                    )
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            # A cut or foreign gzip stream is an EOFError, a BadGzipFile (OSError) or zlib's error.
            tally.cannot_read(name, str(error) or type(error).__name__)


def _names(paths: Sequence[str | Path]) -> Iterator[str]:
    for path in map(str, paths):
        if path != STDIN and os.path.isdir(path):
            yield from sorted(
                os.path.join(folder, file)
                for folder, _, files in os.walk(path)
                for file in files
                if _suffix(file) and os.path.isfile(os.path.join(folder, file))
            )
        else:
            yield path


def _suffix(name: str) -> str:
    """The suffix that tells an OTLP file, behind one of compression; "" where there is none."""
    stem, last = os.path.splitext(name)
    if last in COMPRESSED:
        last = os.path.splitext(stem)[1]
    return last if last in (*PROTOBUF, *JSON) else ""


@contextmanager
def _opened(name: str, stdin: io.BufferedReader | None) -> Generator[io.BufferedReader]:
    """The decompressed content; compression is told by its magic number, not by the name."""
    with ExitStack() as stack:
        if name == STDIN:
            raw = stdin or cast(io.BufferedReader, sys.stdin.buffer)
        else:
            raw = stack.enter_context(open(name, "rb"))
        head = raw.peek(4)[:4]
        if head.startswith(GZIP_MAGIC):
            yield io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw)))
        elif head == ZSTD_MAGIC:
            reader = zstandard.ZstdDecompressor().stream_reader(
                raw, read_across_frames=True, closefd=False
            )
            yield io.BufferedReader(cast(io.RawIOBase, reader))
        else:
            yield raw


def _payloads(
    stream: io.BufferedReader, name: str, tally: Tally
) -> Iterator[tuple[bytes, Signal, Encoding]]:
    suffix = _suffix(name)
    named: Signal = "logs" if ".logs." in os.path.basename(name) else "traces"
    if suffix in PROTOBUF or not (suffix or stream.peek(64).lstrip().startswith(b"{")):
        payload = stream.read(PAYLOAD_BYTES + 1)
        if len(payload) > PAYLOAD_BYTES:
            tally.cannot_read(name, f"one payload of more than {PAYLOAD_BYTES} bytes")
        else:
            yield payload, named, "otlp_proto" if suffix else "auto"
        return
    for document in _documents(stream, name, tally):
        signal = _signal(document)
        if signal is None and _is_json(document):
            tally.not_otlp[name] = tally.not_otlp.get(name, 0) + 1
        else:
            yield document, signal or named, "otlp_json"


def _documents(stream: io.BufferedReader, name: str, tally: Tally) -> Iterator[bytes]:
    """The lines, or the whole where its first line is no document by itself."""
    too_large = f"one payload of more than {PAYLOAD_BYTES} bytes"
    by_line = _suffix(name) == ".jsonl"
    while line := stream.readline(PAYLOAD_BYTES + 1):
        text = line.strip()
        by_line = by_line or (text.startswith(b"{") and text.endswith(b"}"))
        if text and not by_line:
            whole = line + stream.read(PAYLOAD_BYTES + 1 - len(line))
            if len(whole) > PAYLOAD_BYTES:
                tally.cannot_read(name, too_large)
            else:
                yield whole.strip()
            return
        if len(line) > PAYLOAD_BYTES:
            tally.cannot_read(name, too_large)
            while line and not line.endswith(b"\n"):
                line = stream.readline(PAYLOAD_BYTES)
        elif text:
            yield text


def _signal(document: bytes) -> Signal | None:
    """By the key that comes first. A quote inside a JSON text has a backslash before it, so such a
    text cannot look like the key.
    """
    spans, logs = document.find(b'"resourceSpans"'), document.find(b'"resourceLogs"')
    if spans < 0 and logs < 0:
        return None
    return "traces" if logs < 0 or 0 <= spans < logs else "logs"


def _is_json(document: bytes) -> bool:
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        return False
    return True


class ReplaySource:
    """Records that are all there already, as a `SpanSource`. Not thread-safe."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self._refused: deque[Record] = deque()
        self._exhausted = False

    @property
    def name(self) -> str:
        return SOURCE

    @property
    def up(self) -> bool:
        return True

    @property
    def stalled(self) -> bool:
        return False

    @property
    def exhausted(self) -> bool:
        """Whether everything has been polled and nothing was given back since."""
        return self._exhausted and not self._refused

    def start(self, ledger: Mapping[Partition, Position]) -> None:
        """Nothing to seek: what the store has already is dropped there as duplicates."""

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        batch: list[Record] = []
        size = 0
        while len(batch) < max_records and size < POLL_BYTES:
            record = self._refused.popleft() if self._refused else next(self._records, None)
            if record is None:
                self._exhausted = True
                break
            batch.append(record)
            size += len(record.payload)
        return batch

    def gaps(self) -> Sequence[Gap]:
        return ()

    def acknowledge(self, records: Sequence[Record], rejected: Mapping[int, int]) -> None:
        """Nothing to do: the files stay where they are."""

    def refuse(self, records: Sequence[Record], retry_after_s: float) -> None:
        self._refused.extend(records)

    def lag_s(self, now_ns: int) -> float | None:
        return None

    def close(self, timeout_s: float) -> None:
        self._refused.clear()
        self._records = iter(())
