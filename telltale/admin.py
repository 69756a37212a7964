"""Changes to the registry and the store, through the running daemon where there is one."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.clock import SystemClock
from storage.store import Store
from telltale.client import running
from telltale.config import Settings


@contextmanager
def _owned(settings: Settings) -> Generator[Store]:
    store = Store(settings.data, SystemClock(), settings.storage)
    try:
        yield store
    finally:
        store.close()


def register(settings: Settings, store: Store, info: BaselineInfo) -> None:
    """Record a frozen baseline. `store`: the store in hand, a copy while a daemon runs."""
    client = running(settings)
    if client is None:
        store.add_baseline(info)
    else:
        client.post("/api/v1/admin/baselines", asdict(info))


def promote(settings: Settings, name: str, active_for: str) -> None:
    """Judge subjects that match `active_for` against the baseline `name`."""
    client = running(settings)
    if client is not None:
        client.post("/api/v1/admin/promote", {"name": name, "active_for": active_for})
        return
    with _owned(settings) as store:
        store.promote(name, active_for)


def add_lineage(settings: Settings, entry: LineageEntry) -> None:
    """Record a fact about a model."""
    client = running(settings)
    if client is not None:
        client.post("/api/v1/admin/lineage", asdict(entry))
        return
    with _owned(settings) as store:
        store.add_lineage(entry)


def forget(settings: Settings, where: str, reason: str) -> dict[str, Any]:
    """Delete the trajectories that meet the condition; the receipt."""
    client = running(settings)
    if client is not None:
        body = client.post("/api/v1/admin/forget", {"where": where, "reason": reason})
        return dict(json.loads(body))
    with _owned(settings) as store:
        return asdict(store.forget(where, reason))


def retain(settings: Settings, days: int) -> dict[str, Any]:
    """Delete what nothing was heard of for `days` days; the receipt."""
    client = running(settings)
    if client is not None:
        return dict(json.loads(client.post("/api/v1/admin/retain", {"days": days})))
    with _owned(settings) as store:
        return asdict(store.retain(days))
