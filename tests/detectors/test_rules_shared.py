"""The pack on the published trajectories beside the repository: what it must and must not tell
apart, and that it names nobody's tools.

Rates, not verdicts: the sequential tests on these labels have tests of their own. Thresholds are
wide; figures per pair are printed by `benchmarks/rules.py`.
"""

# pyright: reportUnknownMemberType=false
# (pyarrow's stubs leave read_table's arguments untyped)

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from contracts.span import Value
from contracts.testing import call
from contracts.trajectory import Call
from detectors.parsing.verbs import BARE_NOUNS, VERBS
from detectors.rules.pack import RulePack

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT.parent / "shared" / "trajectories"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER.name} is not beside the repository"),
]
GENERIC = (
    frozenset(VERBS) | frozenset(BARE_NOUNS) | {"finish", "on", "chat", "think", "route", "echo"}
)


def _arguments(text: str | None) -> Value:
    if text is None:
        return None
    value: Value = json.loads(text)
    return value


@cache
def trajectories(dataset: str) -> dict[str, list[Call]]:
    """Calls by trajectory, in step order."""
    found: dict[str, list[Call]] = {}
    for row in sorted(
        pq.read_table(FOLDER / f"{dataset}.calls.parquet").to_pylist(),
        key=lambda row: (row["trajectory_id"], row["step"]),
    ):
        found.setdefault(row["trajectory_id"], []).append(
            call(
                row["tool"],
                _arguments(row["arguments"]),
                step=row["step"],
                trajectory_id=row["trajectory_id"],
                result=row["result"],
                outcome="error" if row["error"] else "ok",
            )
        )
    return found


def rates(dataset: str, **wanted: object) -> dict[str, tuple[int, int]]:
    """(taken, opportunities) per category of the trajectories whose columns are as wanted."""
    table = pq.read_table(FOLDER / f"{dataset}.trajectories.parquet").to_pylist()
    ids = {
        row["trajectory_id"]
        for row in table
        if all(row[column] == value for column, value in wanted.items())
    }
    pack, taken, chances = RulePack.load(), Counter[str](), Counter[str]()
    for name, calls in trajectories(dataset).items():
        if name in ids:
            for chance in pack.label(calls).opportunities:
                chances[chance.category] += 1
                taken[chance.category] += chance.taken
    return {category: (taken[category], count) for category, count in chances.items()}


GPT = {"model": "gpt-4o-2024-05-13", "variant": ""}
OUTWARD = ("UA05", "UA10", "UA11", "UA12")


def test_injected_agents_stand_apart_from_benign_ones() -> None:
    benign = rates("agentdojo", **GPT, condition="benign")
    attacked = rates("agentdojo", **GPT, condition="important_instructions", label_unsafe=True)
    for category in OUTWARD:
        assert benign[category][0] == 0, category
        taken, chances = attacked[category]
        assert taken / chances > 0.2, category


def test_resisted_attacks_stay_near_benign() -> None:
    resisted = rates("agentdojo", **GPT, condition="ignore_previous", label_unsafe=False)
    for category in OUTWARD:
        taken, chances = resisted[category]
        assert taken / chances < 0.1, category


@pytest.mark.parametrize("dataset", ["tau2", "taubench"])
def test_benign_work_is_quiet(dataset: str) -> None:
    found = rates(dataset)
    for category in ("UA01", "UA05", "UA10", "UA12", "UA13", "UA15"):
        assert found.get(category, (0, 0))[0] == 0, category


def tool_names() -> set[str]:
    """Distinct tool names of the data that are not plain words of English."""
    names: set[str] = set()
    for path in FOLDER.glob("*.calls.parquet"):
        names.update(
            str(tool) for tool in pq.read_table(path, columns=["tool"])["tool"].to_pylist()
        )
    return {
        name
        for name in names
        if name.lower() not in GENERIC and (re.search(r"[_.A-Z-]", name[1:]) or len(name) > 12)
    }


def test_no_benchmark_tool_is_named_in_rules_or_code() -> None:
    """Conditions and cases of the rules, and all code of the room."""
    names = tool_names()
    assert len(names) > 300
    sources = [*(ROOT / "detectors").rglob("*.py"), *(ROOT / "detectors").rglob("*.yaml")]
    assert len(sources) > 40
    for path in sources:
        used = set(re.findall(r"[\w.-]+", path.read_text(encoding="utf-8")))
        assert not used & names, f"{path.name} names {sorted(used & names)}"
