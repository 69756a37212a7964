"""Held-out likelihood and calibration of every rung of the hazard ladder, per source.

    python benchmarks/hazard.py FOLDER [--limit 3000] [--only agentdojo,tau2] [--fit 10000] [--json]

FOLDER is laid out as ../shared/trajectories. Every rung is cross-fitted in four folds on the same
trajectories; the marginal rate and the table by context stand beside the learned rungs. `gain`:
mean log-likelihood of an opportunity above the marginal rate, in thousandths of a nat, with its
standard error over trajectories, in streams with at least 10 events. `O/E`: observed over expected;
`bins`: smallest and largest O/E among tenths of the hazard with at least 20 expected events;
`streams`: the same among streams (categories, and orders obeyed) with at least 100 events.

With `--fit N` only the CPU seconds (`process_time`, all threads) of a fit of N trajectories of all
sources are printed: as `baseline fit` does it, and with the sequence model cross-fitted whatever
its trial says.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.trajectories import Folder
from detectors.features import STREAMS, Encoded, encode
from detectors.hazard import Floats, log_likelihood
from detectors.rules.pack import RulePack
from detectors.train import TrainSettings, fit


@dataclass(frozen=True, slots=True)
class Row:
    """One rung on one source. `wins`: it is the one that would be frozen."""

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
    wins: bool


def bins(taken: Floats, hazard: Floats) -> tuple[float, float] | None:
    """Smallest and largest observed / expected among tenths of the hazard; None if all are thin."""
    order = np.argsort(hazard, kind="stable")
    ratios = [
        float(taken[part].sum() / hazard[part].sum())
        for part in np.array_split(order, 10)
        if float(hazard[part].sum()) >= 20
    ]
    return (min(ratios), max(ratios)) if ratios else None


def study(source: str, encoded: list[Encoded], settings: TrainSettings) -> list[Row]:
    """Every rung of one source."""
    fitted = fit(encoded, settings, lambda what, share: None)
    seen = [each.visible for each in encoded]
    taken = np.concatenate([e.taken[v] for e, v in zip(encoded, seen, strict=True)]).astype(float)
    stream = np.concatenate([e.stream[v] for e, v in zip(encoded, seen, strict=True)])
    events = np.bincount(stream, taken, STREAMS)
    telling = events >= settings.fewest_events
    thousandth = 1000 / max(1, int(telling[stream].sum()))
    marginal = log_likelihood(fitted.per_rung["rate"], encoded, telling)
    out: list[Row] = []
    for rung, hazards in fitted.per_rung.items():
        p = np.concatenate([h[v] for h, v in zip(hazards, seen, strict=True)])
        gain = log_likelihood(hazards, encoded, telling) - marginal
        spread = float(np.std(gain)) * math.sqrt(len(gain))
        common = (events / np.maximum(np.bincount(stream, p, STREAMS), 1e-9))[events >= 100]
        out.append(
            Row(
                source, len(encoded), len(taken), int(taken.sum()), rung,
                float(gain.sum()) * thousandth, spread * thousandth,
                float(taken.sum() / p.sum()), bins(taken, p),
                (float(common.min()), float(common.max())) if len(common) else None,
                rung == fitted.hazard.rung,
            )
        )  # fmt: skip
    return out


def line(row: Row) -> str:
    tenths, common = (
        "-" if pair is None else f"{pair[0]:.2f} to {pair[1]:.2f}"
        for pair in (row.bins, row.streams)
    )
    return (
        f"{row.source:16} {row.rung:10} {row.gain:8.2f} +- {row.error:5.2f}"
        f"   {row.ratio:5.2f}   {tenths:14} {common:14} {'frozen' if row.wins else ''}"
    )


def added(rows: list[Row]) -> str:
    """What the sequence model adds to the log-linear one, in words."""
    by_rung = {row.rung: row for row in rows}
    if "recurrent" not in by_rung:
        return "the sequence model was not tried"
    more = by_rung["recurrent"].gain - by_rung["loglinear"].gain
    return f"the sequence model adds {more:+.2f} thousandths of a nat an opportunity"


def cost(folder: Folder, pack: RulePack, count: int) -> None:
    """Print what a fit of `count` trajectories costs."""
    trajectories = folder.select("true")[:count]
    started = time.process_time()
    encoded = [encode(each, pack.label(each.calls, each.request)) for each in trajectories]
    print(
        f"{len(trajectories)} trajectories, {sum(len(each.calls) for each in trajectories)} calls:"
        f" labels and features {time.process_time() - started:.1f} s CPU"
    )
    for what, settings in (
        ("fit", TrainSettings()),
        ("fit with the sequence model", TrainSettings(recurrent_trial=False)),
    ):
        started = time.process_time()
        frozen = fit(encoded, settings, lambda what, share: None).hazard.rung
        print(f"{what}: {time.process_time() - started:.1f} s CPU, {frozen} frozen", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=3000, help="trajectories a source, by hash")
    parser.add_argument("--only", default="", help="comma-separated sources")
    parser.add_argument("--fit", type=int, default=0, help="only what a fit of so many costs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    only = {part.strip() for part in options.only.split(",") if part.strip()}
    folder, pack = Folder(options.folder), RulePack.load()
    if options.fit:
        cost(folder, pack, options.fit)
        return 0
    settings = TrainSettings(recurrent_from=0, recurrent_trial=False)
    every: list[Row] = []
    if not options.json:
        print(f"{'source':16} {'rung':10} {'gain':>8}    error   {'O/E':>5}   {'bins':14} streams")
    for source in folder.datasets():
        if only and source not in only:
            continue
        trajectories = folder.select(f"dataset = '{source}'")[: options.limit]
        if len(trajectories) < settings.folds:
            continue
        started = time.perf_counter()
        encoded = [encode(each, pack.label(each.calls, each.request)) for each in trajectories]
        labelled = time.perf_counter() - started
        rows = study(source, encoded, settings)
        every += rows
        if options.json:
            continue
        for row in rows:
            print(line(row))
        print(
            f"{'':16} {rows[0].trajectories} trajectories, {rows[0].opportunities} opportunities,"
            f" {rows[0].events} events; labelled in {labelled:.1f} s, all rungs fitted in"
            f" {time.perf_counter() - started - labelled:.1f} s; {added(rows)}",
            flush=True,
        )
    if options.json:
        print(json.dumps([asdict(row) for row in every], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
