"""The trajectory store: one DuckDB file, one writer thread, readers on cursors beside it."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.clock import Clock
from contracts.errors import BadCondition, Busy, ConfigError, OutputError, StoreUnavailable
from contracts.ports import Changes, Restored
from contracts.record import Partition, Position
from contracts.trajectory import Trajectory
from contracts.verdict import Alert
from storage import changes as batches
from storage import landlock, queries, registry, retention
from storage.conditions import matching
from storage.config import QueryLimits, StorageSettings
from storage.database import last_batch
from storage.engine import Engine
from storage.export import export
from storage.folder import DataFolder
from storage.places import Places
from storage.retention import Receipt, Verification
from storage.runner import run_query
from storage.snapshot import Snapshots, clone

Result = TypeVar("Result")
log = logging.getLogger(__name__)

PAGE = 256
"""Trajectories read at once by `trajectories`: bounds memory, and lets writes in between."""

CLOCK_SLACK_NS = 3600 * 10**9
"""How far the wall clock may run ahead of the monotonic one before retention disbelieves it."""


class Store:
    """The `TrajectoryStore` and `Registry` over `folder`/telltale.duckdb.

    Thread-safe. Holds the data folder until `close`. `wait_s`: how long to wait for a query or
    another owner that is about to end. Raises `DataFolderInUse` where another process
    holds it, `ConfigError` where the folder or the file cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        settings: StorageSettings | None = None,
        wait_s: float = 5.0,
    ) -> None:
        self._clock = clock
        self._settings = settings or StorageSettings()
        self._opened_ns = (clock.now_ns(), clock.monotonic_ns())
        self._places = Places()
        self._slots = threading.BoundedSemaphore(self._settings.concurrent_queries)
        self._folder = DataFolder(folder, wait_s)
        try:
            self._engine = Engine(self._folder, clock, self._settings)
        except BaseException:
            self._folder.release()
            raise
        self._snapshots = Snapshots(
            folder / "snapshots",
            self._folder.database,
            self._engine.unchanged,
            lambda: self._engine.writes,
        )
        weaker = landlock.unavailable()
        if weaker:
            log.warning("queries run with fewer layers", extra={"reason": weaker})

    # -- TrajectoryStore ---------------------------------------------------------------------------

    def commit(self, changes: Changes) -> None:
        """All of `changes` durably, or nothing.

        The labels written are those of `changes.trajectories`. Raises `Busy` if too many writes
        wait, `StoreUnavailable` where the outcome is unknown.
        """
        encoded = batches.encode(changes)
        self._engine.write(
            lambda connection: batches.apply(connection, encoded, self._places),
            then=lambda batch: self._places.wrote(encoded.traces, encoded.touched, batch),
        )

    def ledger(self) -> Mapping[Partition, Position]:
        return self._engine.read(queries.ledger)

    def detector_states(self) -> Mapping[str, bytes]:
        return self._engine.read(queries.detector_states)

    def totals(self) -> Mapping[str, int]:
        """`batch` (number of the last commit) and `duplicates` (spans received again)."""
        return self._engine.read(queries.totals)

    def fetch(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        """What `function` makes of a read cursor; see `storage.listings`."""
        return self._engine.read(function)

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a statement of Telltale's own; SQL from outside goes through `query`."""
        return self._engine.read(lambda cursor: cursor.execute(sql).fetchall())

    def restore_traces(self, trace_ids: frozenset[str]) -> Restored:
        wanted = sorted(trace_ids)
        return self._engine.read(lambda cursor: self._restore(cursor, wanted))

    def restore_trajectories(self, trajectory_ids: frozenset[str]) -> Restored:
        wanted = sorted(trajectory_ids)
        if not wanted:
            return queries.NOTHING

        def read(cursor: duckdb.DuckDBPyConnection) -> Restored:
            stored = self._places.stored_trajectories(cursor, wanted)
            traces = queries.traces_of(cursor, stored) if stored else []
            return self._restore(cursor, traces)

        return self._engine.read(read)

    def open_trajectories(self, limit: int, heard_before_ns: int | None = None) -> Sequence[str]:
        return self._engine.read(
            lambda cursor: queries.open_trajectories(cursor, limit, heard_before_ns)
        )

    def trajectories(self, where: str, with_calls: bool = True) -> Iterator[Trajectory]:
        """Complete trajectories that meet the condition, ordered by (ended_ns, trajectory_id).

        `where`: one SQL expression over the columns of the view `trajectories`; "" means all.
        Subqueries may read the other views. A trajectory that changes while the iterator is being
        consumed is given as it is by then. Raises `BadCondition` at once, not at the first item.
        """

        def match(cursor: duckdb.DuckDBPyConnection) -> list[str]:
            return matching(cursor, where, self._settings.query.timeout_s)

        return self._pages(self._engine.read(match), with_calls)

    def pending_alerts(self, limit: int) -> Sequence[Alert]:
        return self._engine.read(lambda cursor: queries.pending_alerts(cursor, limit))

    def mark_delivered(self, alert_ids: Sequence[str], at_ns: int) -> None:
        if alert_ids:
            self._engine.write(
                lambda connection: queries.mark_delivered(connection, alert_ids, at_ns)
            )

    def reopen(self) -> None:
        """Close and open the file anew. Queries under way are interrupted."""
        self._places.doubt()  # the last commit may be durable without its `then`
        self._engine.reopen()

    def query(self, sql: str, limits: QueryLimits | None = None) -> pa.Table:
        """The result of one SELECT over the public views, from a copy that may be some seconds old
        (`storage.snapshot`), run in a disposable child process.

        Raises `QueryRefused` for any other SQL, errors in it, and results past `limits`; `Busy`
        where others took all places for the whole time limit.
        """
        limits = limits or self._settings.query
        if not self._slots.acquire(timeout=limits.timeout_s):
            raise Busy(f"{self._settings.concurrent_queries} queries are running already")
        try:
            with self._snapshots.latest() as copy:
                return run_query(copy, sql, limits)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Finish queued writes, checkpoint, let go of the folder. Idempotent."""
        self._snapshots.clear()
        self._engine.close()
        self._folder.release()

    # -- Registry ----------------------------------------------------------------------------------

    def add_baseline(self, info: BaselineInfo) -> None:
        self._engine.write(lambda connection: registry.add_baseline(connection, info))

    def baselines(self) -> Sequence[BaselineInfo]:
        return self._engine.read(registry.baselines)

    def baseline(self, name: str) -> BaselineInfo:
        return self._engine.read(lambda cursor: registry.baseline(cursor, name))

    def promote(self, name: str, active_for: str) -> None:
        self._engine.write(lambda connection: registry.promote(connection, name, active_for))

    def add_lineage(self, entry: LineageEntry) -> None:
        self._engine.write(lambda connection: registry.add_lineage(connection, entry))

    def lineage(self, model: str = "") -> Sequence[LineageEntry]:
        return self._engine.read(lambda cursor: registry.lineage(cursor, model))

    # -- upkeep ------------------------------------------------------------------------------------

    def retain(self, days: int) -> Receipt:
        """Delete what nothing was heard of for `days` days, in one transaction, with a receipt.

        A clock that jumped ahead since the store was opened does not count: it would delete all.
        """
        now_ns = self._plausible_now_ns()
        before_ns = now_ns - days * retention.DAY_NS

        def delete(connection: duckdb.DuckDBPyConnection) -> Receipt:
            doomed = retention.expired(connection, before_ns)
            reason = f"older than {days} days"
            return retention.delete(connection, doomed, reason, now_ns, before_ns)

        return self._engine.write(delete)

    def forget(self, where: str, reason: str) -> Receipt:
        """Delete the trajectories, open ones too, that meet the condition, and their traces.

        Raises `BadCondition`, also for an empty condition.
        """
        if not where.strip():
            raise BadCondition("to forget everything, say so: --where true")

        def delete(connection: duckdb.DuckDBPyConnection) -> Receipt:
            limit_s = self._settings.query.timeout_s
            doomed = matching(connection, where, limit_s, complete=False)
            return retention.delete(connection, doomed, reason, self._clock.now_ns())

        return self._engine.write(delete)

    def verify(self) -> Verification:
        """Row counts, and whether every span is there once and nothing is orphaned."""
        return self._engine.read(retention.verify)

    def backup(self, path: Path) -> int:
        """Copy the whole store to the new file `path` while commits go on; its size in bytes.

        The copy is opened and compared before this returns. Raises `ConfigError` where `path` is
        there already, `OutputError` where it cannot be written.
        """
        least = self.totals()["batch"]
        try:
            with self._engine.unchanged():
                clone(self._folder.database, path, durable=True)
        except FileExistsError as error:
            raise ConfigError("output", f"{path} already exists; copy into a new file") from error
        except OSError as error:
            raise OutputError(path, str(error.strerror)) from error
        if last_batch(path) < least:
            raise StoreUnavailable(f"the copy {path} is not whole; make another")
        return path.stat().st_size

    def export(self, folder: Path, views: Sequence[str] = ()) -> Mapping[str, int]:
        """Rows written by view, as Parquet; see `storage.export`."""
        return self._engine.read(lambda cursor: export(cursor, folder, views))

    # -- how ---------------------------------------------------------------------------------------

    def _plausible_now_ns(self) -> int:
        passed_ns = self._clock.monotonic_ns() - self._opened_ns[1]
        return min(self._clock.now_ns(), self._opened_ns[0] + passed_ns + CLOCK_SLACK_NS)

    def _restore(self, cursor: duckdb.DuckDBPyConnection, traces: Sequence[str]) -> Restored:
        if not traces:
            return queries.NOTHING
        stored, spread = self._places.stored_traces(cursor, traces)
        return queries.restore_traces(cursor, stored, spread) if stored else queries.NOTHING

    def _pages(self, found: Sequence[str], with_calls: bool) -> Iterator[Trajectory]:
        for start in range(0, len(found), PAGE):
            page = found[start : start + PAGE]
            read = partial(queries.trajectories, trajectory_ids=page, with_calls=with_calls)
            yield from self._engine.read(read)
