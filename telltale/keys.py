"""Secret keys of a data folder: made at first use, readable by their owner only, never logged."""

import contextlib
import os
import secrets
from pathlib import Path

from contracts.errors import ConfigError

FOLDER = "keys"
ADMIN, REDACTION, TARGETS = "admin", "redaction", "targets"
SIZE_BYTES = 32


def secret(data: Path, name: str) -> bytes:
    """The 32 bytes of the key `name`; the same for the life of the data folder.

    Raises `ConfigError` where it cannot be read or made, or has another size.
    """
    path = data / FOLDER / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError("data", f"the key {path} cannot be used: {error.strerror}") from error
    if len(key) != SIZE_BYTES:
        raise ConfigError("data", f"the key {path} must have {SIZE_BYTES} bytes")
    return key


def _make(path: Path) -> None:
    """A new key at `path`, whole from the moment it is there; another's that came first stays."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()
