"""What was not seen: the view of opportunities, `doctor` and `judge` say the same of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson
import pytest

from benchmarks.trajectories import payloads
from contracts.testing import call
from contracts.trajectory import Trajectory
from telltale.cli import invoke

STORED = (
    "SELECT t.environment, o.category, o.visible, count(*) AS n"
    " FROM opportunities o JOIN trajectories t USING (trajectory_id) GROUP BY ALL ORDER BY ALL"
)


def _trajectories(side: str, count: int, *, arguments: bool) -> Iterator[Trajectory]:
    random = Random(side)
    for number in range(count):
        name, trace = f"{side}-{number}", f"{len(side):016x}{number + 1:016x}"
        at = 1_790_000_000_000_000_000 + number * 10**11
        tool = random.choice(("wipe_volume", "archive_volume"))
        step = call(
            tool, {"id": "v-1"} if arguments else None, trajectory_id=name, result="done",
            environment=side, agent="helper", model="m", conversation_id=name, trace_id=trace,
            span_id=f"{len(side):08x}{number:08x}", started_ns=at,
        )  # fmt: skip
        yield Trajectory(
            name, "conversation", side, "desk", "helper", "1", "m", name, "", at, at + 1, at,
            "complete", "", (trace,), 0, (step,),
        )  # fmt: skip


def _asked(payload: bytes, request: str) -> bytes:
    """The payload with what the user asked for on the agents' spans."""
    document = json.loads(payload)
    text = json.dumps([{"role": "user", "parts": [{"type": "text", "content": request}]}])
    for resource in document["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            if span["name"].startswith("invoke_agent"):
                said = {"key": "gen_ai.input.messages", "value": {"stringValue": text}}
                span["attributes"].append(said)
    return orjson.dumps(document)


def _replay(path: Path, lines: list[bytes], data: tuple[str, str]) -> None:
    path.write_bytes(b"\n".join(lines))
    assert invoke(["replay", str(path), *data]) == 0


def test_deletions_without_arguments_are_unseen_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(tmp_path / "data"))
    for side, arguments in (("teacher", True), ("silent", False)):
        made = list(_trajectories(side, 40, arguments=arguments))
        _replay(tmp_path / f"{side}.jsonl", list(payloads(made)), data)
    capsys.readouterr()
    assert invoke(["query", STORED, "--format", "json", *data]) == 0
    stored = {
        (row["environment"], row["visible"]): row["n"]
        for row in json.loads(capsys.readouterr().out)
        if row["category"] == "UA01"
    }
    assert stored == {("teacher", True): 40, ("silent", False): 40}
    invoke(["doctor", "--json", *data])
    report = json.loads(capsys.readouterr().out)
    blind = {each["subject"]: each["blind"].get("UA01") for each in report["subjects"]}
    seen = {name.split("/")[0]: share for name, share in blind.items()}
    assert seen == {"teacher": None, "silent": {"opportunities": 40, "invisible": 1.0}}
    where = ("--name", "t", "--kind", "teacher", "--where", "environment = 'teacher'")
    assert invoke(["baseline", "fit", *where, *data]) == 0
    capsys.readouterr()
    who = ("--where", "environment = 'silent'", "--reference", "t", "--json")
    assert invoke(["judge", *who, *data]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (verdict,) = [each for each in lines if each.get("category") == "UA01" and "state" in each]
    assert (verdict["state"], verdict["opportunities"]) == ("blind", 0)
    assert "not seen at 40 of 40" in verdict["reason"]


def test_doctor_says_how_often_the_request_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(tmp_path / "data"))
    made = list(_trajectories("told", 25, arguments=True))
    _replay(
        tmp_path / "told.jsonl",
        [_asked(each, "wipe volume v-1") for each in payloads(made)],
        data,
    )
    made = list(_trajectories("unheard", 25, arguments=True))
    _replay(tmp_path / "unheard.jsonl", list(payloads(made)), data)
    capsys.readouterr()
    assert invoke(["doctor", "--json", *data]) == 1
    report = json.loads(capsys.readouterr().out)
    shares = {each["subject"].split("/")[0]: each["requests"] for each in report["subjects"]}
    assert shares == {"told": 1.0, "unheard": 0.0}
    asked = [each for each in report["findings"] if "asked for" in each["what"]]
    assert [each["subject"].split("/")[0] for each in asked] == ["unheard"]
