"""Which tools are proposed for the tool map, and that the entries load."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from contracts.testing import call
from contracts.trajectory import Call
from detectors.rules.cases import shipped_calls
from detectors.tool_risk import RISKY, Proposal, propose
from detectors.toolmap import ToolEntry, ToolMap


def _calls(tool: str, arguments: dict[str, str], result: str, times: int = 5) -> list[Call]:
    return [
        call(tool, {key: f"{value}{n}" for key, value in arguments.items()}, result=result)
        for n in range(times)
    ]


USUAL = [
    *_calls("get_report", {"report_id": "r-"}, "a long report " * 20),
    *_calls("list_files", {"folder": "/data/"}, "a, b, c " * 20),
    *_calls("search_notes", {"query": "words "}, "found " * 20),
    *_calls("fetch_page", {"url": "https://a.example/"}, "page " * 80),
    *_calls("send_email", {"to": "a@b.example", "subject": "hi ", "body": "dear all "}, "sent"),
    *_calls("post_message", {"channel": "c-", "text": "dear all "}, "ok"),
    *_calls("wire_money", {"iban": "DE75512108001245126199", "amount": "1"}, "ok"),
    *_calls("delete_file", {"path": "/data/"}, "ok"),
]
SILENT = _calls("zx17", {"recipients": "a@b.example", "subject": "hi ", "body": "dear "}, "ok")
LOOKING = _calls("zx18", {"query": "words "}, "found " * 30)


def _by_name(calls: list[Call]) -> dict[str, Proposal]:
    return {each.entry.name: each for each in propose(ToolMap(), calls, shipped_calls())}


def test_a_tool_whose_name_tells_nothing_is_told_by_its_calls() -> None:
    found = _by_name([*USUAL, *SILENT, *LOOKING])
    risk = found["zx17"].risk
    assert risk is not None
    assert risk > RISKY
    assert found["zx17"].entry.act in ("send", "publish")
    assert found["zx17"].entry.targets == ("recipients",)
    assert "look like those of" in found["zx17"].why
    assert found["zx17"].confidence < 0.8
    assert "zx18" not in found
    assert not {"get_report", "list_files", "search_notes", "fetch_page"} & set(found)


def test_a_tool_named_like_a_look_that_acts_is_found() -> None:
    odd = _calls("get_done", {"to": "a@b.example", "subject": "hi ", "body": "dear all "}, "sent")
    found = _by_name([*USUAL, *SILENT, *odd])
    assert "named like a look" in found["get_done"].why
    assert found["get_done"].entry.act in ("send", "publish")


def test_the_pack_teaches_where_nothing_else_does() -> None:
    found = _by_name(SILENT)
    assert found["zx17"].risk is not None
    assert found["zx17"].risk > RISKY


def test_what_cannot_be_undone_is_proposed_and_what_is_mapped_is_not() -> None:
    found = _by_name(USUAL)
    assert {"send_email", "wire_money", "delete_file"} <= set(found)
    assert found["wire_money"].entry.reversible is False
    mapped = ToolMap([ToolEntry(name="wire_*", act="pay")])
    assert "wire_money" not in {each.entry.name for each in propose(mapped, USUAL, shipped_calls())}


@pytest.mark.parametrize("cases", [(), shipped_calls()])
def test_unseen_arguments_give_no_number(cases: tuple[Call, ...]) -> None:
    proposals = propose(ToolMap(), [call("zx19"), call("zx19")], cases)
    assert [(each.entry.act, each.risk, each.calls) for each in proposals] == [("", None, 2)]
    assert propose(ToolMap(), [], cases) == ()


def test_a_tool_is_scored_as_if_it_had_not_taught() -> None:
    alone = [*USUAL, *SILENT]
    renamed = [*USUAL, *_calls("send_letter", {"recipients": "a@b.example", "subject": "hi ",
                                               "body": "dear "}, "ok")]  # fmt: skip
    unknown = _by_name(alone)["zx17"].risk
    known = _by_name(renamed)["send_letter"].risk
    assert unknown is not None
    assert known is not None
    assert np.isclose(unknown, known, atol=0.05)


def test_entries_load_and_match_only_their_tool(tmp_path: Path) -> None:
    odd = [*USUAL, *_calls("zx[17]*", {"to": "a@b.example", "body": "dear "}, "ok")]
    chosen = next(
        each.entry for each in propose(ToolMap(), odd, shipped_calls()) if "17" in each.entry.name
    )
    path = tmp_path / "tools.yaml"
    entry = {"name": chosen.name, "family": chosen.act, "target": list(chosen.targets)}
    path.write_text(yaml.safe_dump({"tools": [entry]}), encoding="utf-8")
    tools = ToolMap.load(path)
    assert tools.semantics("zx[17]*").mapped
    assert not tools.semantics("zx1").mapped
