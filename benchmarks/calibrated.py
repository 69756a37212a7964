"""Cells of the detection table: run lengths and delays at a threshold that was calibrated to one
measured mean run length without a shift.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmarks.peers.environment import Answer, Kind, Matrix, Peer, calibrate
from benchmarks.streams import Row, Sample
from detectors.evaluate import Report, Run, report
from detectors.run_length import first_passage, threshold_for
from detectors.sequential import Integers
from detectors.simulate import SCENARIOS

ARL = 5000.0
WARM = 200
"""Trajectories before the change, for detectors that know a reference."""

SHIFTS = tuple(name for name, each in SCENARIOS.items() if not each.benign)
BENIGN = tuple(name for name, each in SCENARIOS.items() if each.benign and name != "none")
LONGEST = {"deletion-100": 400, "permission-30": 800, "permission-55": 800}
"""Trajectories after the change, where none can need as many as elsewhere."""

Cells: TypeAlias = dict[str, Report]
Thresholds: TypeAlias = dict[int, float]
Progress: TypeAlias = Callable[[], None]
"""Called after every cell."""


@dataclass(frozen=True)
class Size:
    """How much is simulated. `pool`: trajectories of every scenario to draw from; `null_*`: streams
    without a shift or with a benign one; `delay_steps`: after a change; `references`: small ones;
    `gate_streams`: of the null study; `peer_limit_s`: a peer that takes longer is left out.
    """

    pool: int
    null_steps: int
    null_streams: int
    delay_steps: int
    delay_streams: int
    references: int
    gate_streams: int
    peer_limit_s: float


QUICK = Size(15_000, 12_000, 60, 4_000, 120, 4, 50, 60.0)
FULL = Size(60_000, 15_000, 200, 6_000, 300, 10, 500, 5_400.0)


def runs_until_first(first: Integers, steps: int, onset: int | None) -> list[Run]:
    """Streams that end at their first alarm; those that alarm before the onset are left out."""
    out: list[Run] = []
    for at in first.tolist():
        if onset is None:
            out.append(Run((at,), at) if at else Run((), steps))
        elif not 0 < at < onset:
            out.append(Run((at,) if at else (), steps, onset))
    return out


def from_onset(run: Run) -> Run:
    """The same stream watched from its change to its first alarm, as one without a change."""
    assert run.onset is not None
    before = run.onset - 1
    alarms = tuple(alarm - before for alarm in run.alarms)
    return Run(alarms, alarms[0] if alarms else run.length - before)


def measure(
    row: Row,
    size: Size,
    progress: Progress,
    scenarios: tuple[str, ...] = (*BENIGN, *SHIFTS),
    per_scenario: bool = False,
) -> tuple[Cells, Thresholds]:
    """A row's reports by scenario, each category at the threshold of its null paths.

    `per_scenario`: a threshold for each scenario, for a row that knows what will come.
    """
    thresholds: Thresholds = {}
    cells: Cells = {}
    for name in scenarios:
        scenario = SCENARIOS[name]
        column = scenario.judged
        if per_scenario or column not in thresholds:
            null = row(column, name, size.null_steps, size.null_steps, size.null_streams)
            thresholds[column] = threshold_for(null, ARL)
        if scenario.benign:
            path = row(column, name, 0, size.null_steps, size.null_streams)
            first, steps, onset = first_passage(path, thresholds[column]), size.null_steps, None
        else:
            steps = WARM + LONGEST.get(name, size.delay_steps)
            path = row(column, name, WARM, steps, size.delay_streams)
            first, onset = first_passage(path, thresholds[column]), WARM + 1
        cells[name] = report(runs_until_first(first, steps, onset))
        progress()
    return cells, thresholds


def realised(row: Row, size: Size, progress: Progress) -> Cells:
    """Run lengths at the guaranteed threshold, under no shift and every benign one."""
    cells: Cells = {}
    for name in ("none", *BENIGN):
        path = row(SCENARIOS[name].judged, name, 0, size.null_steps, size.null_streams)
        cells[name] = report(runs_until_first(first_passage(path, ARL), size.null_steps, None))
        progress()
    return cells


def measure_peer(
    peer: Peer,
    kind: Kind,
    sample: Sample,
    size: Size,
    rng: np.random.Generator,
    progress: Progress,
    scenarios: tuple[str, ...] = (*BENIGN, *SHIFTS),
) -> tuple[Cells, Thresholds]:
    """A peer's reports, its parameter calibrated per category.

    Every change comes after `kind.warm` trajectories, a benign one too: to a detector that learns
    the usual rate from the stream, a shift from the start would be none. Raises `RuntimeError` with
    what a user should read in their place, such as that it is too slow.
    """
    begin, asked = time.monotonic(), 0
    null_count = math.ceil(kind.effort * size.null_streams)
    delay_count = math.ceil(kind.effort * size.delay_streams)

    def streams(column: int, name: str, onset: int, steps: int, count: int) -> Matrix:
        before, after = sample.unsafe("none", column), sample.unsafe(name, column)
        out = np.empty((steps, count), np.uint8)
        for step in range(steps):
            source = before if step < onset else after
            out[step] = source[rng.integers(0, len(source), count)]
        return out

    def first(matrix: Matrix, column: int, parameter: float) -> Integers:
        answer = ask(matrix, column, parameter)
        return answer.alarms if answer.scores is None else first_passage(answer.scores, parameter)

    def ask(matrix: Matrix, column: int, parameter: float) -> Answer:
        nonlocal asked
        usual = float(sample.unsafe("none", column).mean())
        left = begin + size.peer_limit_s - time.monotonic()
        try:
            answer = peer.ask(matrix, usual, parameter, left)
        except TimeoutError as error:
            limit = f"{size.peer_limit_s:,.0f} s"
            raise RuntimeError(f"stopped after {limit} and {asked:,} trajectories") from error
        asked += answer.trajectories
        return answer

    def calibrated(column: int) -> float:
        null = streams(column, "none", 0, size.null_steps, null_count)
        if kind.low == kind.high:
            scores = ask(null, column, 0.0).scores
            assert scores is not None, "only one that gives scores has no range"
            return threshold_for(scores, ARL)

        def run_length(parameter: float, rough: bool) -> float:
            some = null[:, : max(20, null_count // 5)] if rough else null
            found = report(runs_until_first(first(some, column, parameter), len(null), None))
            return found.run_length if found.false_alarms else math.inf

        return calibrate(run_length, kind.low, kind.high, kind.rising, ARL)

    chosen: Thresholds = {}
    cells: Cells = {}
    for name in scenarios:
        scenario = SCENARIOS[name]
        column = scenario.judged
        if column not in chosen:
            chosen[column] = calibrated(column)
        longest = LONGEST.get(name, size.delay_steps)
        steps = kind.warm + (size.null_steps if scenario.benign else longest)
        count = null_count if scenario.benign else delay_count
        matrix = streams(column, name, kind.warm, steps, count)
        runs = runs_until_first(first(matrix, column, chosen[column]), steps, kind.warm + 1)
        cells[name] = report([from_onset(run) for run in runs] if scenario.benign else runs)
        progress()
    return cells, chosen
