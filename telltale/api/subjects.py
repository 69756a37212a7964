"""`/api/v1/subjects`: what is judged."""

from fastapi import APIRouter

from telltale.api.models import SubjectSummaryModel
from telltale.api.ports import Ports


def router(ports: Ports) -> APIRouter:
    """The route, over `ports`."""
    routes = APIRouter(tags=["subjects"])

    @routes.get("/api/v1/subjects")
    def subjects() -> list[SubjectSummaryModel]:
        """All subjects seen, most recent first."""
        return [SubjectSummaryModel.model_validate(subject) for subject in ports.subjects()]

    return routes
