"""`/api/v1/trajectories`: what agents did, in order."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from telltale.api.models import (
    ActionModel,
    ErrorModel,
    OpportunityModel,
    TrajectoryDetailModel,
    TrajectoryModel,
    TrajectorySummaryModel,
)
from telltale.api.ports import Ports, TrajectoryFilter

Text = Annotated[str, Query(max_length=500)]
Limit = Annotated[int, Query(ge=1, le=1_000)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


def router(ports: Ports) -> APIRouter:
    """The routes, over `ports`."""
    routes = APIRouter(tags=["trajectories"])

    @routes.get("/api/v1/trajectories")
    def trajectories(
        environment: Text = "",
        agent: Text = "",
        agent_version: Text = "",
        model: Text = "",
        category: Text = "",
        tool: Text = "",
        state: Text = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> list[TrajectorySummaryModel]:
        """Trajectories that meet all conditions, newest first."""
        asked = TrajectoryFilter(
            environment=environment,
            agent=agent,
            agent_version=agent_version,
            model=model,
            category=category,
            tool=tool,
            state=state,
            since_ns=_nanoseconds(since),
            until_ns=_nanoseconds(until),
            limit=limit,
            offset=offset,
        )
        return [TrajectorySummaryModel.model_validate(row) for row in ports.trajectories(asked)]

    @routes.get("/api/v1/trajectories/{trajectory_id:path}", responses={404: {"model": ErrorModel}})
    def trajectory(trajectory_id: str) -> TrajectoryDetailModel:
        """One trajectory with its calls and their labels."""
        detail = ports.trajectory(trajectory_id)
        if detail is None:
            raise HTTPException(404, "no such trajectory")
        return TrajectoryDetailModel(
            trajectory=TrajectoryModel.model_validate(detail.trajectory),
            actions=[ActionModel.model_validate(a) for a in detail.labels.actions],
            opportunities=[OpportunityModel.model_validate(o) for o in detail.labels.opportunities],
        )

    return routes


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1e6) * 1_000
