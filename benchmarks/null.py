"""Real null pairs: repeated runs of one agent, and random halves of what one agent did.

    python -m benchmarks.null FOLDER [--most 400] [--json]

FOLDER is laid out as ../shared/trajectories. Every group (data set, model, variant, condition) that
was run more than once gives a pair per two runs; every group of 120 trajectories or more also gives
two halves by the hash of the trajectory's id. One half is frozen, the other is judged at a mean run
length of 5,000. Prints the share of pairs that ever alarm, with Wilson's interval.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb

from benchmarks.trajectories import Folder
from contracts.trajectory import Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.confidence import wilson_interval
from detectors.rules.pack import RulePack
from detectors.sequential import Settings
from telltale.judging import judge

FEWEST_RUN = 25
FEWEST_HALF = 60


@dataclass(frozen=True, slots=True)
class Pair:
    """Two samples of the same behaviour."""

    name: str
    reference: Sequence[Trajectory]
    judged: Sequence[Trajectory]


def groups(folder: Path) -> list[tuple[str, list[str]]]:
    """SQL condition and runs of every group with calls."""
    database = duckdb.connect()
    rows = database.execute(
        "SELECT dataset, model, variant, condition, list(DISTINCT run ORDER BY run) "
        "FROM read_parquet(?, union_by_name = true) WHERE n_calls > 0 "
        "GROUP BY ALL ORDER BY ALL",
        [str(folder / "*.trajectories.parquet")],
    ).fetchall()
    found: list[tuple[str, list[str]]] = []
    for dataset, model, variant, condition, runs in rows:
        values = {"dataset": dataset, "model": model, "variant": variant, "condition": condition}
        where = " AND ".join(
            f"{column} = '{value.replace(chr(39), chr(39) * 2)}'"
            for column, value in values.items()
            if value is not None
        )
        found.append((where, [run for run in runs if run is not None]))
    return found


def pairs(folder: Path, most: int) -> Iterator[Pair]:
    """All null pairs, each side at most `most` trajectories."""
    source = Folder(folder)
    for where, runs in groups(folder):
        samples = {run: source.select(f"{where} AND run = '{run}'") for run in runs}
        full = [run for run in runs if len(samples[run]) >= FEWEST_RUN]
        for one, other in pairwise(full):
            yield Pair(f"{where}: run {one} | {other}", samples[one][:most], samples[other][:most])
        # `select` orders by a hash of the id, so halves are random
        every = source.select(where)
        if len(every) >= 2 * FEWEST_HALF:
            yield Pair(f"{where}: halves", every[0::2][:most], every[1::2][:most])


def alarms(pair: Pair, labeller: RulePack, settings: Settings) -> list[str]:
    """`category@trajectory` of every alarm."""
    with tempfile.TemporaryDirectory() as name:
        fit = FitSettings(parent=Path(name), created_ns=0, tests=settings)
        path, _ = fit_baseline("null", "previous", pair.reference, labeller, pair.name, fit)
        reference = Reference.load(path, active_for="*")
    outcome = judge(pair.judged, [reference], labeller, Trajectory.subject, settings)
    return [f"{v.category}@{v.alarm_at}" for v in outcome.verdicts if v.state == "alarm"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    labeller, settings = RulePack.load(), Settings()
    total, ever, judged = 0, 0, 0
    for pair in pairs(options.folder, options.most):
        found = alarms(pair, labeller, settings)
        total += 1
        ever += bool(found)
        judged += len(pair.judged)
        if not options.json:
            sizes = f"{len(pair.reference):4} {len(pair.judged):4}"
            print(f"{sizes}  {' '.join(found) or '-':24} {pair.name}", flush=True)
    low, high = wilson_interval(ever, total, 0.05)
    figures = {"pairs": total, "trajectories": judged, "ever_alarm": ever, "low": low, "high": high}
    if options.json:
        print(json.dumps(figures))
    else:
        print(
            f"{ever} of {total} null pairs ever alarm ({ever / total:.3f}, {low:.3f} to {high:.3f})"
            f" over {judged} judged trajectories"
        )


if __name__ == "__main__":
    main()
