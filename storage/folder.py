"""Ownership of the data folder: one daemon, or several readers, never both."""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path

from contracts.errors import ConfigError, DataFolderInUse

DATABASE = "telltale.duckdb"
LOCK = "telltale.lock"


class DataFolder:
    """A data folder held for writing until `release`.

    The kernel drops the lock with the process, so a SIGKILL leaves nothing to clean up. Raises
    `DataFolderInUse` if another process still holds it after `wait_s`, `ConfigError` if the folder
    cannot be made or written.
    """

    def __init__(self, path: Path, wait_s: float = 5.0) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise ConfigError(
                "data", f"the data folder {path} cannot be written: {error.strerror}"
            ) from error
        try:
            _lock(self._lock, fcntl.LOCK_EX, path, wait_s)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return self.path / DATABASE

    def release(self) -> None:
        """Let go of the folder. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def reading(path: Path) -> Generator[Path]:
    """The DuckDB file of a folder that no daemon owns, for as long as the context lasts.

    Raises `DataFolderInUse` where a daemon runs, `ConfigError` where there is no store.
    """
    database = path / DATABASE
    if not database.is_file():
        raise ConfigError("data", f"there is no store in {path}")
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield database  # a copy, made without the lock file: nobody can own it by our rules
        return
    try:
        _lock(descriptor, fcntl.LOCK_SH, path, 0.0)
        yield database
    finally:
        os.close(descriptor)


def _lock(descriptor: int, mode: int, path: Path, wait_s: float) -> None:
    """Take an advisory lock, asking again every 50 ms: a query may be about to end."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                who = f"process {owner}" if owner else "another process"
                raise DataFolderInUse(
                    f"the data folder {path} is in use by {who}; stop it, or choose another "
                    "folder with --data"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            raise ConfigError("data", f"cannot lock {path / LOCK}: {error.strerror}") from error
        else:
            return
