"""Runs SQL of responders in a disposable child and brings the result back as Arrow."""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from contracts.errors import QueryRefused, StoreUnavailable
from storage.config import QueryLimits
from storage.folder import reading

START_S = 15.0
"""For the child to start and open the file; 0.5 s on an idle machine."""

_CHUNK = 1 << 16
# No secret of the daemon's environment reaches the child. The system allocator: mimalloc, Arrow's
# own, reserves more address space than the child may have.
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


def query_file(folder: Path, sql: str, limits: QueryLimits | None = None) -> pa.Table:
    """The result of `sql` over the store in `folder`, which no daemon owns.

    Raises `QueryRefused` as `run_query`, `DataFolderInUse` where a daemon runs, `ConfigError` where
    there is no store.
    """
    with reading(folder) as database:
        return run_query(database, sql, limits or QueryLimits())


def run_query(database: Path, sql: str, limits: QueryLimits) -> pa.Table:
    """The result of one SELECT over the views of a DuckDB file that nobody writes.

    Raises `QueryRefused` if it is anything else, fails, or needs more than `limits` allow;
    `StoreUnavailable` if the child could not do its work.
    """
    # the child starts in an empty folder: a relative path would mean another file there
    request = {**limits.model_dump(), "database": str(database.resolve()), "sql": sql}
    with tempfile.TemporaryDirectory(prefix="telltale-query-") as empty:
        child = subprocess.Popen(
            [sys.executable, "-I", "-m", "storage.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd=empty,
            start_new_session=True,
        )
        try:
            answer = _Answer(child, limits)
            return answer.read(json.dumps(request).encode())
        finally:
            _end(child)


class _Answer:
    """The lines and the Arrow stream of one child, read against the clock."""

    def __init__(self, child: subprocess.Popen[bytes], limits: QueryLimits) -> None:
        self._child = child
        self._limits = limits
        self._out = cast("IO[bytes]", child.stdout)
        self._deadline = time.monotonic() + START_S
        self._buffer = bytearray()
        self._ready = False

    def read(self, request: bytes) -> pa.Table:
        try:
            with cast("IO[bytes]", self._child.stdin) as pipe:
                pipe.write(request)
        except BrokenPipeError:
            raise StoreUnavailable("the query process did not start") from None
        head = self._line()
        if "ready" in head:
            self._ready = True
            self._deadline = time.monotonic() + self._limits.timeout_s
            head = self._line()
        if "refused" in head:
            raise QueryRefused(str(head["refused"]))
        if "rows" not in head:
            raise StoreUnavailable(f"the query failed: {head.get('failed', 'no answer')}")
        while self._more():
            if len(self._buffer) > (self._limits.max_result_mb + 8) * 1_048_576:
                raise QueryRefused(f"the result is larger than {self._limits.max_result_mb} MB")
        with pa.ipc.open_stream(pa.py_buffer(self._buffer)) as reader:
            return reader.read_all()

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            if not self._more():
                raise self._ended()
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return cast("dict[str, Any]", json.loads(line))

    def _more(self) -> bool:
        """Wait for more bytes; False at their end. Raises `QueryRefused` past the deadline."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if not selector.select(max(0.0, self._deadline - time.monotonic())):
                raise QueryRefused(f"the query ran longer than {self._limits.timeout_s:g} s")
        chunk = os.read(self._out.fileno(), _CHUNK)
        self._buffer += chunk
        return bool(chunk)

    def _ended(self) -> QueryRefused | StoreUnavailable:
        """Why a child ended without an answer: a limit of the kernel, or a crash."""
        code = self._child.wait()
        if not self._ready:
            return StoreUnavailable(f"the query process did not start (exit {code})")
        if code == -signal.SIGXCPU:
            return QueryRefused(f"the query ran longer than {self._limits.timeout_s:g} s")
        return QueryRefused(
            f"the query was stopped: it needs more than {self._limits.memory_mb} MB of memory, "
            f"or did what it may not (exit {code})"
        )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Nothing of the child is left: not the process, not a pipe."""
    if child.poll() is None:
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
