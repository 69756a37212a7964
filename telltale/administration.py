"""What the running daemon lets the commands of its own installation do."""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.baseline import BaselineInfo, LineageEntry
from storage.folder import DATABASE
from storage.store import Store

COPIES = "copies"
"""Folder of copies in the data folder; what a killed command left there goes at the next start."""


class StoreAdministration:
    """`telltale.api.admin.Administration` over the daemon's store. `changed`: references did."""

    def __init__(self, store: Store, data: Path, changed: Callable[[], None]) -> None:
        self._store = store
        self._copies = data / COPIES
        self._changed = changed
        shutil.rmtree(self._copies, ignore_errors=True)

    def copy(self) -> str:
        """A folder with a copy of the store, readable by the daemon's own user only."""
        folder = self._copies / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o700)
        self._store.backup(folder / DATABASE)
        return str(folder.resolve())

    def add_baseline(self, info: BaselineInfo) -> None:
        """Record a frozen baseline; it judges nobody until it is promoted."""
        self._store.add_baseline(info)

    def promote(self, name: str, active_for: str) -> None:
        """Judge by it from the next batch on."""
        self._store.promote(name, active_for)
        self._changed()

    def add_lineage(self, entry: LineageEntry) -> None:
        """Record a fact about a model."""
        self._store.add_lineage(entry)

    def forget(self, where: str, reason: str) -> dict[str, Any]:
        """Delete trajectories; the receipt."""
        return asdict(self._store.forget(where, reason))

    def retain(self, days: int) -> dict[str, Any]:
        """Delete what is old; the receipt."""
        return asdict(self._store.retain(days))
