"""What labelling costs and what it finds: microseconds a call by kind, rates per dataset and pair.

Times are CPU time of one process, the median of `--runs` passes over the same calls after one that
warms up, kinds interleaved; `dispatch` is the cost of walking a trajectory whose tool says nothing,
to which the others are set in proportion. Run: `python -m benchmarks.rules FOLDER`.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trajectories import Folder, read_pairs
from contracts.labels import CATEGORY_IDS
from contracts.testing import call
from contracts.trajectory import Call, Trajectory
from detectors.rules.facts import facts_of
from detectors.rules.pack import RulePack
from detectors.taint import Origins

KINDS = ("shell", "SQL", "code", "read", "other")


@dataclass(frozen=True, slots=True)
class Rate:
    """Opportunities of one category in one selection. `unseen`: those not visible."""

    taken: int
    seen: int
    unseen: int

    @property
    def share(self) -> float:
        """Taken per opportunity seen, nan without any."""
        return self.taken / self.seen if self.seen else float("nan")


def kind_of(pack: RulePack, calls: Sequence[Call]) -> str:
    """The kind of the dearest call of a trajectory: all its calls are timed together."""
    kinds: set[str] = set()
    for each in calls:
        facts = facts_of(each, 0, [], Origins([each]), pack.tools)
        parsed = facts.parsed
        if parsed.statements:
            kinds.add("SQL")
        elif parsed.code:
            kinds.add("code")
        elif parsed.commands:
            kinds.add("shell")
        else:
            kinds.add("read" if facts.act in ("read", "search", "verify", "download") else "other")
    return next(kind for kind in ("code", "shell", "SQL", "other", "read") if kind in kinds)


def timed(pack: RulePack, groups: dict[str, list[Sequence[Call]]], runs: int) -> dict[str, float]:
    """Median CPU microseconds a call of each group."""
    times: dict[str, list[float]] = {kind: [] for kind in groups}
    for number in range(runs + 1):
        for kind, trajectories in groups.items():
            count = sum(map(len, trajectories))
            started = time.process_time()
            for calls in trajectories:
                pack.label(calls)
            if number:
                times[kind].append((time.process_time() - started) / count * 1e6)
    return {kind: statistics.median(values) for kind, values in times.items()}


def rates(pack: RulePack, trajectories: Sequence[Trajectory]) -> dict[str, Rate]:
    """Rates per category over trajectories."""
    taken, seen, unseen = Counter[str](), Counter[str](), Counter[str]()
    for trajectory in trajectories:
        for chance in pack.label(trajectory.calls, trajectory.request).opportunities:
            taken[chance.category] += chance.taken
            (seen if chance.visible else unseen)[chance.category] += 1
    return {
        category: Rate(taken[category], seen[category], unseen[category])
        for category in CATEGORY_IDS
    }


def written(rate: Rate) -> str:
    """`taken/seen`, and the unseen where there are any."""
    if not rate.seen and not rate.unseen:
        return "-"
    return f"{rate.taken}/{rate.seen}" + (f"+{rate.unseen}?" if rate.unseen else "")


def print_rates(title: str, columns: dict[str, dict[str, Rate]]) -> None:
    """One line per category, one column per selection."""
    print(f"\n{title}: taken/opportunities seen (+ unseen?)")
    print(" " * 6 + "".join(f"{name[:16]:>18}" for name in columns))
    for category in CATEGORY_IDS:
        cells = [written(column[category]) for column in columns.values()]
        if any(cell != "-" for cell in cells):
            print(f"{category:6}" + "".join(f"{cell:>18}" for cell in cells))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=400, help="trajectories a dataset")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pairs", action="store_true", help="also the rates of every pair")
    options = parser.parse_args()
    folder, pack = Folder(options.folder), RulePack.load()
    by_dataset = {
        name: folder.select(f"dataset = '{name}'")[: options.limit] for name in folder.datasets()
    }
    groups: dict[str, list[Sequence[Call]]] = {
        "dispatch": [[call("frobnicate", {"x": "y"}, step=n) for n in range(8)]] * 100
    }
    for trajectories in by_dataset.values():
        for trajectory in trajectories:
            groups.setdefault(kind_of(pack, trajectory.calls), []).append(trajectory.calls)
    print(f"{len(pack.rules)} rules, {len(pack.opportunities)} opportunity rules")
    print(f"{'trajectories of':16} {'calls':>7} {'us a call':>10} {'ratio':>6}")
    costs = timed(pack, groups, options.runs)
    for kind in ("dispatch", *KINDS):
        if kind in costs:
            count = sum(map(len, groups[kind]))
            ratio = costs[kind] / costs["dispatch"]
            print(f"{kind:16} {count:>7} {costs[kind]:>10.1f} {ratio:>6.2f}")
    columns = {name: rates(pack, trajectories) for name, trajectories in by_dataset.items()}
    print_rates("datasets", columns)
    if options.pairs:
        for pair in read_pairs(options.folder):
            sides = {
                "teacher": rates(pack, folder.select(pair.teacher)),
                "student": rates(pack, folder.select(pair.student)),
            }
            print_rates(f"{pair.id} ({pair.expect})", sides)
    return 0


if __name__ == "__main__":
    sys.exit(main())
