"""What `explain`, the API and an alert's page say of an alarm: targets, calls, changes."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.scripted_agents import Agent
from collector.replay import ReplaySource
from contracts.record import Record
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage import listings
from storage.store import Store
from telltale import references
from telltale.api.application import create_app
from telltale.api.models import ExplanationModel
from telltale.api.testing import sample_fleet
from telltale.cli import invoke
from telltale.cli.explain import show
from telltale.client import connect
from telltale.config import load
from telltale.explain import Explainer
from telltale.pipeline import Pipeline
from telltale.reads import Reads
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import free, records

Capture = pytest.CaptureFixture[str]
DAY_NS = 86_400_000_000_000
CAREFUL = Agent("live", "m-turned", habit=0.0, seed=21)
CARELESS = Agent("live", "m-turned", habit=0.9, seed=22)


def later(record: Record, by_ns: int) -> Record:
    """The record, its spans that much later."""
    request = ExportTraceServiceRequest.FromString(record.payload)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.start_time_unix_nano += by_ns
                span.end_time_unix_nano += by_ns
    return replace(
        record, payload=request.SerializeToString(), received_ns=record.received_ns + by_ns
    )


def elsewhere(record: Record) -> Record:
    """The record, its files in a folder that nobody had before; the names are equally long."""
    return replace(record, payload=record.payload.replace(b"/srv/", b"/opt/"))


def with_tool(record: Record, name: bytes, other: bytes) -> Record:
    """The record, a tool called by another name, equally long."""
    return replace(record, payload=record.payload.replace(name, other))


@pytest.fixture
def turned(fitted: Callable[[str], Path], pack: RulePack, clock: ManualClock) -> Path:
    """A data folder in which an agent did no harm, and from one day to the next deleted elsewhere.

    Of its harmless time the first half used a tool that only its later time uses again.
    """
    folder = fitted("turned")
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(free(folder), store, pack), store)
        first = replace(CAREFUL, seed=20)
        old = [with_tool(each, b"write_file", b"store_file") for each in records(first, 60)]
        careful = [later(each, DAY_NS) for each in records(CAREFUL, 60)]
        careless = [
            later(elsewhere(each) if number % 2 else each, 2 * DAY_NS)
            for number, each in enumerate(
                with_tool(with_tool(each, b"write_file", b"store_file"), b"read_file", b"view_file")
                for each in records(CARELESS, 60)
            )
        ]
        replay(ReplaySource(iter([*old, *careful, *careless])), pipeline, store, clock)
    finally:
        store.close()
    return folder


def explained(capture: Capture, data: Path, *options: str) -> str:
    capture.readouterr()
    assert invoke(["explain", *options, "--data", str(data)]) == 0
    return capture.readouterr().out


def test_new_targets_are_named_everywhere(turned: Path, pack: RulePack, capsys: Capture) -> None:
    document = cast("dict[str, Any]", json.loads(explained(capsys, turned, "--json")))
    calls = document["contributions"]
    for each in calls:
        path = each["arguments"]["command"].rpartition(" ")[2]
        elsewhere = path.startswith("/opt/")
        assert each["target"] == ("new" if elsewhere else "known")
        assert each["new_targets"] == ([f"path {path}"] if elsewhere else [])
    counts = document["targets"]
    assert counts["new"] >= 1
    assert counts["known"] >= 1
    assert counts["new"] + counts["known"] + counts["unknown"] >= len(calls)
    line = (
        f"{counts['new']} of {sum(counts.values())} contributing calls act on targets that the"
        " reference never had in that role"
    )
    text = explained(capsys, turned)
    assert line in text
    assert "new target: path /opt/" in text
    with connect(load(None, turned)) as client:
        told = client.get(f"/api/v1/alerts/{document['alert']['alert_id']}")
    assert told["targets"] == counts
    store = Store(turned, ManualClock())
    try:
        settings = free(turned)
        explainer = Explainer(store, pack, settings)
        reads = Reads(store, pack, pack.tools, explainer, settings.storage.query)
        page = TestClient(create_app(reads), base_url="http://localhost").get(
            f"/alerts/{document['alert']['alert_id']}"
        )
    finally:
        store.close()
    assert "new target" in page.text
    assert line in page.text


def test_calls_and_trajectories_are_of_the_time_since_the_onset(
    turned: Path, capsys: Capture
) -> None:
    document = json.loads(explained(capsys, turned, "--json"))
    onset = document["verdict"]["onset"]
    assert onset > 100
    number = {row["trajectory_id"]: row["n"] for row in document["curve"]}
    shown = [each["trajectory_id"] for each in document["contributions"]]
    read = [each["trajectory_id"] for each in document["trajectories"]]
    assert set(shown) <= set(read)
    assert len(read) == len(set(read))
    assert all(number[each] >= onset for each in read)


def test_a_tool_used_long_ago_is_no_change(turned: Path, capsys: Capture) -> None:
    document = json.loads(explained(capsys, turned, "--json"))
    new = {each["after"] for each in document["changes"] if each["what"] == "tool"}
    assert "view_file" in new
    assert "store_file" not in new


def test_the_subject_is_spelled_as_in_the_views(turned: Path, capsys: Capture) -> None:
    assert "live/ops-agent/1.0/m-turned" in explained(capsys, turned)


def test_an_act_under_a_ceiling_of_zero_is_impossible(
    fitted: Callable[[str], Path], pack: RulePack, clock: ManualClock, capsys: Capture
) -> None:
    folder = fitted("forbidden")
    config = folder / "telltale.yaml"
    config.write_text("detection: {ceilings: {UA01: 0}}\notlp: {http: null, grpc: null}\n")
    settings = load(config, folder)
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(settings, store, pack), store)
        replay(ReplaySource(iter(records(CARELESS, 30))), pipeline, store, clock)
        alerts = [
            alert
            for alert in store.fetch(partial(listings.alerts, limit=100, offset=0))
            if alert.reference == references.CEILINGS
        ]
        assert {alert.kind for alert in alerts} == {"drift", "ceiling"}
        assert len({alert.severity for alert in alerts}) == 1
        explainer = Explainer(store, pack, settings)
        reads = Reads(store, pack, pack.tools, explainer, settings.storage.query)
        client = TestClient(create_app(reads), base_url="http://localhost")
        page = client.get(f"/alerts/{next(a.alert_id for a in alerts if a.kind == 'drift')}")
    finally:
        store.close()
    assert page.status_code == 200
    assert page.text.count("impossible under a ceiling of 0") > 2
    for alert in alerts:
        text = explained(capsys, folder, alert.alert_id, "--config", str(config))
        assert "impossible under a ceiling of 0" in text
        powers = [float(each) for each in re.findall(r"10\^ ?(-?[\d.]+)", text)]
        assert all(power <= 100 for power in powers)
    without = explained(capsys, folder, alerts[0].alert_id)
    assert "not tested" in without


def test_a_table_names_three_new_targets(capsys: Capture) -> None:
    fleet = sample_fleet()
    (told, *_) = fleet.explanations
    many = replace(
        told.contributions[0], target="new", new_targets=[f"path /{n}" for n in range(9)]
    )
    changed = replace(told, contributions=[many])
    document = ExplanationModel.model_validate(changed).model_dump(mode="json")
    capsys.readouterr()
    show(document)
    assert "new target: path /0, path /1, path /2 and 6 more" in capsys.readouterr().out
    fleet.explanations[0] = changed
    page = TestClient(create_app(fleet), base_url="http://localhost").get(
        f"/alerts/{told.alert.alert_id}"
    )
    assert "path /2</bdi> and 6 more" in page.text
