"""The open DuckDB file: one transaction at a time, readers beside it, checkpoints at quiet times,
and the way back after a fatal error.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

import duckdb

from contracts.clock import Clock
from contracts.errors import StoreUnavailable, TelltaleError
from contracts.ports import Changes
from contracts.record import Gap, Partition
from storage import changes as batches
from storage import migrations
from storage.config import StorageSettings
from storage.database import log_path, open_database, unavailable
from storage.folder import DataFolder
from storage.writer import Writer

Result = TypeVar("Result")
log = logging.getLogger(__name__)

LOG_TOPIC = "write-ahead log"
"""`topic` of the gap that is recorded when a corrupt log had to be set aside."""


class Engine:
    """The database of an owned data folder. Thread-safe.

    After a fatal error every method raises `StoreUnavailable` until `reopen`: an error can follow a
    commit that is durable, so the outcome of the last one is unknown.
    """

    def __init__(self, folder: DataFolder, clock: Clock, settings: StorageSettings) -> None:
        self._folder = folder
        self._clock = clock
        self._settings = settings
        self._gate = threading.Condition()  # guards the two fields below
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._failure: str | None = None
        self._keep_log = threading.Lock()  # held while the file is copied: no checkpoint then
        self._dirty = True  # a log may be left from before
        self._checkpointed_ns = clock.monotonic_ns()
        self._writes = 0
        self._connection = self._open()
        self._writer = Writer(settings.queue_size, self._idle)

    @property
    def writes(self) -> int:
        """Number of transactions committed since the file was opened first."""
        return self._writes

    def write(
        self,
        function: Callable[[duckdb.DuckDBPyConnection], Result],
        then: Callable[[Result], None] | None = None,
    ) -> Result:
        """What `function` returns; what it wrote is durable by then, or gone if it raised.

        `then`: called with it after the commit, before any other write. Raises `Busy` if too many
        writes wait, `StoreUnavailable` where the outcome is unknown.
        """

        def work() -> Result:
            result = self._transaction(function)
            if then is not None:
                then(result)
            return result

        return self._writer.run(work)

    def read(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        """What `function` makes of a cursor of its own, beside the writer."""
        with self._gate:
            if self._failure is not None:
                raise StoreUnavailable(self._failure)
            cursor = self._connection.cursor()
            self._readers.add(cursor)
        try:
            return function(cursor)
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

    def reopen(self) -> None:
        """Close the file, with readers interrupted, and open it anew."""
        self._writer.run(self._reopen)

    def close(self) -> None:
        """Finish queued writes, fold the log into the file, close it. Idempotent."""
        self._writer.stop()
        with self._gate:
            self._failure = "the store is closed"
        self._close()

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """All commits in the file itself, which no checkpoint touches until the context ends.

        Commits go on meanwhile: they only append to the log, and to blocks that are free.
        """

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

    def _transaction(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        self._check_usable()
        self._check_space()
        try:
            self._connection.execute("BEGIN")
            result = function(self._connection)
            self._connection.execute("COMMIT")
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
        rolled_back = self._roll_back()
        raised = unavailable(error)
        if isinstance(raised, StoreUnavailable) or not rolled_back:
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

    def _open(self) -> duckdb.DuckDBPyConnection:
        now_ns = self._clock.now_ns()
        connection, aside = open_database(
            self._folder.database, self._settings, migrations.shipped(), now_ns
        )
        for name in aside:
            log.error("corrupt write-ahead log set aside", extra={"kept_as": name})
            size = (self._folder.path / name).stat().st_size
            gap = Gap(Partition(LOG_TOPIC, 0), 0, size, f"corrupt, kept as {name}", now_ns)
            batches.apply(connection, batches.encode(Changes(gaps=(gap,))))
        return connection

    def _reopen(self) -> None:
        self._fail(StoreUnavailable("the store is being reopened"))
        self._close()
        self._connection = self._open()
        self._dirty = True
        with self._gate:
            self._failure = None

    def _close(self) -> None:
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
        elapsed_s = (self._clock.monotonic_ns() - self._checkpointed_ns) / 1e9
        path = log_path(self._folder.database)
        size = path.stat().st_size if path.exists() else 0
        large = size >= self._settings.checkpoint_wal_mb * 1_000_000
        if not large and elapsed_s < self._settings.checkpoint_interval_s:
            return self._settings.checkpoint_interval_s - elapsed_s
        if not self._keep_log.acquire(blocking=False):
            return 1.0
        try:
            self._checkpoint()
        finally:
            self._keep_log.release()
        return None

    def _checkpoint(self) -> None:
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            # The commits are durable, but after a full disk the instance may refuse all else.
            self._fail(StoreUnavailable(str(unavailable(error))))
        self._dirty = False
        self._checkpointed_ns = self._clock.monotonic_ns()
