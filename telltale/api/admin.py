"""`/api/v1/admin`: what changes the registry or the store; only for who can read the data folder.

Not part of the OpenAPI document: it serves the commands of the same installation, whose key lies in
the data folder with its owner's rights only.
"""

import hashlib
import hmac
from typing import Any, Protocol

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from contracts.baseline import BaselineInfo, LineageEntry

ADMIN_HEADER = "Telltale-Admin"


class Administration(Protocol):
    """What the daemon lets the commands do. Called from several threads."""

    def copy(self) -> str:
        """A folder with a copy of the store, for the caller to read and remove."""
        ...

    def add_baseline(self, info: BaselineInfo) -> None: ...

    def promote(self, name: str, active_for: str) -> None: ...

    def add_lineage(self, entry: LineageEntry) -> None: ...

    def forget(self, where: str, reason: str) -> dict[str, Any]:
        """The receipt."""
        ...

    def retain(self, days: int) -> dict[str, Any]:
        """The receipt."""
        ...


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Promotion(_Asked):
    name: str = Field(min_length=1)
    active_for: str


class Forgetting(_Asked):
    where: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class Fact(_Asked):
    model: str = Field(min_length=1)
    relation: str = Field(min_length=1)
    value: str = Field(min_length=1)
    digest: str
    recorded_ns: int = Field(ge=0)
    detail: dict[str, str]


class Retention(_Asked):
    days: int = Field(ge=1)


def router(admin: Administration, key: bytes) -> APIRouter:
    """The routes. `key`: the secret that `Telltale-Admin` must carry as hex; its digest is kept."""
    wanted = hashlib.sha256(key.hex().encode()).digest()
    routes = APIRouter(prefix="/api/v1/admin", include_in_schema=False)

    def check(given: str) -> None:
        if not hmac.compare_digest(hashlib.sha256(given.encode()).digest(), wanted):
            raise HTTPException(403, "only for the owner of the data folder")

    @routes.post("/copy")
    def copy(telltale_admin: str = Header("")) -> dict[str, str]:
        check(telltale_admin)
        return {"folder": admin.copy()}

    @routes.post("/baselines")
    def baselines(info: BaselineInfo, telltale_admin: str = Header("")) -> dict[str, str]:
        check(telltale_admin)
        admin.add_baseline(info)
        return {}

    @routes.post("/promote")
    def promote(asked: Promotion, telltale_admin: str = Header("")) -> dict[str, str]:
        check(telltale_admin)
        admin.promote(asked.name, asked.active_for)
        return {}

    @routes.post("/lineage")
    def lineage(fact: Fact, telltale_admin: str = Header("")) -> dict[str, str]:
        check(telltale_admin)
        admin.add_lineage(LineageEntry(**fact.model_dump()))
        return {}

    @routes.post("/forget")
    def forget(asked: Forgetting, telltale_admin: str = Header("")) -> dict[str, Any]:
        check(telltale_admin)
        return admin.forget(asked.where, asked.reason)

    @routes.post("/retain")
    def retain(asked: Retention, telltale_admin: str = Header("")) -> dict[str, Any]:
        check(telltale_admin)
        return admin.retain(asked.days)

    return routes
