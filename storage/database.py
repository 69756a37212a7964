"""The DuckDB file: opening it as the store needs it, and what its exceptions mean."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

from contracts.errors import ConfigError, PermanentError, StoreUnavailable, TelltaleError
from storage.config import StorageSettings
from storage.migrations import Migration, apply, pending, schema
from storage.snapshot import clone

# Nothing is ever fetched or loaded at run time, and no Python variable is visible to SQL.
CLOSED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}


def open_database(
    path: Path, settings: StorageSettings, migrations: Sequence[Migration], now_ns: int
) -> tuple[duckdb.DuckDBPyConnection, tuple[str, ...]]:
    """An open connection with the newest schema, and the names of logs that had to be set aside.

    A write-ahead log that DuckDB refuses is kept beside the file as `*.corrupt-<ns>` and the file
    is opened without it: the rows of the log are lost here, the offsets with them, so Kafka is read
    again from before. Raises `ConfigError` if the file is not one that this version can open,
    `StoreUnavailable` for errors of the disk. A store of an older version is copied to
    `*.before-<migration>` first; nobody but the operator deletes the copy.
    """
    quarantined: tuple[str, ...] = ()
    try:
        connection = _connect(path, settings)
    except duckdb.Error as error:
        if not _is_corrupt_log(path, error):
            raise _cannot_open(path, error) from error
        quarantined = _set_logs_aside(path, now_ns)
        try:
            connection = _connect(path, settings)
        except duckdb.Error as again:
            raise _cannot_open(path, again) from again
    try:
        # Checkpoints come from the writer, at times of its choosing, never inside a commit.
        connection.execute("SET wal_autocheckpoint = '1TB'")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        ((mode,),) = connection.execute("SELECT current_setting('fsync_mode')").fetchall()
        if str(mode).upper() == "NONE":
            raise ConfigError("data", "DuckDB's fsync_mode is NONE: commits would not be durable")
        old = schema(connection)
        if old and pending(old, migrations):
            connection.execute("CHECKPOINT")
            _keep_copy(path, f"{path.name}.before-{pending(old, migrations)[0].name}")
        if apply(connection, migrations, now_ns):
            # Replaying DDL from a log has had bugs; the log never holds any.
            connection.execute("CHECKPOINT")
    except OSError as error:
        connection.close()
        raise ConfigError(
            "data", f"no copy of {path} could be made before its schema changes: {error.strerror}"
        ) from error
    except duckdb.Error as error:
        connection.close()
        raise unavailable(error) from error
    except BaseException:
        connection.close()
        raise
    return connection, quarantined


def _connect(path: Path, settings: StorageSettings) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        str(path),
        config={
            **CLOSED,
            "memory_limit": f"{settings.memory_limit_mb}MB",
            "threads": str(settings.threads),
        },
    )


def _keep_copy(path: Path, name: str) -> None:
    """A whole copy under that name; one of an earlier try is as good, for nothing was changed."""
    copy, partial = path.with_name(name), path.with_name(name + ".partial")
    if not copy.exists():
        partial.unlink(missing_ok=True)
        clone(path, partial, durable=True)
        partial.rename(copy)


def last_batch(path: Path) -> int:
    """Number of the last commit in a copy of the store. Raises `StoreUnavailable`."""
    try:
        with duckdb.connect(str(path), read_only=True, config={**CLOSED}) as copy:
            ((value,),) = copy.execute(
                "SELECT value FROM data.totals WHERE name = 'batch'"
            ).fetchall()
    except duckdb.Error as error:
        raise StoreUnavailable(
            f"the copy {path} cannot be read: {_first_line(str(error))}"
        ) from error
    return int(value)


def log_path(database: Path) -> Path:
    """The write-ahead log of a DuckDB file."""
    return database.with_name(database.name + ".wal")


def _is_corrupt_log(path: Path, error: duckdb.Error) -> bool:
    """Whether DuckDB refused the log for its content; not for a lock or a disk that cannot read."""
    text = str(error).replace(str(path.parent), "").lower()
    refused = "corrupt wal" in text or "wal does not match" in text
    return log_path(path).exists() and "replaying wal file" in text and refused


def _set_logs_aside(path: Path, now_ns: int) -> tuple[str, ...]:
    names: list[str] = []
    for log in sorted(path.parent.glob(path.name + ".wal*")):
        if ".corrupt-" not in log.name:
            kept = log.with_name(f"{log.name}.corrupt-{now_ns}")
            os.rename(log, kept)
            names.append(kept.name)
    return tuple(names)


def _cannot_open(path: Path, error: duckdb.Error) -> TelltaleError:
    text = str(error)
    if isinstance(error, duckdb.IOException) and "lock" in text.lower():
        return ConfigError("data", f"{path} is open in another process: {_first_line(text)}")
    if isinstance(error, duckdb.IOException) and not os.access(path.parent, os.W_OK):
        return ConfigError("data", f"the data folder {path.parent} cannot be written")
    return ConfigError("data", f"{path} cannot be opened: {_first_line(text)}")


def is_damage(error: duckdb.Error) -> bool:
    """Whether a block of the file is not what was written."""
    return "corrupt database file" in str(error).lower()


def unavailable(error: duckdb.Error) -> TelltaleError:
    """The error to raise for a DuckDB exception outside a query of a user."""
    text = _first_line(str(error))
    if isinstance(error, duckdb.InterruptException):
        return StoreUnavailable("the database was closed or reopened meanwhile")
    if isinstance(error, duckdb.FatalException | duckdb.InternalException):
        return StoreUnavailable(f"the database must be reopened: {text}")
    if isinstance(
        error, duckdb.IOException | duckdb.OperationalError | duckdb.OutOfMemoryException
    ):
        full = os.strerror(errno.ENOSPC).lower() in text.lower()
        hint = "the disk of the data folder is full" if full else "the database failed"
        return StoreUnavailable(f"{hint}: {text}")
    if is_damage(error):
        return PermanentError(f"the store is damaged, restore a backup: {text}")
    return PermanentError(f"the database refused: {text}")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no message"
