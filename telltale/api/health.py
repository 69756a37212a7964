"""`/healthz`, `/readyz` and `/metrics`: for machines that look after the daemon."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from telltale.api.ports import Ports

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    status: str


class ReadinessModel(BaseModel):
    """`checks`: name of each thing the daemon needs, and "" where it is well, else what is not."""

    ready: bool
    checks: dict[str, str]


def router(ports: Ports) -> APIRouter:
    """The routes, over `ports`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    async def healthz() -> Health:
        """The process answers. Does not wait for anything else, not even a free worker thread."""
        return Health(status="ok")

    @routes.get(
        "/readyz", responses={200: {"model": ReadinessModel}, 503: {"model": ReadinessModel}}
    )
    def readyz() -> Response:
        """200 where the daemon takes spans and stores them, else 503 and what is not well."""
        readiness = ports.readiness()
        body = {"ready": readiness.ready, "checks": dict(readiness.checks)}
        return JSONResponse(body, 200 if readiness.ready else 503)

    @routes.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Prometheus's text format."""
        return Response(ports.metrics(), headers={"Content-Type": METRICS_TYPE})

    return routes
