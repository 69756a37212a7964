"""`/api/v1/alerts`: what was paged about, and why."""

from fastapi import APIRouter, HTTPException

from telltale.api.models import AlertModel, ErrorModel, ExplanationModel
from telltale.api.ports import Ports
from telltale.api.trajectories import Limit, Offset


def router(ports: Ports) -> APIRouter:
    """The routes, over `ports`."""
    routes = APIRouter(tags=["alerts"])

    @routes.get("/api/v1/alerts")
    def alerts(limit: Limit = 100, offset: Offset = 0) -> list[AlertModel]:
        """Alerts, newest first."""
        return [AlertModel.model_validate(alert) for alert in ports.alerts(limit, offset)]

    @routes.get("/api/v1/alerts/{alert_id:path}", responses={404: {"model": ErrorModel}})
    def alert(alert_id: str) -> ExplanationModel:
        """One alert with its explanation, as `telltale explain --json` prints it."""
        explanation = ports.explanation(alert_id)
        if explanation is None:
            raise HTTPException(404, "no such alert")
        return ExplanationModel.model_validate(explanation)

    return routes
