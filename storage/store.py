"""The trajectory store: one DuckDB file, one writer thread, readers on cursors beside it."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.clock import Clock
from contracts.errors import StoreUnavailable, TelltaleError
from contracts.ports import Changes, Restored
from contracts.record import Gap, Partition, Position
from contracts.trajectory import Trajectory
from contracts.verdict import Alert
from storage import changes as batches
from storage import migrations, queries, registry
from storage.conditions import USER_ERRORS, bad_condition, check_condition
from storage.config import QueryLimits, StorageSettings
from storage.database import log_path, open_database, unavailable
from storage.folder import DataFolder
from storage.runner import run_query
from storage.snapshot import Snapshots
from storage.writer import Writer

Result = TypeVar("Result")
log = logging.getLogger(__name__)

PAGE = 256
"""Trajectories read at once by `trajectories`: bounds memory, and lets writes in between."""

LOG_TOPIC = "write-ahead log"
"""`topic` of the gap that is recorded when a corrupt log had to be set aside."""


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
        self._folder = DataFolder(folder, wait_s)
        self._gate = threading.Condition()
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._failure: str | None = None
        self._keep_log = threading.Lock()  # held while the file is copied: no checkpoint then
        self._dirty = False
        self._writes = 0
        self._checked_ns = clock.monotonic_ns()
        try:
            self._connection = self._open()
        except BaseException:
            self._folder.release()
            raise
        self._writer = Writer(self._settings.queue_size, self._idle)
        self._snapshots = Snapshots(
            folder / "snapshots", self._folder.database, self._unchanged, lambda: self._writes
        )

    # -- TrajectoryStore ---------------------------------------------------------------------------

    def commit(self, changes: Changes) -> None:
        """All of `changes` durably, or nothing.

        The labels written are those of `changes.trajectories`. Raises `Busy` if too many writes
        wait, `StoreUnavailable` where the outcome is unknown.
        """
        encoded = batches.encode(changes)
        self._write(lambda connection: batches.apply(connection, encoded))

    def ledger(self) -> Mapping[Partition, Position]:
        return self.fetch(queries.ledger)

    def detector_states(self) -> Mapping[str, bytes]:
        return self.fetch(queries.detector_states)

    def totals(self) -> Mapping[str, int]:
        """`batch` (number of the last commit) and `duplicates` (spans received again)."""
        return self.fetch(queries.totals)

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a statement of Telltale's own; SQL from outside goes through `query`."""
        return self.fetch(lambda cursor: cursor.execute(sql).fetchall())

    def restore_traces(self, trace_ids: frozenset[str]) -> Restored:
        wanted = sorted(trace_ids)
        if not wanted:
            return queries.NOTHING
        return self.fetch(lambda cursor: queries.restore_traces(cursor, wanted))

    def restore_trajectories(self, trajectory_ids: frozenset[str]) -> Restored:
        wanted = sorted(trajectory_ids)
        if not wanted:
            return queries.NOTHING

        def read(cursor: duckdb.DuckDBPyConnection) -> Restored:
            traces = queries.traces_of(cursor, wanted)
            return queries.restore_traces(cursor, traces) if traces else queries.NOTHING

        return self.fetch(read)

    def restore_open(self, limit: int) -> Restored:
        found = self.fetch(lambda cursor: queries.open_trajectories(cursor, limit))
        return self.restore_trajectories(frozenset(found))

    def trajectories(self, where: str, with_calls: bool = True) -> Iterator[Trajectory]:
        """Complete trajectories that meet the condition, ordered by (ended_ns, trajectory_id).

        `where`: one SQL expression over the columns of the view `trajectories`; "" means all.
        Subqueries may read the other views. A trajectory that changes while the iterator is being
        consumed is given as it is by then. Raises `BadCondition` at once, not at the first item.
        """

        def match(cursor: duckdb.DuckDBPyConnection) -> list[str]:
            condition = check_condition(cursor, where)
            try:
                return queries.matching(cursor, condition)
            except USER_ERRORS as error:
                raise bad_condition(where, error) from error

        return self._pages(self.fetch(match), with_calls)

    def pending_alerts(self, limit: int) -> Sequence[Alert]:
        return self.fetch(lambda cursor: queries.pending_alerts(cursor, limit))

    def mark_delivered(self, alert_ids: Sequence[str], at_ns: int) -> None:
        if alert_ids:
            self._write(lambda connection: queries.mark_delivered(connection, alert_ids, at_ns))

    def reopen(self) -> None:
        """Close and open the file anew. Queries under way are interrupted."""
        self._writer.run(self._reopen)

    def query(self, sql: str, limits: QueryLimits | None = None) -> pa.Table:
        """The result of one SELECT over the public views, from a copy that may be some seconds old
        (`storage.snapshot`), run in a disposable child process.

        Raises `QueryRefused` for any other SQL, errors in it, and results past `limits`.
        """
        with self._snapshots.latest() as copy:
            return run_query(copy, sql, limits or self._settings.query)

    def close(self) -> None:
        """Finish queued writes, checkpoint, let go of the folder. Idempotent."""
        self._snapshots.clear()
        self._writer.stop()
        with self._gate:
            self._failure = "the store is closed"
        self._close_connection()
        self._folder.release()

    # -- Registry ----------------------------------------------------------------------------------

    def add_baseline(self, info: BaselineInfo) -> None:
        self._write(lambda connection: registry.add_baseline(connection, info))

    def baselines(self) -> Sequence[BaselineInfo]:
        return self.fetch(registry.baselines)

    def baseline(self, name: str) -> BaselineInfo:
        return self.fetch(lambda cursor: registry.baseline(cursor, name))

    def promote(self, name: str, active_for: str) -> None:
        self._write(lambda connection: registry.promote(connection, name, active_for))

    def add_lineage(self, entry: LineageEntry) -> None:
        self._write(lambda connection: registry.add_lineage(connection, entry))

    def lineage(self, model: str = "") -> Sequence[LineageEntry]:
        return self.fetch(lambda cursor: registry.lineage(cursor, model))

    # -- how ---------------------------------------------------------------------------------------

    def _write(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        return self._writer.run(lambda: self._transaction(function))

    def _transaction(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        self._check_usable()
        self._check_space()
        connection = self._connection
        try:
            connection.execute("BEGIN")
            result = function(connection)
            connection.execute("COMMIT")
        except duckdb.Error as error:
            raise self._failed(error) from error
        except BaseException:
            self._roll_back()
            raise
        self._dirty = True
        self._writes += 1
        return result

    def _failed(self, error: duckdb.Error) -> TelltaleError:
        """The error to raise for a failed transaction. Unless DuckDB says that nothing was
        written, the store is unusable until `reopen`.
        """
        known = self._roll_back()
        raised = unavailable(error)
        if isinstance(raised, StoreUnavailable) or not known:
            raised = StoreUnavailable(str(raised))
            self._fail(raised)
        return raised

    def _fail(self, error: TelltaleError) -> None:
        with self._gate:
            if self._failure is None:
                self._failure = str(error)
                log.error("store failed", extra={"reason": str(error)})

    def _roll_back(self) -> bool:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            return False
        return True

    def _check_usable(self) -> None:
        with self._gate:
            if self._failure is not None:
                raise StoreUnavailable(self._failure)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._folder.path).free
        if free < self._settings.min_free_mb * 1_000_000:
            raise StoreUnavailable(
                f"only {free // 1_000_000} MB are free in {self._folder.path}; "
                f"commits go on above {self._settings.min_free_mb} MB"
            )

    def fetch(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        """What `function` makes of a read cursor; see `storage.listings`."""
        with self._cursor() as cursor:
            return function(cursor)

    @contextmanager
    def _cursor(self) -> Generator[duckdb.DuckDBPyConnection]:
        with self._gate:
            if self._failure is not None:
                raise StoreUnavailable(self._failure)
            cursor = self._connection.cursor()
            self._readers.add(cursor)
        try:
            yield cursor
        except duckdb.Error as error:
            raised = unavailable(error)
            if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                self._fail(raised)
            raise raised from error
        finally:
            cursor.close()
            with self._gate:
                self._readers.discard(cursor)
                self._gate.notify_all()

    def _pages(self, found: Sequence[str], with_calls: bool) -> Iterator[Trajectory]:
        for start in range(0, len(found), PAGE):
            page = found[start : start + PAGE]
            read = partial(queries.trajectories, trajectory_ids=page, with_calls=with_calls)
            yield from self.fetch(read)

    def _open(self) -> duckdb.DuckDBPyConnection:
        now_ns = self._clock.now_ns()
        connection, aside = open_database(
            self._folder.database, self._settings, migrations.shipped(), now_ns
        )
        for name in aside:
            log.error("corrupt write-ahead log set aside", extra={"kept_as": name})
            size = (self._folder.path / name).stat().st_size
            reason = f"corrupt, kept as {name}"
            gap = Gap(Partition(LOG_TOPIC, 0), 0, size, reason, now_ns)
            batches.apply(connection, batches.encode(Changes(gaps=(gap,))))
        return connection

    def _reopen(self) -> None:
        self._fail(StoreUnavailable("the store is being reopened"))
        self._close_connection()
        self._connection = self._open()
        with self._gate:
            self._failure = None

    def _close_connection(self) -> None:
        """Close with every reader gone: the file stays locked while one cursor is open."""
        with self._gate:
            for cursor in self._readers:
                cursor.interrupt()
            self._gate.wait_for(lambda: not self._readers)
        with self._keep_log, suppress(duckdb.Error):
            # After a FATAL the close itself may complain; the next open reads what is durable.
            self._connection.close()

    def _idle(self) -> float | None:
        """Checkpoint when due; seconds until the next look, None while nothing is unsaved."""
        if not self._dirty or self._failure is not None:
            return None
        elapsed_s = (self._clock.monotonic_ns() - self._checked_ns) / 1e9
        path = log_path(self._folder.database)
        size = path.stat().st_size if path.exists() else 0
        large = size >= self._settings.checkpoint_wal_mb * 1_000_000
        if large or elapsed_s >= self._settings.checkpoint_interval_s:
            return None if self._checkpoint_if_free() else 1.0
        return self._settings.checkpoint_interval_s - elapsed_s

    def _checkpoint_if_free(self) -> bool:
        """Fold the log into the file; False if a copy of the file is being made."""
        if not self._keep_log.acquire(blocking=False):
            return False
        try:
            self._checkpoint()
        finally:
            self._keep_log.release()
        return True

    def _checkpoint(self) -> None:
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            # The commits are durable, the instance may not go on: RELIABILITY.md 2.2, disk full.
            self._fail(StoreUnavailable(str(unavailable(error))))
        self._dirty = False
        self._checked_ns = self._clock.monotonic_ns()

    @contextmanager
    def _unchanged(self) -> Generator[None]:
        """All commits in the file itself, which no checkpoint touches until the context ends."""

        def begin() -> bool:
            self._check_usable()
            if not self._keep_log.acquire(blocking=False):
                return False
            self._checkpoint()
            if self._failure is not None:
                self._keep_log.release()
            self._check_usable()
            return True

        # Never waits for the lock inside the writer, or a reopening writer would wait for us.
        while not self._writer.run(begin):
            time.sleep(0.05)
        try:
            yield
        finally:
            self._keep_log.release()
