"""Changes to the registry, through the running daemon where there is one."""

from dataclasses import asdict

import httpx2

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.clock import SystemClock
from storage.store import Store
from telltale.client import Client, daemon
from telltale.config import Settings


def _running(settings: Settings) -> Client | None:
    marker = daemon(settings.data)
    if marker is None:
        return None
    token = settings.api.token.get_secret_value()
    return Client(marker["api"], token, httpx2.AsyncHTTPTransport())


def register(settings: Settings, store: Store, info: BaselineInfo) -> None:
    """Record a frozen baseline. `store`: the store in hand, a copy while a daemon runs."""
    client = _running(settings)
    if client is None:
        store.add_baseline(info)
    else:
        client.post("/api/v1/admin/baselines", asdict(info))


def promote(settings: Settings, name: str, active_for: str) -> None:
    """Judge subjects that match `active_for` against the baseline `name`."""
    client = _running(settings)
    if client is not None:
        client.post("/api/v1/admin/promote", {"name": name, "active_for": active_for})
        return
    store = Store(settings.data, SystemClock(), settings.storage)
    try:
        store.promote(name, active_for)
    finally:
        store.close()


def add_lineage(settings: Settings, entry: LineageEntry) -> None:
    """Record a fact about a model."""
    client = _running(settings)
    if client is not None:
        client.post("/api/v1/admin/lineage", asdict(entry))
        return
    store = Store(settings.data, SystemClock(), settings.storage)
    try:
        store.add_lineage(entry)
    finally:
        store.close()
