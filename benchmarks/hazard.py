"""Held-out likelihood and calibration of every rung of the hazard ladder, per source and all mixed.

    python -m benchmarks.hazard FOLDER [--limit 3000] [--only agentdojo,all] [--groups]
        [--quarters 4] [--fit 10000] [--json]

FOLDER is laid out as ../shared/trajectories. Every rung is cross-fitted in four folds on the same
trajectories; the marginal rate and the table by context stand beside the learned rungs. `gain`:
mean log-likelihood of an opportunity above the marginal rate, in thousandths of a nat, with its
standard error over trajectories, in streams with at least 10 events. `O/E`: observed over expected;
`bins`: smallest and largest O/E among tenths of the hazard with at least 20 expected events;
`streams`: the same among streams (categories, and orders obeyed) with at least 100 events.
`frozen`: the simplest rung within a standard error of the best.

With `--quarters N` the whole fit (folds, choice of the rung, calibration) is made on three quarters
and the frozen hazard is judged on the untouched quarter, N times: O/E with its standard error over
trajectories for every stream with at least 100 events there, over all N quarters and per quarter.
With `--groups` what each group of features adds (`benchmarks.hazard_groups`). With `--fit N` only
what fits of N / 20, N / 5 and N trajectories of all sources cost, as `baseline fit` does it: wall
and CPU seconds (`process_time`), and the largest resident memory so far.
"""

import argparse
import hashlib
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import hazard_groups
from benchmarks.trajectories import Folder
from detectors.baseline import FitSettings, fit_baseline
from detectors.features import ORDERS, STREAMS, Encoded
from detectors.hazard import Flags, Floats, log_likelihood
from detectors.rules.pack import RulePack
from detectors.train import TrainSettings, fit

MIXED = "all"
MIXED_LIMIT = 10_000
GOAL = (0.9, 1.1)
EVENTS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One rung on one source. `frozen`: it is the one that is."""

    source: str
    trajectories: int
    opportunities: int
    events: int
    rung: str
    gain: float
    error: float
    ratio: float
    bins: tuple[float, float] | None
    streams: tuple[float, float] | None
    frozen: bool


@dataclass(frozen=True, slots=True)
class Untouched:
    """A frozen, calibrated hazard on data that its fit never saw; `quarter` 0: all of them."""

    source: str
    quarter: int
    rung: str
    stream: int
    events: int
    ratio: float
    error: float


@dataclass(frozen=True, slots=True)
class Group:
    """What a group of features adds, in thousandths of a nat an opportunity."""

    source: str
    group: str
    gain: float
    error: float


def bins(taken: Floats, hazard: Floats) -> tuple[float, float] | None:
    """Smallest and largest observed / expected among tenths of the hazard; None if all are thin."""
    order = np.argsort(hazard, kind="stable")
    ratios = [
        float(taken[part].sum() / hazard[part].sum())
        for part in np.array_split(order, 10)
        if float(hazard[part].sum()) >= 20
    ]
    return (min(ratios), max(ratios)) if ratios else None


def sums(encoded: Sequence[Encoded], values: Sequence[Floats]) -> Floats:
    """Sum of values of visible opportunities per trajectory and stream, (n, STREAMS)."""
    return np.stack(
        [
            np.bincount(each.stream[each.visible], value[each.visible], STREAMS).astype(np.float64)
            for each, value in zip(encoded, values, strict=True)
        ]
    )


def taken_of(encoded: Sequence[Encoded]) -> list[Floats]:
    return [each.taken.astype(np.float64) for each in encoded]


def telling_of(encoded: Sequence[Encoded]) -> tuple[Flags, float]:
    """The streams with events enough, and thousandths per opportunity of them."""
    telling = sums(encoded, taken_of(encoded)).sum(axis=0) >= TrainSettings().fewest_events
    count = sum(int(telling[each.stream[each.visible]].sum()) for each in encoded)
    return telling, 1000 / max(1, count)


def gain(difference: Floats, thousandth: float) -> tuple[float, float]:
    """A paired difference and its standard error, per opportunity."""
    spread = float(np.std(difference)) * math.sqrt(len(difference))
    return float(difference.sum()) * thousandth, spread * thousandth


def ladder(source: str, encoded: list[Encoded]) -> list[Row]:
    """Every rung of one source."""
    fitted = fit(encoded, TrainSettings(), lambda what, share: None)
    telling, thousandth = telling_of(encoded)
    events = sums(encoded, taken_of(encoded)).sum(axis=0)
    taken = np.concatenate([each.taken[each.visible] for each in encoded]).astype(np.float64)
    marginal = log_likelihood(fitted.per_rung["rate"], encoded, telling)
    out: list[Row] = []
    for rung, hazards in fitted.per_rung.items():
        p = np.concatenate([h[e.visible] for h, e in zip(hazards, encoded, strict=True)])
        expected = sums(encoded, hazards).sum(axis=0)
        common = (events / np.maximum(expected, 1e-9))[events >= EVENTS]
        out.append(
            Row(
                source, len(encoded), len(taken), int(taken.sum()), rung,
                *gain(log_likelihood(hazards, encoded, telling) - marginal, thousandth),
                float(taken.sum() / p.sum()), bins(taken, p),
                (float(common.min()), float(common.max())) if len(common) else None,
                rung == fitted.hazard.rung,
            )
        )  # fmt: skip
    return out


def untouched(source: str, encoded: list[Encoded], quarters: int) -> list[Untouched]:
    """The frozen hazard of three quarters on the fourth, in turn."""
    which = np.array(
        [hashlib.sha256(each.trajectory_id.encode()).digest()[0] % 4 for each in encoded]
    )
    out: list[Untouched] = []
    parts: list[tuple[Floats, Floats]] = []
    rungs: list[str] = []
    for quarter in range(quarters):
        kept = [each for each, mine in zip(encoded, which != quarter, strict=True) if mine]
        held = [each for each, mine in zip(encoded, which == quarter, strict=True) if mine]
        fitted = fit(kept, TrainSettings(), lambda what, share: None)
        expected = sums(kept, fitted.crossfitted).sum(axis=0)
        # as `upper_hazard.calibrate` centres it
        ratio = (sums(kept, taken_of(kept)).sum(axis=0) + 0.5) / (expected + 0.5)
        parts.append((sums(held, taken_of(held)), sums(held, fitted.hazard.many(held)) * ratio))
        rungs.append(fitted.hazard.rung)
        out += judged(source, quarter + 1, fitted.hazard.rung, *parts[-1])
    taken, expected = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return out + judged(source, 0, "+".join(sorted(set(rungs))), taken, expected)


def judged(
    source: str, quarter: int, rung: str, taken: Floats, expected: Floats
) -> list[Untouched]:
    """O/E of every stream with events enough; its error from the trajectories' residuals."""
    observed, total = taken.sum(axis=0), expected.sum(axis=0)
    error = np.sqrt(((taken - expected) ** 2).sum(axis=0)) / np.maximum(total, 1e-9)
    return [
        Untouched(
            source, quarter, rung, k, int(observed[k]),
            float(observed[k] / total[k]), float(error[k]),
        )
        for k in np.flatnonzero(observed >= EVENTS).tolist()
    ]  # fmt: skip


def line(row: Row) -> str:
    tenths, common = (
        "-" if pair is None else f"{pair[0]:.2f} to {pair[1]:.2f}"
        for pair in (row.bins, row.streams)
    )
    return (
        f"{row.source:16} {row.rung:10} {row.gain:8.2f} +- {row.error:5.2f}"
        f"   {row.ratio:5.2f}   {tenths:14} {common:14} {'frozen' if row.frozen else ''}"
    )


def words(each: Untouched) -> str:
    name = "orders" if each.stream == ORDERS else f"UA{each.stream + 1:02}"
    where = f"quarter {each.quarter}" if each.quarter else "together"
    outside = "" if GOAL[0] <= each.ratio <= GOAL[1] else "   outside"
    return (
        f"{each.source:16} {name:7} {where:10} {each.events:5} events"
        f"   O/E {each.ratio:5.2f} +- {each.error:4.2f}   {each.rung}{outside}"
    )


def added(rows: list[Row]) -> str:
    """What the sequence model adds to the log-linear one, in words."""
    by_rung = {row.rung: row for row in rows}
    if "recurrent" not in by_rung:
        return "too few trajectories for the sequence model"
    more = by_rung["recurrent"].gain - by_rung["loglinear"].gain
    return f"the sequence model adds {more:+.2f} thousandths of a nat an opportunity"


def cost(folder: Folder, pack: RulePack, count: int) -> None:
    """Print what fits cost."""
    every = folder.select("true")[:count]
    for number in (count // 20, count // 5, count):
        some = every[:number]
        with tempfile.TemporaryDirectory() as place:
            wall, cpu = time.perf_counter(), time.process_time()
            path, _ = fit_baseline("cost", "base", some, pack, "", FitSettings(Path(place), 1))
            rung = json.loads((path / "baseline.json").read_bytes())["rung"]
        print(
            f"{len(some)} trajectories, {sum(len(each.calls) for each in some)} calls:"
            f" {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} s CPU,"
            f" {rung} frozen, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=3000, help="trajectories a source, by hash")
    parser.add_argument("--only", default="", help=f"comma-separated sources, or {MIXED}")
    parser.add_argument("--groups", action="store_true", help="what groups of features add")
    parser.add_argument("--quarters", type=int, default=0, help="untouched quarters, at most 4")
    parser.add_argument("--fit", type=int, default=0, help="only what fits of so many cost")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    only = {part.strip() for part in options.only.split(",") if part.strip()}
    folder, pack = Folder(options.folder), RulePack.load()
    if options.fit:
        cost(folder, pack, options.fit)
        return 0
    rows: list[Row] = []
    held: list[Untouched] = []
    groups: list[Group] = []

    def say(text: str) -> None:
        if not options.json:
            print(text, flush=True)

    say(f"{'source':16} {'rung':10} {'gain':>8}    error   {'O/E':>5}   {'bins':14} streams")
    for source in (*folder.datasets(), MIXED):
        if only and source not in only:
            continue
        where, most = ("true", MIXED_LIMIT) if source == MIXED else (
            f"dataset = '{source}'", options.limit
        )  # fmt: skip
        trajectories = folder.select(where)[:most]
        if len(trajectories) < TrainSettings().folds:
            continue
        every = [
            hazard_groups.labelled(each, pack.label(each.calls, each.request))
            for each in trajectories
        ]
        encoded = [each.encoded for each in every]
        started = time.process_time()
        here = ladder(source, encoded)
        rows += here
        for row in here:
            say(line(row))
        say(
            f"{'':16} {here[0].trajectories} trajectories, {here[0].opportunities} opportunities,"
            f" {here[0].events} events; {time.process_time() - started:.1f} s CPU; {added(here)}"
        )
        if options.quarters:
            found = untouched(source, encoded, min(4, options.quarters))
            held += found
            for each in found:
                say(words(each))
        telling, thousandth = telling_of(encoded)
        if options.groups and telling.any():
            for name, difference in hazard_groups.study(every, telling):
                groups.append(Group(source, name, *gain(difference, thousandth)))
                say(f"{source:16} {name:36} {groups[-1].gain:+8.2f} +- {groups[-1].error:5.2f}")
    if options.json:
        document = {
            "ladder": [asdict(each) for each in rows],
            "untouched": [asdict(each) for each in held],
            "groups": [asdict(each) for each in groups],
        }
        print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
