"""The ASGI application: every resource, the UI, and the guard before them."""

from collections.abc import Sequence
from importlib.metadata import version

from fastapi import FastAPI

from telltale.api import alerts, doctor, fleet, health, query, subjects, trajectories, verdicts
from telltale.api.errors import add_handlers
from telltale.api.guard import Guard, Limits
from telltale.api.ports import Ports
from telltale.ui import pages


def create_app(
    ports: Ports, hosts: Sequence[str] = (), token: str = "", limits: Limits | None = None
) -> FastAPI:
    """API and UI over `ports`.

    `hosts`: names besides loopback under which the daemon is addressed, `*` for any. `token`: asked
    of every request but the probes; "" asks for none, which is right only on loopback or behind a
    proxy that asks.
    """
    limits = limits or Limits()
    app = FastAPI(
        title="Telltale",
        version=version("telltale"),
        summary="Tells that a deployed AI agent has begun to act unsafely.",
        docs_url=None,  # its pages load scripts from elsewhere; the daemon runs in closed networks
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a path is right or wrong, and no answer is built from Host
    )
    add_handlers(app)
    app.include_router(query.router(ports, limits))
    for resource in (trajectories, alerts, verdicts, fleet, subjects, doctor, health):
        app.include_router(resource.router(ports))
    app.include_router(pages.router(ports))
    app.add_middleware(Guard, hosts=hosts, token=token, limits=limits)
    return app
