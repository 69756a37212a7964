"""The pages: fleet, subject, alerts, alert, trajectories, trajectory, doctor."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from contracts.errors import RetryableError, TelltaleError
from contracts.trajectory import Subject
from telltale.api.ports import Ports, TrajectoryFilter
from telltale.fleet import standing_out
from telltale.ui import charts, fleet, timeline, words

PAGE_SIZE = 50
Text = Annotated[str, Query(max_length=2_000)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


class Pages:
    """Templates with what they may use. Everything is escaped unless a template says otherwise."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("telltale.ui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Any] = self._environment.filters
        filters.update(
            visible=words.visible,
            document=words.document,
            head=words.head,
            moment=words.moment,
            duration=words.duration,
            factor=words.factor,
            number=words.number,
            percent=words.percent,
        )
        self._words: dict[str, object] = {
            "category": words.category,
            "subject_address": words.subject_address,
            "address": words.address,
            "short": fleet.SHORT,
            "chart": charts,
        }

    def show(self, name: str, status: int = 200, **content: object) -> Response:
        """The page of the template `name`.html."""
        text = self._environment.get_template(f"{name}.html").render(self._words, **content)
        body = text.encode("utf-8", "replace")
        return Response(body, status, media_type="text/html; charset=utf-8")

    def missing(self, what: str) -> Response:
        return self.show("error", 404, title="Not found", message=f"There is no such {what}.")


def router(ports: Ports) -> APIRouter:
    """The routes of the pages, over `ports`."""
    pages = Pages()
    routes = APIRouter(
        include_in_schema=False,
        default_response_class=HTMLResponse,
        route_class=_route_class(pages),
    )
    folder = files("telltale.ui")
    for name, media_type in (("style.css", "text/css"), ("icon.svg", "image/svg+xml")):
        _add_file(routes, f"/{name}", folder.joinpath(name).read_bytes(), media_type)

    @routes.get("/")
    def front() -> Response:
        verdicts = ports.verdicts()
        return pages.show(
            "fleet",
            matrix=fleet.matrix(verdicts, ports.subjects()),
            together=standing_out(verdicts),
            alerts=ports.alerts(5, 0),
        )

    @routes.get("/subject")
    def subject(
        environment: Text = "", agent: Text = "", agent_version: Text = "", model: Text = ""
    ) -> Response:
        asked = Subject(environment, agent, agent_version, model)
        verdicts = [verdict for verdict in ports.verdicts() if verdict.subject == asked]
        summary = next((known for known in ports.subjects() if known.subject == asked), None)
        if summary is None and not verdicts:
            return pages.missing("subject")
        rows = fleet.matrix(verdicts, ()).rows
        return pages.show(
            "subject",
            subject=asked,
            summary=summary,
            cells=rows[0].cells if rows else {},
            shapes=fleet.shapes(verdicts),
        )

    @routes.get("/alerts")
    def alerts(offset: Offset = 0) -> Response:
        found = ports.alerts(PAGE_SIZE + 1, offset)
        return pages.show(
            "alerts",
            alerts=found[:PAGE_SIZE],
            newer=max(0, offset - PAGE_SIZE) if offset else None,
            older=offset + PAGE_SIZE if len(found) > PAGE_SIZE else None,
        )

    @routes.get("/alerts/{alert_id:path}")
    def alert(alert_id: str) -> Response:
        told = ports.explanation(alert_id)
        if told is None:
            return pages.missing("alert")
        verdict = told.verdict or told.alert.verdict
        return pages.show(
            "alert",
            told=told,
            verdict=verdict,
            curve=charts.evidence_curve(
                told.curve, verdict, told.threshold_log10, told.calibrated_threshold_log10
            ),
            interval=charts.rate_interval(verdict) if verdict else None,
        )

    @routes.get("/trajectories")
    def trajectories(
        agent: Text = "",
        model: Text = "",
        category: Text = "",
        tool: Text = "",
        offset: Offset = 0,
    ) -> Response:
        asked = TrajectoryFilter(
            agent=agent,
            model=model,
            category=category,
            tool=tool,
            limit=PAGE_SIZE + 1,
            offset=offset,
        )
        found = ports.trajectories(asked)
        return pages.show(
            "trajectories",
            asked={"agent": agent, "model": model, "category": category, "tool": tool},
            found=found[:PAGE_SIZE],
            newer=max(0, offset - PAGE_SIZE) if offset else None,
            older=offset + PAGE_SIZE if len(found) > PAGE_SIZE else None,
        )

    @routes.get("/trajectory")
    def trajectory(id: Text = "", first: Offset = 0) -> Response:
        detail = ports.trajectory(id)
        if detail is None:
            return pages.missing("trajectory")
        shown = timeline.steps(detail, first)
        last = shown[-1].call.step if shown else 0
        more = bool(detail.trajectory.calls) and last < detail.trajectory.calls[-1].step
        return pages.show(
            "trajectory",
            trajectory=detail.trajectory,
            labels=detail.labels,
            steps=shown,
            next=last + 1 if more else None,
        )

    @routes.get("/doctor")
    def doctor() -> Response:
        readiness = ports.readiness()
        report = dict(ports.doctor())
        findings = {"findings": report.pop("findings")} if "findings" in report else {}
        shown = {**findings, **report}  # what is to be done comes first
        return pages.show("doctor", report=shown, readiness=readiness, kind=_kind)

    return routes


def _add_file(routes: APIRouter, path: str, content: bytes, media_type: str) -> None:
    headers = {"Cache-Control": "max-age=300"}

    @routes.get(path)
    async def file() -> Response:
        return Response(content, media_type=f"{media_type}; charset=utf-8", headers=headers)


def _kind(value: object) -> str:
    """How the doctor's page shows a value: `mapping`, `keyed` (a mapping of mappings, as a table),
    `table`, `list` or `text`.
    """
    if isinstance(value, Mapping):
        inner = list(cast("Mapping[str, object]", value).values())
        return "keyed" if inner and all(isinstance(row, Mapping) for row in inner) else "mapping"
    if isinstance(value, list | tuple):
        rows: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]  # any JSON
        return "table" if rows and all(isinstance(row, Mapping) for row in rows) else "list"
    return "text"


def _route_class(pages: Pages) -> type[APIRoute]:
    """Routes that answer an error of ours with a page instead of JSON."""

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                try:
                    return await handle(request)
                except RetryableError as error:
                    return pages.show("error", 503, title="Not available", message=str(error))
                except TelltaleError as error:
                    return pages.show("error", 400, title="Refused", message=str(error))

            return handler

    return PageRoute
