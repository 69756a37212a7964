"""`/api/v1/verdicts`: the state of every subject, category and reference."""

from fastapi import APIRouter

from telltale.api.models import VerdictModel
from telltale.api.ports import Ports


def router(ports: Ports) -> APIRouter:
    """The route, over `ports`."""
    routes = APIRouter(tags=["verdicts"])

    @routes.get("/api/v1/verdicts")
    def verdicts() -> list[VerdictModel]:
        """The verdicts that hold now."""
        return [VerdictModel.model_validate(verdict) for verdict in ports.verdicts()]

    return routes
