"""Real agents' trajectories, teacher against student, through the production path.

    python benchmarks/pairs.py FOLDER [--arguments full|digest|absent] [--only D04,D05] [--json]

FOLDER is laid out as ../shared/trajectories, with a `pairs.json`. Each pair becomes OTLP payloads,
is replayed into a store of its own, the teacher is fitted and the student judged by the commands.
Prints a table and exits 1 if an expectation fails: a pair that must alarm does not, or one that
must stay silent does. Pairs marked hard are reported and never fail.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from benchmarks.commands import telltale
from benchmarks.trajectories import (
    ArgumentsMode,
    Folder,
    Pair,
    payloads,
    read_pairs,
    with_arguments,
)

FEWEST = 4
"""Trajectories below which a baseline is refused; nothing can then be said of the student."""
TEACHER, STUDENT = "teacher", "student"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a pair. `alarms`: category, trajectory number and evidence of each alarm,
    first first. `states`: how many verdicts of each state. `nearest`: the verdict with the most
    evidence.
    """

    id: str
    must: str
    what: str
    teachers: int
    students: int
    alarms: tuple[tuple[str, int, float], ...]
    states: dict[str, int]
    nearest: str

    @property
    def word(self) -> str:
        if self.alarms:
            return "ALARM"
        best = [state for state in ("clear", "insufficient", "blind") if self.states.get(state)]
        return best[0] if best else "nothing"

    @property
    def right(self) -> bool:
        if self.must == "report":
            return True
        return bool(self.alarms) == (self.must == "alarm")


def run(pair: Pair, folder: Folder, mode: ArgumentsMode, data: Path) -> Outcome:
    """Replay, fit and judge one pair in the empty data folder `data`."""
    counts: dict[str, int] = {}
    for side, where in ((TEACHER, pair.teacher), (STUDENT, pair.student)):
        trajectories = folder.select(where, side)
        counts[side] = len(trajectories)
        path = data / f"{side}.jsonl"
        changed = with_arguments(trajectories, mode)
        path.write_bytes(b"\n".join(payloads(changed)))
        if trajectories:
            telltale("replay", str(path), data=data)
    if counts[TEACHER] < FEWEST or not counts[STUDENT]:
        return outcome(pair, counts, [])
    telltale(
        "baseline", "fit", "--name", pair.id, "--kind", "teacher",
        "--where", f"environment = '{TEACHER}'", data=data,
    )  # fmt: skip
    text = telltale(
        "judge", "--where", f"environment = '{STUDENT}'", "--reference", pair.id, "--json",
        data=data, expect=(0, 1, 2),
    )  # fmt: skip
    lines = [json.loads(line) for line in text.splitlines()]
    return outcome(pair, counts, [line for line in lines if "state" in line])


def outcome(pair: Pair, counts: dict[str, int], verdicts: Sequence[dict[str, Any]]) -> Outcome:
    """The verdict lines of a pair as one row."""
    alarms = sorted(
        (str(each["category"]), int(each["alarm_at"]), float(each["evidence_log10"]))
        for each in verdicts
        if each["state"] == "alarm"
    )
    quiet = [each for each in verdicts if each["state"] != "alarm" and each["opportunities"]]
    near = max(quiet, key=lambda each: float(each["evidence_log10"]), default=None)
    return Outcome(
        pair.id,
        pair.must,
        pair.what,
        counts[TEACHER],
        counts[STUDENT],
        tuple(sorted(alarms, key=lambda alarm: alarm[1])),
        dict(Counter(str(each["state"]) for each in verdicts)),
        ""
        if near is None
        else f"{near['category']} {near['taken']}/{near['opportunities']}"
        f" (at most {near['expected']:.1f}) 10^{near['evidence_log10']:.1f}",
    )


def row(done: Outcome) -> str:
    """A line of the table."""
    alarms = " ".join(f"{category}@{at}" for category, at, _ in done.alarms)
    mark = "ok " if done.right else "BAD"
    return (
        f"{mark} {done.id:4} {done.must:6} {done.word:12} {done.teachers:5} {done.students:5}"
        f"  {alarms or '-':36}  {done.nearest}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arguments", choices=get_args(ArgumentsMode), default="full")
    parser.add_argument("--only", default="", help="comma-separated ids")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    only = {part.strip() for part in options.only.split(",") if part.strip()}
    folder = Folder(options.folder)
    done: list[Outcome] = []
    if not options.json:
        print("    id   must   verdict      teach. stud.  alarms (category@trajectory)"
              "              most evidence without alarm")  # fmt: skip
    for pair in read_pairs(options.folder):
        if only and pair.id not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="telltale-pair-") as data:
            done.append(run(pair, folder, options.arguments, Path(data)))
        if not options.json:
            print(row(done[-1]), flush=True)
    # with arguments hidden nothing has to be found, but nothing may alarm wrongly
    wrong = [
        each.id
        for each in done
        if not (each.right or (options.arguments != "full" and each.must == "alarm"))
    ]
    if options.json:
        print(json.dumps([asdict(each) | {"right": each.right} for each in done], indent=1))
    else:
        print(f"{len(done) - len(wrong)} of {len(done)} as expected", *wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
