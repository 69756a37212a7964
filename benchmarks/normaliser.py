"""Recall and precision of the normaliser: `python -m benchmarks.normaliser FOLDER`.

FOLDER has `manifest.jsonl`, one JSON line per captured run with its payload files and the calls
that were scripted. Values count where the manifest says that they stand in the payloads
(`present`) and not that the SDK never writes them (`unknown_to_sdk`: what stands there then is a
chance likeness).
Exit 1 if a goal is missed.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# The manifest is JSON of other people: its values are what they are.
import argparse
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.sessions import Sessions
from contracts.record import Record, Signal
from contracts.trajectory import Call

Row = Mapping[str, Any]

FIELDS = (
    "arguments",
    "call_id",
    "outcome",
    "agent",
    "model",
    "conversation",
    "parent_agent",
    "user",
)
PRESENT = {
    "arguments": "args",
    "call_id": "call_id",
    "agent": "agent",
    "model": "model",
    "conversation": "conversation_id",
    "parent_agent": "parent_agent",
    "user": "user_id",
}
EXPECTED = {**PRESENT, "outcome": "outcome"}
OUTCOMES = {"invalid_args": "invalid_arguments"}

APART_SCENARIOS = frozenset({"content_off", "truncated"})
APART_CAPTURES = frozenset({"crewai-traceloop"})
"""Shown but not held to the goals: its calls stand only inside a Python repr."""

GOALS = {
    "recall": 0.99,
    "arguments": 0.995,
    "call_id": 0.99,
    "agent": 0.99,
    "model": 0.99,
    "conversation": 0.99,
    "outcome": 0.97,
    "denied": 0.90,
}
PHANTOMS = 0.005


@dataclass
class Score:
    """Counts of one capture or of all: (right, of) per field."""

    expected: int = 0
    found: int = 0
    phantoms: int = 0
    calls: int = 0
    vacuous: int = 0
    fields: dict[str, list[int]] = field(default_factory=lambda: {one: [0, 0] for one in FIELDS})
    denied: list[int] = field(default_factory=lambda: [0, 0])
    misses: list[str] = field(default_factory=list)

    def add(self, other: "Score") -> None:
        """Add the counts of `other`."""
        self.expected += other.expected
        self.found += other.found
        self.phantoms += other.phantoms
        self.calls += other.calls
        self.vacuous += other.vacuous
        for one in FIELDS:
            for place in (0, 1):
                self.fields[one][place] += other.fields[one][place]
        for place in (0, 1):
            self.denied[place] += other.denied[place]
        self.misses += other.misses

    def ratio(self, name: str) -> float:
        """The figure called `name`, nan where nothing was to be found."""
        if name == "recall":
            right, of = self.found, self.expected
        elif name == "precision":
            right, of = self.calls - self.phantoms, self.calls
        elif name == "denied":
            right, of = self.denied
        else:
            right, of = self.fields[name]
        return right / of if of else math.nan

    def document(self) -> dict[str, float | int | None]:
        """As a JSON object; null where a figure has no denominator."""
        names = ("recall", "precision", *FIELDS, "denied")
        figures: dict[str, float | int | None] = {
            name: None if math.isnan(self.ratio(name)) else round(self.ratio(name), 5)
            for name in names
        }
        return {
            "expected": self.expected,
            "calls": self.calls,
            "phantoms": self.phantoms,
            **figures,
        }


def same(expected: object, found: object) -> bool:
    """Whether two values are the same JSON; numbers by value, long strings by their head."""
    if isinstance(expected, dict) and "$long_string" in expected:
        told = expected["$long_string"]
        return (
            isinstance(found, str)
            and len(found) == told["length"]
            and found.startswith(told.get("head", ""))
        )
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            same(value, found[key]) for key, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    return bool(expected == found)


def _name(tool: str) -> str:
    return re.sub(r"\W+", "_", re.sub(r"^mcp__.+?__", "", tool)).lower()


def score(row: Row, calls: Sequence[Call]) -> Score:
    """The score of one captured run."""
    made = Score()
    expected = [
        one for one in row["expected_tool_calls"] if "tool" in one["present"] and one["issued"]
    ]
    framework = {_name(one) for one in row["framework_tools"]}
    left = [call for call in calls if _name(call.tool) not in framework]
    made.calls = len(left)
    made.expected = len(expected)
    pairs: list[tuple[Row, Call]] = []
    for good in (_same_id, _same_all, _same_arguments, _same_tool):
        for one in list(expected):
            match = next((call for call in left if good(one, call)), None)
            if match is not None:
                pairs.append((one, match))
                expected.remove(one)
                left.remove(match)
    made.found = len(pairs)
    made.phantoms = len(left)
    for one in expected:
        made.misses.append(f"{row['id']}: missing {one['tool']} {one['outcome']}")
        if one["outcome"] == "denied":
            made.denied[1] += 1
    for call in left:
        made.misses.append(
            f"{row['id']}: phantom {call.tool} {call.outcome} {str(call.arguments)[:60]}"
        )
    for one, call in pairs:
        _compare(row, one, call, made)
    return made


def _same_id(one: Row, call: Call) -> bool:
    return bool(one["call_id"]) and one["call_id"] == call.call_id and _same_tool(one, call)


def _same_tool(one: Row, call: Call) -> bool:
    return _name(call.tool) in (
        _name(one["tool"]),
        _name(one.get("tool_as_emitted") or one["tool"]),
    )


def _same_arguments(one: Row, call: Call) -> bool:
    return _same_tool(one, call) and same(one["args"], call.arguments)


def _same_all(one: Row, call: Call) -> bool:
    return _same_arguments(one, call) and one["agent"] == call.agent


def _compare(row: Row, one: Row, call: Call, made: Score) -> None:
    found = {
        "arguments": call.arguments,
        "call_id": call.call_id,
        "agent": call.agent,
        "model": call.model,
        "conversation": call.conversation_id,
        "parent_agent": call.parent_agent,
        "user": call.user_id,
        "outcome": call.outcome,
    }
    unknown = row["unknown_to_sdk"]
    for name in FIELDS:
        wanted = one.get(EXPECTED[name])
        if name == "outcome":
            wanted = OUTCOMES.get(str(wanted), wanted)
        elif PRESENT[name] not in one["present"] or PRESENT[name] in unknown or wanted is None:
            continue
        right = same(wanted, found[name])
        if name == "arguments" and wanted == {} and call.arguments_state == "absent":
            # `{}` is text of every payload: that it is "present" says nothing where none are kept.
            made.vacuous += 1
            continue
        made.fields[name][0] += right
        made.fields[name][1] += 1
        if not right:
            made.misses.append(
                f"{row['id']}: {name} of {call.tool}: "
                f"{str(found[name])[:80]!r} for {str(wanted)[:80]!r}"
            )
    if one["outcome"] == "denied":
        made.denied[0] += call.outcome == "denied"
        made.denied[1] += 1


def records(folder: Path, row: Row) -> Iterator[Record]:
    """The payloads of one captured run, as a source would deliver them."""
    for payload in row["payloads"]:
        path = folder / payload["verbatim"]
        signal: Signal = "logs" if payload["signal"] == "logs" else "traces"
        encoding = "otlp_json" if path.suffix == ".json" else "otlp_proto"
        yield Record(path.read_bytes(), signal, encoding, "replay", 1)  # type: ignore[arg-type]


def calls_of(records_: Iterable[Record]) -> list[Call]:
    """All calls that the production path finds in the records."""
    from collector.otlp import decode

    sessions = Sessions(environment="production")
    for decoded in decode(list(records_)):
        sessions.add(decoded.spans, decoded.logs)
    joined = sessions.assemble(2**62, everything_due=True)
    return [call for trajectory in joined.due for call in trajectory.calls]


def run(folder: Path, captures: frozenset[str] = frozenset()) -> dict[str, dict[str, Score]]:
    """Scores by capture and scenario. `captures`: only these; empty for all."""
    scores: dict[str, dict[str, Score]] = {}
    with (folder / "manifest.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if captures and row["capture"] not in captures:
                continue
            by_scenario = scores.setdefault(row["capture"], {})
            made = score(row, calls_of(records(folder, row)))
            by_scenario.setdefault(row["scenario"], Score()).add(made)
    return scores


def held(scores: Mapping[str, Mapping[str, Score]]) -> Score:
    """The sum that the goals are for."""
    total = Score()
    for capture, by_scenario in scores.items():
        for scenario, made in by_scenario.items():
            if capture not in APART_CAPTURES and scenario not in APART_SCENARIOS:
                total.add(made)
    return total


def failures(total: Score) -> list[str]:
    """Goals missed, as lines."""
    lines = [
        f"{name} {total.ratio(name):.4f} < {goal}"
        for name, goal in GOALS.items()
        if not total.ratio(name) >= goal
    ]
    share = total.phantoms / total.calls if total.calls else 0.0
    if share > PHANTOMS:
        lines.append(f"phantoms {share:.4f} > {PHANTOMS}")
    return lines


COLUMNS = ("recall", "precision", *FIELDS, "denied")


def table(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """The figures per capture and in all, in per cent."""
    short = {
        "arguments": "args",
        "conversation": "conv",
        "parent_agent": "parent",
        "precision": "prec.",
    }
    lines = [f"{'capture':30}{'calls':>6}" + "".join(f"{short.get(c, c):>9}" for c in COLUMNS)]
    rows: list[tuple[str, Score]] = []
    apart: dict[str, Score] = {}
    for capture, by_scenario in sorted(scores.items()):
        made = Score()
        for scenario, one in by_scenario.items():
            if scenario in APART_SCENARIOS:
                apart.setdefault(scenario, Score()).add(one)
            else:
                made.add(one)
        rows.append((capture, made))
    rows.append(("ALL (goals are for these)", held(scores)))
    rows += sorted(apart.items())
    for name, made in rows:
        figures = "".join(
            f"{'-':>9}" if math.isnan(made.ratio(c)) else f"{100 * made.ratio(c):>9.2f}"
            for c in COLUMNS
        )
        lines.append(f"{name:30}{made.expected:>6}{figures}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table or the JSON document; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--misses", action="store_true", help="also print every miss")
    parser.add_argument("--captures", default="", help="only these, comma separated")
    chosen = parser.parse_args(arguments)
    scores = run(chosen.folder, frozenset(filter(None, chosen.captures.split(","))))
    total = held(scores)
    missed = failures(total)
    if chosen.json:
        document = {
            "captures": {
                capture: {scenario: made.document() for scenario, made in by_scenario.items()}
                for capture, by_scenario in scores.items()
            },
            "all": total.document(),
            "missed": missed,
        }
        print(json.dumps(document, indent=1))
    else:
        print(table(scores))
        print(f"no arguments recorded, none given (not scored): {total.vacuous}")
        print("goals reached" if not missed else "goals missed: " + "; ".join(missed))
    if chosen.misses:
        for by_scenario in scores.values():
            for made in by_scenario.values():
                print(*made.misses, sep="\n") if made.misses else None
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
