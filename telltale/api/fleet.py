"""`/api/v1/fleet`: which verdicts stand out when all of them are looked at together."""

from typing import Annotated

from fastapi import APIRouter, Query

from telltale.api.models import FleetModel
from telltale.api.ports import Ports
from telltale.fleet import ALPHA, standing_out

Alpha = Annotated[float, Query(gt=0, lt=1, description="False discovery rate.")]


def router(ports: Ports) -> APIRouter:
    """The route, over `ports`."""
    routes = APIRouter(tags=["fleet"])

    @routes.get("/api/v1/fleet")
    def fleet(alpha: Alpha = ALPHA) -> FleetModel:
        """Verdicts that stand out among all subjects, categories and references, by e-BH: of those
        named, a share of at most `alpha` is expected to be by chance.
        """
        return FleetModel.model_validate(standing_out(ports.verdicts(), alpha))

    return routes
