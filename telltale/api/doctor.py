"""`/api/v1/doctor`: what the daemon can and cannot see."""

from typing import Any

from fastapi import APIRouter

from telltale.api.models import jsonable
from telltale.api.ports import Ports


def router(ports: Ports) -> APIRouter:
    """The route, over `ports`."""
    routes = APIRouter(tags=["doctor"])

    @routes.get("/api/v1/doctor")
    def doctor() -> dict[str, Any]:
        """As `telltale doctor --json` prints it."""
        return {key: jsonable(value) for key, value in ports.doctor().items()}

    return routes
