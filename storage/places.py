"""Where the rows of an id are, without asking the tables.

Almost every id of a commit is new, or was written moments ago. To find that out by a scan costs
28 ms of CPU a commit at one million trajectories; an index would cost every commit more.
"""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, cast

import duckdb
import pyarrow as pa

from storage.columns import TEXT

RECENT = 100_000
"""Trajectories, and traces, whose batch is remembered: those written last; some 20 MB each."""

RUN = 65_536
"""New hashes that are collected before they become a sorted run; runs of like size are merged."""

MOST = 25_000_000
"""Hashes held at most, 8 bytes each; beyond, every id may be stored and is looked up."""


class Hashes:
    """A set of 64-bit numbers that only grows: exact, 8 bytes each, in sorted runs."""

    def __init__(self) -> None:
        self._runs: list[tuple[pa.Array[Any], memoryview]] = []
        self._new: set[int] = set()
        self._size = 0

    def add_sorted(self, run: "pa.Array[Any]") -> None:
        """Take a sorted Arrow array of uint64 without nulls."""
        if len(run):
            self._size += len(run)
            self._runs.append((run, _view(run)))

    def add(self, numbers: Iterable[int]) -> None:
        self._new.update(numbers)
        if len(self._new) < RUN:
            return
        run: pa.Array[Any] = pa.array(sorted(self._new), pa.uint64())
        self._size += len(run)
        self._new.clear()
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run):
            other, _ = self._runs.pop()
            run = pa.concat_arrays([other, run]).sort()
        self._runs.append((run, _view(run)))

    def __contains__(self, number: int) -> bool:
        if number in self._new or self._size > MOST:
            return True
        for _, run in self._runs:
            at = bisect_left(cast("Sequence[int]", run), number)
            if at < len(run) and run[at] == number:
                return True
        return False


def _view(run: "pa.Array[Any]") -> memoryview:
    buffer = cast("pa.Buffer", run.buffers()[1])
    return memoryview(buffer).cast("Q")[run.offset : run.offset + len(run)]


class Places:
    """Which traces and trajectories are stored, and in which batch the latter were written.

    Loaded when first asked: programs that only read never pay for it. Says "stored" too often,
    never too seldom: ids are added before their commit. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces: Hashes | None = None
        self._trajectories: Hashes | None = None
        self._fresh: set[str] = set()  # traces of the commit under way that were never stored
        self._trace_batches: dict[str, tuple[int, int]] = {}
        self._trajectory_batches: dict[str, int] = {}

    def stored_traces(
        self, cursor: duckdb.DuckDBPyConnection, ids: Sequence[str]
    ) -> tuple[list[str], tuple[int, int] | None]:
        """Those of `ids` that may be stored, and the first and last batch with rows of them; None
        where that is not known.
        """
        with self._lock:
            known = self._known_traces(cursor)
            stored = [i for i, n in zip(ids, _hashed(cursor, ids), strict=True) if n in known]
            ranges = [self._trace_batches.get(name) for name in stored]
        batches = [batch for found in ranges if found is not None for batch in found]
        certain = bool(batches) and None not in ranges
        return stored, (min(batches), max(batches)) if certain else None

    def stored_trajectories(
        self, cursor: duckdb.DuckDBPyConnection, ids: Sequence[str]
    ) -> list[str]:
        """Those of `ids` that may be stored."""
        with self._lock:
            known = self._known_trajectories(cursor)
            return [i for i, n in zip(ids, _hashed(cursor, ids), strict=True) if n in known]

    def add_traces(self, cursor: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> None:
        """These are about to be stored."""
        with self._lock:
            # Loaded even now: a reader that loaded later, before this commit, would miss them.
            known = self._known_traces(cursor)
            numbers = _hashed(cursor, ids)
            self._fresh = {i for i, n in zip(ids, numbers, strict=True) if n not in known}
            known.add(numbers)

    def batches(
        self, cursor: duckdb.DuckDBPyConnection, ids: Sequence[str]
    ) -> tuple[int, int] | None:
        """First and last batch with rows of these trajectories, which are about to be stored; None
        where nothing is stored of them yet.
        """
        with self._lock:
            recent = self._trajectory_batches
            found = [recent[name] for name in ids if name in recent]
            left = [name for name in ids if name not in recent]
            if left:
                known = self._known_trajectories(cursor)
                numbers = _hashed(cursor, left)
                left = [name for name, n in zip(left, numbers, strict=True) if n in known]
                known.add(numbers)
            if left:
                rows = cursor.execute(
                    "SELECT batch FROM data.trajectories WHERE trajectory_id IN (SELECT unnest(?))",
                    [left],
                ).fetchall()
                found += [batch for (batch,) in rows]
        return (min(found), max(found)) if found else None

    def wrote(self, traces: Iterable[str], trajectories: Iterable[str], batch: int) -> None:
        """`batch` is durable: it has new rows of the traces and all rows of the trajectories."""
        with self._lock:
            for name in traces:
                known = self._trace_batches.pop(name, None)
                if known is not None or name in self._fresh:
                    self._trace_batches[name] = (known[0] if known else batch, batch)
            for name in trajectories:
                self._trajectory_batches.pop(name, None)
                self._trajectory_batches[name] = batch
            for recent in (self._trace_batches, self._trajectory_batches):
                while len(recent) > RECENT:
                    del recent[next(iter(recent))]

    def doubt(self) -> None:
        """The outcome of the last commit is unknown: ask the tables again."""
        with self._lock:
            self._trace_batches.clear()
            self._trajectory_batches.clear()

    def _known_traces(self, cursor: duckdb.DuckDBPyConnection) -> Hashes:
        if self._traces is None:
            self._traces = _load(cursor, "SELECT trace_id FROM data.traces")
        return self._traces

    def _known_trajectories(self, cursor: duckdb.DuckDBPyConnection) -> Hashes:
        if self._trajectories is None:
            self._trajectories = _load(cursor, "SELECT trajectory_id FROM data.trajectories")
        return self._trajectories


def _load(cursor: duckdb.DuckDBPyConnection, select: str) -> Hashes:
    hashes = Hashes()
    found = cursor.sql(f"SELECT hash(id) AS n FROM ({select}) ids(id) ORDER BY n").to_arrow_table()
    hashes.add_sorted(cast("pa.Array[Any]", found.column("n").combine_chunks()))
    return hashes


def _hashed(cursor: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> list[int]:
    cursor.register("hashing", pa.table({"id": TEXT.build(ids)}))
    try:
        rows = cursor.execute("SELECT hash(id) FROM hashing").fetchall()
    finally:
        cursor.unregister("hashing")
    return [number for (number,) in rows]
