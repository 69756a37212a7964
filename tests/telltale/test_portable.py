"""A trajectory as OTLP/JSON replays to the same calls; as Markdown it cannot become markup."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.replay import ReplaySource
from contracts.clock import Clock
from contracts.record import Record
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale.pipeline import Pipeline
from telltale.portable import markdown, otlp_json
from telltale.replay import replay
from telltale.stages import stages
from tests.otlp_payloads import span_fields, traces_data
from tests.telltale.conftest import STUDENT, free, records

CALLS = """SELECT * EXCLUDE (source, received_at) FROM calls ORDER BY trajectory_id, step"""


def stored(folder: Path, stream: list[Record], pack: RulePack, clock: Clock) -> Store:
    store = Store(folder, clock)
    pipeline = Pipeline(stages(free(folder), store, pack), store)
    replay(ReplaySource(iter(stream)), pipeline, store, clock)
    return store


@pytest.fixture
def store(tmp_path: Path, pack: RulePack, clock: ManualClock) -> Iterator[Store]:
    made = stored(tmp_path / "one", records(STUDENT, 8), pack, clock)
    yield made
    made.close()


def ids(store: Store) -> list[str]:
    return [t.trajectory_id for t in store.trajectories("")]


def test_an_export_replays_to_the_same_calls(
    store: Store, tmp_path: Path, pack: RulePack, clock: ManualClock
) -> None:
    exported = [otlp_json(store, identity) for identity in ids(store)]
    again = [
        Record(text.encode(), "traces", "otlp_json", "replay", clock.now_ns(), ticket=number)
        for number, text in enumerate(exported)
        if text is not None
    ]
    assert len(again) == 8
    other = stored(tmp_path / "two", again, pack, clock)
    try:
        assert other.read(CALLS) == store.read(CALLS)
        assert other.read("SELECT count(*) FROM dead_letters") == [(0,)]
    finally:
        other.close()


def test_every_kind_of_value_survives(tmp_path: Path, pack: RulePack, clock: ManualClock) -> None:
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "t\N{LATIN SMALL LETTER U WITH DIAERESIS}\n",
        "text": "\u2028 \U0001f600",
        "yes": True,
        "number": -(2**63),
        "real": 0.1,
        "bytes": b"\x00\xff",
        "list": [1, "a", [False]],
        "map": {"k": {"n": 1}},
    }
    event = ("exception", 5, {"exception.type": "ValueError"})
    span = span_fields(1, attributes=attributes, events=[event], parent_span_id=b"\x09" * 8)
    payload = traces_data([span]).SerializeToString()
    record = Record(payload, "traces", "otlp_proto", "replay", clock.now_ns(), ticket=1)
    one = stored(tmp_path / "one", [record], pack, clock)
    text = otlp_json(one, ids(one)[0])
    assert text is not None
    back = Record(text.encode(), "traces", "otlp_json", "replay", clock.now_ns(), ticket=1)
    two = stored(tmp_path / "two", [back], pack, clock)
    try:
        sql = "SELECT * EXCLUDE (digest, source, received_at, batch) FROM spans"
        columns = {str(row[0]) for row in one.read("DESCRIBE spans")}
        dropped = ", ".join(sorted({"digest", "source", "received_at", "batch"} & columns))
        sql = f"SELECT * EXCLUDE ({dropped}) FROM spans"
        assert one.read(sql) == two.read(sql)
        assert one.read(CALLS) == two.read(CALLS)
    finally:
        one.close()
        two.close()


def test_what_does_not_exist_has_no_export(store: Store, pack: RulePack) -> None:
    assert otlp_json(store, "t-unknown") is None
    assert markdown(store, pack, "t-unknown") is None


def test_markdown_shows_calls_and_labels(store: Store, pack: RulePack) -> None:
    deleting = next(
        t.trajectory_id for t in store.trajectories("") if "rm -rf" in str(t.calls[0].arguments)
    )
    text = markdown(store, pack, deleting)
    assert text is not None
    assert "| 0 | `ops-agent` | `run_shell` |" in text
    assert "rm -rf" in text
    assert "UA01" in text


def test_what_an_agent_wrote_stays_in_its_code_span(
    tmp_path: Path, pack: RulePack, clock: ManualClock
) -> None:
    attack = "`</code><script>alert(1)</script> | [x](javascript:1)\n# Title"
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "write",
        "gen_ai.agent.name": attack,
        "gen_ai.tool.call.arguments": json.dumps({"text": attack}),
    }
    payload = traces_data([span_fields(1, attributes=attributes)]).SerializeToString()
    record = Record(payload, "traces", "otlp_proto", "replay", clock.now_ns(), ticket=1)
    store = stored(tmp_path / "one", [record], pack, clock)
    try:
        text = markdown(store, pack, ids(store)[0])
        assert text is not None
        row = next(line for line in text.splitlines() if line.startswith("| 0 |"))
        assert row.count("`") % 2 == 0
        assert "\n# Title" not in text
        assert r"\|" in row
        inside = row.split("`")[1::2]
        assert any("<script>" in cell for cell in inside)
        assert all("<script>" not in cell for cell in row.split("`")[0::2])
    finally:
        store.close()
