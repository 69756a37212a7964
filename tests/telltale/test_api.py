"""The API's answers, resource by resource."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from starlette.testclient import TestClient

from contracts.errors import Busy, QueryRefused, StoreUnavailable
from telltale.api.application import create_app
from telltale.api.guard import Limits
from telltale.api.models import jsonable, rfc3339
from telltale.api.testing import Fleet, sample_fleet

# pyright: reportUnknownMemberType=false
# pyarrow's stubs leave the types of columns open

GOLDEN_ROUTES = {
    "/api/v1/query",
    "/api/v1/trajectories",
    "/api/v1/trajectories/{trajectory_id}",
    "/api/v1/alerts",
    "/api/v1/alerts/{alert_id}",
    "/api/v1/verdicts",
    "/api/v1/fleet",
    "/api/v1/subjects",
    "/api/v1/doctor",
    "/healthz",
    "/readyz",
    "/metrics",
}


@pytest.fixture
def fleet() -> Fleet:
    return sample_fleet()


@pytest.fixture
def client(fleet: Fleet) -> Iterator[TestClient]:
    with TestClient(create_app(fleet), base_url="http://127.0.0.1:8686") as client:
        yield client


def ask(client: TestClient, sql: str = "select 1", **more: Any) -> httpx2.Response:
    return client.post("/api/v1/query", json={"sql": sql, **more})


def error(response: httpx2.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["error"]["code"]


def surface(document: dict[str, Any]) -> dict[str, Any]:
    """What clients build on, without what the framework's version decides."""
    return {
        "routes": {
            f"{method.upper()} {path}": {
                "parameters": [each["name"] for each in operation.get("parameters", [])],
                "answers": sorted(set(operation["responses"]) - {"422"}),
            }
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        },
        "schemas": {
            name: sorted(schema["properties"])
            for name, schema in sorted(document["components"]["schemas"].items())
            if "ValidationError" not in name
        },
    }


def odd_table() -> pa.Table:
    """One row with a value of every odd kind."""
    return pa.table(
        {
            "at": pa.array([1_767_225_600_123_456_789], pa.timestamp("ns", tz="UTC")),
            "big": pa.array([2**63 - 1], pa.int64()),
            "nan": pa.array([float("nan")]),
            "bytes": pa.array([b"\xff\x00"]),
            "list": pa.array([["a", None]]),
            "null": pa.array([None], pa.string()),
            "text": pa.array(['a,"b"\n<script>']),
        }
    )


def test_query_as_json(client: TestClient, fleet: Fleet) -> None:
    fleet.table = odd_table()
    answer = ask(client).json()
    assert [column["name"] for column in answer["columns"]] == odd_table().column_names
    assert answer["rows"] == [
        [
            "2026-01-01 00:00:00.123456789Z",
            2**63 - 1,
            None,
            "/wA=",
            ["a", None],
            None,
            'a,"b"\n<script>',
        ]
    ]
    assert answer["truncated"] is False


def test_query_in_the_other_formats(client: TestClient, fleet: Fleet) -> None:
    fleet.table = odd_table()
    csv = ask(client, format="csv")
    assert csv.headers["content-disposition"].startswith("attachment")
    assert '"[""a"", null]"' in csv.text
    arrow = ask(client, format="arrow").content
    assert pa.ipc.open_stream(arrow).read_all().schema == odd_table().schema
    parquet = pa_parquet.read_table(io.BytesIO(ask(client, format="parquet").content))
    assert parquet.column("big").to_pylist() == [2**63 - 1]


def test_query_says_when_rows_are_missing(fleet: Fleet) -> None:
    fleet.table = pa.table({"n": list(range(10))})
    client = TestClient(create_app(fleet, limits=Limits(rows=7)), base_url="http://localhost")
    answer = ask(client, max_rows=1_000)
    assert len(answer.json()["rows"]) == 7
    assert answer.json()["truncated"] is True
    assert answer.headers["telltale-truncated"] == "true"
    assert ask(client, max_rows=3, format="csv").text.split() == ['"n"', "0", "1", "2"]


def test_query_errors(client: TestClient, fleet: Fleet) -> None:
    assert error(ask(client, "drop table x")) == (400, "query_refused")
    assert error(ask(client, sql="")) == (400, "bad_request")
    assert error(ask(client, format="xml")) == (400, "bad_request")
    assert error(ask(client, extra=1)) == (400, "bad_request")
    assert error(client.post("/api/v1/query", content=b"{")) == (400, "bad_request")
    assert error(client.get("/api/v1/query")) == (405, "method_not_allowed")
    fleet.refuse = QueryRefused("ran longer than 10 s")
    assert "ran longer" in ask(client).json()["error"]["message"]
    fleet.refuse = Busy("full", 2.4)
    busy = ask(client)
    assert error(busy) == (503, "unavailable")
    assert busy.headers["retry-after"] == "3"
    fleet.refuse = StoreUnavailable("reopening")
    assert error(ask(client)) == (503, "unavailable")


def test_an_unexpected_error_tells_nothing(
    client: TestClient, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.refuse = RuntimeError("secret content at /srv/telltale/store.duckdb")
    with caplog.at_level(logging.DEBUG):
        response = ask(client)
    assert response.status_code == 500
    assert response.json() == {"error": {"code": "internal", "message": "internal error"}}
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text
    assert "/srv" not in caplog.text


def test_only_so_many_queries_at_once(fleet: Fleet) -> None:
    running, go_on = threading.Barrier(3), threading.Event()
    plain = Fleet.query

    class Slow(Fleet):
        def query(self, sql: str, max_rows: int) -> Any:
            running.wait(60)
            go_on.wait(60)
            return plain(self, sql, max_rows)

    with TestClient(
        create_app(Slow(), limits=Limits(queries=2)), base_url="http://localhost"
    ) as client:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(ask(client).status_code))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        running.wait(60)
        assert error(ask(client)) == (503, "unavailable")
        go_on.set()
        for thread in threads:
            thread.join(60)
        assert statuses == [200, 200]


def test_trajectories(client: TestClient, fleet: Fleet) -> None:
    rows = client.get("/api/v1/trajectories").json()
    assert [row["trajectory_id"] for row in rows] == ["t57", "t55", "t52"]
    assert rows[0]["started_at"] == "2026-01-01T09:30:00.000000000Z"
    assert rows[0]["categories"] == ["UA01", "UA05"]
    assert (rows[0]["calls"], rows[0]["errors"], rows[0]["denied"]) == (5, 1, 1)


def test_trajectory_filters_reach_the_store(client: TestClient, fleet: Fleet) -> None:
    asked = {
        "agent": "billing agent/ä",
        "category": "UA01",
        "since": "2026-01-01T00:00:00Z",
        "limit": "2",
        "offset": "1",
    }
    assert len(client.get("/api/v1/trajectories", params=asked).json()) == 2
    seen = fleet.asked[-1]
    assert (seen.agent, seen.category, seen.limit, seen.offset) == ("billing agent/ä", "UA01", 2, 1)
    assert seen.since_ns == datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e9
    assert seen.until_ns is None
    for bad in ({"limit": "0"}, {"limit": "9999"}, {"since": "yesterday"}, {"offset": "-1"}):
        assert error(client.get("/api/v1/trajectories", params=bad)) == (400, "bad_request")


def test_trajectory(client: TestClient) -> None:
    answer = client.get("/api/v1/trajectories/t57").json()
    calls = answer["trajectory"]["calls"]
    assert [item["step"] for item in calls] == [0, 1, 2, 3, 4]
    assert calls[2]["arguments"] == {"command": "rm -rf /srv/invoices/2019"}
    assert [action["category"] for action in answer["actions"]] == ["UA01", "UA05"]
    assert len(answer["opportunities"]) == 3
    assert error(client.get("/api/v1/trajectories/nothing")) == (404, "not_found")


def test_alerts_and_explanations(client: TestClient) -> None:
    alerts = client.get("/api/v1/alerts").json()
    assert [alert["kind"] for alert in alerts] == ["drift", "ceiling"]
    assert alerts[0]["subject"]["model"] == "student-8b"
    answer = client.get(f"/api/v1/alerts/{alerts[0]['alert_id']}").json()
    assert answer["verdict"]["taken"] == 61
    assert answer["verdict"]["calibrated_at"] == 52
    assert answer["verdict"]["first_taken"] == 15
    assert answer["verdict"]["drift_at"] == 44
    assert answer["calibrated_threshold_log10"] == 3.4
    assert answer["reference"]["name"] == "teacher-v3"
    assert "path" not in answer["reference"]
    assert len(answer["curve"]) == 60
    assert answer["contributions"][0]["variant"] == "recursive_delete"
    assert answer["changes"][1]["at"] is None
    ceiling = client.get("/api/v1/alerts/ceiling01").json()
    assert ceiling["verdict"] is None
    assert ceiling["curve"] == []
    assert error(client.get("/api/v1/alerts/nothing")) == (404, "not_found")
    assert len(client.get("/api/v1/alerts?limit=1&offset=1").json()) == 1


def test_verdicts_subjects_and_doctor(client: TestClient, fleet: Fleet) -> None:
    verdicts = client.get("/api/v1/verdicts").json()
    assert len(verdicts) == len(fleet.now)
    assert {"subject", "category", "reference", "kind", "state", "needed"} <= verdicts[0].keys()
    subjects = client.get("/api/v1/subjects").json()
    assert [subject["arguments_coverage"] for subject in subjects] == [0.98, 0.06, None]
    assert client.get("/api/v1/doctor").json()["ok"] is True


def test_the_fleet_names_what_stands_out(client: TestClient, fleet: Fleet) -> None:
    found = client.get("/api/v1/fleet").json()
    assert found["tested"] == sum(verdict.opportunities > 0 for verdict in fleet.now)
    (only,) = found["stands_out"]
    assert (only["category"], only["reference"], only["e_value_log10"]) == (
        "UA01", "teacher-v3", 6.42,
    )  # fmt: skip
    assert only["attribution"] == "emergent"
    assert client.get("/api/v1/fleet?alpha=1e-7").json()["stands_out"] == []
    assert client.get("/api/v1/fleet?alpha=1").status_code == 400


def test_health(client: TestClient, fleet: Fleet) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    fleet.checks["kafka"] = "no broker answers"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "checks": {"store": "", "kafka": "no broker answers"},
    }
    metrics = client.get("/metrics")
    assert metrics.content == fleet.exposition
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_openapi_document_names_every_route(
    client: TestClient, golden: Callable[[str, str], None]
) -> None:
    document = client.get("/openapi.json").json()
    golden("api.json", json.dumps(surface(document), indent=1) + "\n")
    assert set(document["paths"]) == GOLDEN_ROUTES
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
    assert client.get("/docs").status_code == 404  # it would load scripts from elsewhere


def test_times_and_values_in_json() -> None:
    assert rfc3339(0) is None
    assert rfc3339(None) is None
    assert rfc3339(2**63 - 1) == "2262-04-11T23:47:16.854775807Z"
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    odd = {"a": float("inf"), "b": b"x", "c": "\ud800", 1: deep, "d": object}
    json.dumps(jsonable(odd), allow_nan=False).encode()
