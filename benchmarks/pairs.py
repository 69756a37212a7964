"""Real agents' trajectories, teacher against student, through the production path.

    python benchmarks/pairs.py FOLDER [--arguments full|digest|absent] [--only D04,D05] [--json]
    python benchmarks/pairs.py FOLDER --pairs benchmarks/other_pairs.json --split held-out --quick

FOLDER is laid out as ../shared/trajectories, with a `pairs.json`. Each pair becomes OTLP payloads,
is replayed into a store of its own, the teacher is fitted and the student judged by the commands.
Prints a table and exits 1 if an expectation fails: a pair that must alarm does not, or one that
must stay silent does. Pairs marked hard are reported and never fail.

`--names hidden`: every tool under a name that says nothing. `--quick`: rules, fit and tests in this
process on the trajectories as they are, without payloads, store and commands; labels and fits that
several pairs share are made once. `--pairs`: another file of pairs; where they have a kind, a table
by kind follows.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, get_args

from benchmarks.commands import telltale
from benchmarks.trajectories import (
    ArgumentsMode,
    Folder,
    Pair,
    payloads,
    read_pairs,
    with_arguments,
    without_names,
)
from contracts.labels import Labels
from contracts.trajectory import Call, Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.rules.pack import RulePack
from detectors.sequential import Settings
from telltale.judging import judge, line

FEWEST = 4
"""Trajectories below which a baseline is refused; nothing can then be said of the student."""
TEACHER, STUDENT = "teacher", "student"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a pair. `alarms`: category, trajectory number and evidence of each alarm,
    first first. `states`: how many verdicts of each state. `clears`: categories that are clear,
    with their counts. `nearest`: the verdict with the most evidence.
    """

    id: str
    must: str
    kind: str
    what: str
    teachers: int
    students: int
    alarms: tuple[tuple[str, int, float], ...]
    states: dict[str, int]
    clears: tuple[str, ...]
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


class Selection:
    """A folder's trajectories as the tests shall see them."""

    def __init__(self, folder: Folder, mode: ArgumentsMode, named: bool) -> None:
        self._folder = folder
        self._mode: ArgumentsMode = mode
        self._named = named

    def __call__(self, where: str, side: str) -> list[Trajectory]:
        """Those that meet the condition, in the environment `side`."""
        chosen = with_arguments(self._folder.select(where, side), self._mode)
        return chosen if self._named else without_names(chosen)


def run(pair: Pair, select: Selection, data: Path) -> Outcome:
    """Replay, fit and judge one pair in the empty data folder `data`."""
    counts: dict[str, int] = {}
    for side, where in ((TEACHER, pair.teacher), (STUDENT, pair.student)):
        trajectories = select(where, side)
        counts[side] = len(trajectories)
        path = data / f"{side}.jsonl"
        path.write_bytes(b"\n".join(payloads(trajectories)))
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


class _Remembering:
    """A labeller that labels a trajectory once, whichever side of a pair it stands on."""

    def __init__(self, pack: RulePack) -> None:
        self._pack = pack
        self._known: dict[str, Labels] = {}

    def label(self, calls: Sequence[Call], request: str = "") -> Labels:
        key = calls[0].trajectory_id.partition(":")[2]
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._pack.label(calls, request)
        return known


class Quick:
    """Pairs in this process. Give those with one teacher after each other: the last fit is kept."""

    def __init__(self, select: Selection) -> None:
        self._select = select
        self._labeller = _Remembering(RulePack.load())
        self._fitted: tuple[str, int, Reference | None] = ("", 0, None)

    def run(self, pair: Pair) -> Outcome:
        """Fit and judge one pair."""
        if self._fitted[0] != pair.teacher:
            teachers = self._select(pair.teacher, TEACHER)
            fitted = self._fit(teachers) if len(teachers) >= FEWEST else None
            self._fitted = (pair.teacher, len(teachers), fitted)
        _, teachers_count, reference = self._fitted
        students = self._select(pair.student, STUDENT)
        counts = {TEACHER: teachers_count, STUDENT: len(students)}
        if reference is None or not students:
            return outcome(pair, counts, [])
        done = judge(students, [reference], self._labeller, Trajectory.subject, Settings())
        return outcome(pair, counts, [line(verdict) for verdict in done.verdicts])

    def _fit(self, teachers: Sequence[Trajectory]) -> Reference:
        with tempfile.TemporaryDirectory(prefix="telltale-pair-") as name:
            settings = FitSettings(parent=Path(name), created_ns=0, tests=Settings())
            path, _ = fit_baseline("pair", "teacher", teachers, self._labeller, "", settings)
            return Reference.load(path, active_for="*")


def by_kind(done: Sequence[Outcome]) -> list[str]:
    """Lines of a table: pairs, alarms, and when the first came, by kind and what it must be."""
    lines = [f"{'kind':10} {'must':7} pairs  alarm  clear  first alarm at (median)  its category"]
    for kind, must in sorted({(each.kind, each.must) for each in done}):
        mine = [each for each in done if (each.kind, each.must) == (kind, must)]
        alarms = [each.alarms[0] for each in mine if each.alarms]
        first = Counter(category for category, _, _ in alarms)
        at = f"{median(at for _, at, _ in alarms):.0f}" if alarms else "-"
        clear = sum(each.word == "clear" for each in mine)
        lines.append(
            f"{kind:10} {must:7} {len(mine):5} {len(alarms):6} {clear:6}  {at:>22}  "
            + " ".join(f"{category}:{count}" for category, count in sorted(first.items()))
        )
    return lines


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
        pair.kind,
        pair.what,
        counts[TEACHER],
        counts[STUDENT],
        tuple(sorted(alarms, key=lambda alarm: alarm[1])),
        dict(Counter(str(each["state"]) for each in verdicts)),
        tuple(_counts(each) for each in verdicts if each["state"] == "clear"),
        "" if near is None else f"{_counts(near)} 10^{near['evidence_log10']:.1f}",
    )


def _counts(verdict: dict[str, Any]) -> str:
    return (
        f"{verdict['category']} {verdict['taken']}/{verdict['opportunities']}"
        f" (at most {verdict['expected']:.1f})"
    )


def _by_commands(select: Selection, pair: Pair) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="telltale-pair-") as data:
        return run(pair, select, Path(data))


def row(done: Outcome, mode: ArgumentsMode) -> str:
    """A line of the table. With arguments hidden, what must alarm may go `unseen`."""
    alarms = " ".join(f"{category}@{at}" for category, at, _ in done.alarms)
    mark = "ok" if done.right else "BAD" if _wrong(done, mode) else "unseen"
    return (
        f"{mark:6} {done.id:4} {done.must:6} {done.word:12} {done.teachers:5} {done.students:5}"
        f"  {alarms or '-':36}  {done.nearest}"
    )


def _wrong(done: Outcome, mode: ArgumentsMode) -> bool:
    """With arguments hidden nothing has to be found, but nothing may alarm wrongly."""
    return not done.right and not (mode != "full" and done.must == "alarm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arguments", choices=get_args(ArgumentsMode), default="full")
    parser.add_argument("--names", choices=("plain", "hidden"), default="plain")
    parser.add_argument("--only", default="", help="comma-separated ids")
    parser.add_argument("--pairs", type=Path, help="pairs other than FOLDER/pairs.json")
    parser.add_argument("--split", default="", help="only pairs of this split")
    parser.add_argument("--quick", action="store_true", help="in this process, without a store")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    only = {part.strip() for part in options.only.split(",") if part.strip()}
    folder = Folder(options.folder)
    done: list[Outcome] = []
    if not options.json:
        print("       id   must   verdict      teach. stud.  alarms (category@trajectory)"
              "              most evidence without alarm")  # fmt: skip
    pairs = [
        pair
        for pair in read_pairs(options.pairs or options.folder)
        if (not only or pair.id in only) and options.split in ("", pair.split)
    ]
    mode: ArgumentsMode = options.arguments
    select = Selection(folder, mode, options.names == "plain")
    one: Callable[[Pair], Outcome] = partial(_by_commands, select)
    if options.quick:
        one = Quick(select).run
        pairs.sort(key=lambda pair: pair.teacher)
    for pair in pairs:
        done.append(one(pair))
        if not options.json:
            print(row(done[-1], mode), flush=True)
    wrong = [each.id for each in done if _wrong(each, mode)]
    if options.json:
        print(json.dumps([asdict(each) | {"right": each.right} for each in done], indent=1))
    else:
        if any(each.kind for each in done):
            print(*by_kind(done), sep="\n")
        for each in done:
            if each.must == "alarm" and not each.alarms and each.clears:
                print(f"{each.id} must alarm and did not; clear: {'; '.join(each.clears)}")
        print(f"{len(done) - len(wrong)} of {len(done)} as expected", *wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
