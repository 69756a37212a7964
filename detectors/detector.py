"""The detector of one subject against one reference: all categories, cells and bets at once.

Per category, cell and bet it keeps an e-detector (Shiryaev-Roberts), an e-process and a CUSUM, all
as logs. A category's statistic is the weighted mean over cells and bets. An opportunity counts
only where it was visible and the reference has been in its situation. The clock of a category is
the number of trajectories with an opportunity of it, so that rare opportunities neither slow
detection per opportunity nor spend the budget for false alarms.

A trajectory may be judged in parts: idle, judged, and then it goes on. Its opportunities are
consumed once, its number is counted once, and each category's clock ticks for it once, at the part
with its first opportunity: the evidence after the last part is that of judging it whole. The test
looks after each part, so that an alarm may come earlier than with the whole, never later.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from contracts.errors import BaselineError
from detectors.increments import sieve, steps_of, ticks_of
from detectors.mixture import Mixture, mixture_of, over_bets, over_cells
from detectors.recursion import advance
from detectors.sequential import (
    CATEGORIES,
    Flags,
    Floats,
    Integers,
    Opportunities,
    Settings,
)
from detectors.threshold import guaranteed
from detectors.upper_hazard import (
    Calibration,
    cells_of,
    consumed_of,
    joined,
    repeated,
    upper_hazards,
)

(
    CLOCK,
    OPPORTUNITIES,
    TAKEN,
    INVISIBLE,
    UNSUPPORTED,
    BROKEN,
    FIRST_ACTIONS,
    FIRST_TAKEN,
    ALARM_AT,
    ALARMS,
) = range(10)
"""Rows of `DetectorState.counts`. `CLOCK`: trajectories with an opportunity. `OPPORTUNITIES`,
`TAKEN`, `FIRST_ACTIONS`, `FIRST_TAKEN`: of those that count. `INVISIBLE`, `UNSUPPORTED` (outside
the reference's situations), `BROKEN` (no finite hazard): of those that do not. `ALARM_AT`:
trajectory number of the standing alarm, or 0. `ALARMS`: how many there have been."""

EXPECTED, REFERENCE = range(2)
"""Rows of `DetectorState.sums`: of upper hazards, and of calibrated hazards."""

_HEADER = struct.Struct("<4sHHHHq")
_MAGIC = b"TTD1"
_TOGETHER = 512
"""Trajectories of a subject that are taken in at once; bounds the memory."""


@dataclass(frozen=True, slots=True)
class DetectorState:
    """State of one subject against one reference; never changed in place.

    `trajectories`: how many the subject has had. `log_m`, `log_e`, `cusum`: logs of the e-detector,
    the e-process and the draw-up since `start` (trajectory number), (categories, cells, bets).
    `seen`: the category's clock when `log_m` was last advanced, (categories, cells). `counts`: (10,
    categories); `sums`: (2, categories).
    """

    trajectories: int
    log_m: Floats
    log_e: Floats
    cusum: Floats
    start: npt.NDArray[np.int32]
    seen: Integers
    counts: Integers
    sums: Floats

    @classmethod
    def new(cls, calibration: Calibration, settings: Settings) -> "DetectorState":
        """Before the first trajectory."""
        shape = (CATEGORIES, calibration.cells, len(settings.bets))
        return cls(
            0,
            np.full(shape, -np.inf),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape, np.int32),
            np.zeros(shape[:2], np.int64),
            np.zeros((ALARMS + 1, CATEGORIES), np.int64),
            np.zeros((REFERENCE + 1, CATEGORIES)),
        )

    def to_bytes(self) -> bytes:
        """Little-endian arrays behind a header; only cells that saw an opportunity are written."""
        categories, cells, bets = self.log_m.shape
        used = (self.log_m != -np.inf).any(axis=2)
        grids = [
            grid[used].astype("<f8").tobytes() for grid in (self.log_m, self.log_e, self.cusum)
        ]
        return b"".join(
            [
                _HEADER.pack(_MAGIC, 1, categories, cells, bets, self.trajectories),
                np.packbits(used).tobytes(),
                *grids,
                self.start[used].astype("<i4").tobytes(),
                self.seen[used].astype("<i8").tobytes(),
                self.counts.astype("<i8").tobytes(),
                self.sums.astype("<f8").tobytes(),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "DetectorState":
        """What `to_bytes` wrote, to the last bit. Raises `BaselineError` for anything else."""
        try:
            magic, version, categories, cells, bets, trajectories = _HEADER.unpack_from(data)
            if magic != _MAGIC or version != 1 or categories != CATEGORIES:
                raise ValueError("another format")
            at, size = _HEADER.size, (categories * cells + 7) // 8
            bits = np.frombuffer(data, np.uint8, size, at)
            used: Flags = np.unpackbits(bits, count=categories * cells).astype(np.bool_)
            used = used.reshape(categories, cells)
            cells_used, at = int(used.sum()), at + size
            rows = cells_used * bets
            if (
                len(data)
                != at + rows * 28 + cells_used * 8 + (ALARMS + REFERENCE + 2) * categories * 8
            ):
                raise ValueError("wrong length")
            shape = (categories, cells, bets)
            grids = [np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape)]
            for grid in grids:
                grid[used] = np.frombuffer(data, "<f8", rows, at).reshape(-1, bets)
                at += rows * 8
            start = np.zeros(shape, np.int32)
            start[used] = np.frombuffer(data, "<i4", rows, at).reshape(-1, bets)
            at += rows * 4
            seen = np.zeros(shape[:2], np.int64)
            seen[used] = np.frombuffer(data, "<i8", cells_used, at)
            at += cells_used * 8
            counts = np.frombuffer(data, "<i8", (ALARMS + 1) * categories, at)
            sums = np.frombuffer(data, "<f8", (REFERENCE + 1) * categories, at + counts.nbytes)
        except (ValueError, struct.error) as error:
            raise BaselineError(f"the detector state cannot be read: {error}") from error
        return cls(
            trajectories,
            grids[0],
            grids[1],
            grids[2],
            start,
            seen,
            counts.astype(np.int64).reshape(-1, categories),
            sums.astype(np.float64).reshape(-1, categories),
        )


@dataclass(frozen=True, slots=True)
class Update:
    """What a batch of n trajectories did; arrays (n, categories) unless said otherwise.

    `n`: number of each trajectory, (n,); one that goes on after it was judged has that of the last
    that began. `evidence_log10`: log10 of the statistic after it, 0 before the first opportunity.
    `opportunities`, `taken`, `expected`: what it added. `alarmed`: categories that alarmed at it
    and had not before.
    """

    n: Integers
    evidence_log10: Floats
    opportunities: Integers
    taken: Integers
    expected: Floats
    alarmed: Flags


def update(
    state: DetectorState,
    calibration: Calibration,
    batch: Sequence[Opportunities],
    settings: Settings,
) -> tuple[DetectorState, Update]:
    """The state after a batch of trajectories in their order, and what each did. Pure.

    A batch gives the same as its trajectories one by one. Raises `BaselineError` where the state
    belongs to another calibration.
    """
    categories, cells, bets = state.log_m.shape
    if cells != calibration.cells or bets != len(settings.bets):
        raise BaselineError("the detector state belongs to another baseline")
    if len(batch) > _TOGETHER:
        done: list[Update] = []
        for low in range(0, len(batch), _TOGETHER):
            state, each = update(state, calibration, batch[low : low + _TOGETHER], settings)
            done.append(each)
        return state, Update(
            *(
                np.concatenate([getattr(each, item.name) for each in done])
                for item in fields(Update)
            )
        )
    shape = (len(batch), categories)
    size = len(batch) * categories
    every, trajectory = joined(batch)
    slot = trajectory * categories + every.category
    counted, supported, finite = sieve(every, calibration)
    consumed = consumed_of(batch)
    fresh = counted & ~consumed

    def tally(where: Flags) -> Integers:
        return np.bincount(slot[where], minlength=size).reshape(shape).astype(np.int64)

    opportunities, taken = tally(fresh), tally(fresh & every.taken)
    ticks = ticks_of(state.log_m, opportunities > 0, tally(counted & consumed) > 0)
    first = fresh & every.first
    changes = np.zeros_like(state.counts)
    changes[CLOCK] = ticks.sum(axis=0)
    changes[OPPORTUNITIES], changes[TAKEN] = opportunities.sum(axis=0), taken.sum(axis=0)
    if first.any():
        changes[FIRST_ACTIONS] = np.bincount(every.category[first], minlength=categories)
        changes[FIRST_TAKEN] = np.bincount(
            every.category[first & every.taken], minlength=categories
        )
    if not counted.all():
        seen = every.visible & ~consumed
        changes[INVISIBLE] = tally(~every.visible & ~consumed).sum(axis=0)
        changes[UNSUPPORTED] = tally(seen & ~supported).sum(axis=0)
        changes[BROKEN] = tally(seen & supported & ~finite).sum(axis=0)
        every, trajectory, slot = every.only(counted), trajectory[counted], slot[counted]
        fresh = fresh[counted]
    repeats = repeated(trajectory, every.category, every.taken)
    if not fresh.all():
        every, trajectory, slot = every.only(fresh), trajectory[fresh], slot[fresh]
        repeats = repeats[fresh]
    place = cells_of(calibration.bands, calibration.contexts, every, repeats)
    upper = upper_hazards(calibration, every.category, every.hazard, place, settings.tau)
    usual = upper if calibration.declared else every.hazard * calibration.ratio[every.category]
    expected = np.asarray(np.bincount(slot, upper, size), np.float64).reshape(shape)
    totals = np.stack([expected.sum(axis=0), np.bincount(every.category, usual, categories)])
    begins = np.array([not each.again for each in batch], np.bool_)
    if not state.trajectories:
        begins[:1] = True  # the part before was not judged by this reference
    numbers = state.trajectories + np.cumsum(begins)
    new = replace(
        state,
        trajectories=state.trajectories + int(begins.sum()),
        log_m=state.log_m.copy(),
        log_e=state.log_e.copy(),
        cusum=state.cusum.copy(),
        start=state.start.copy(),
        seen=state.seen.copy(),
        counts=state.counts + changes,
        sums=state.sums + totals,
    )
    steps = steps_of(calibration, every, place, trajectory, upper, settings)
    evidence, alarmed = _walk(
        new, state, numbers, opportunities > 0, ticks, steps, calibration, settings
    )
    return new, Update(numbers, evidence, opportunities, taken, expected, alarmed)


def _walk(
    state: DetectorState,
    old: DetectorState,
    numbers: Integers,
    touches: Flags,
    ticks: Flags,
    steps: tuple[Integers, Integers, Floats],
    calibration: Calibration,
    settings: Settings,
) -> tuple[Floats, Flags]:
    """Advance the fresh arrays of `state` by a batch; evidence and new alarms.

    `numbers`: of the trajectories; `touches`: categories with opportunities; `ticks`: with a first.
    Cells advance together, each by its first increment of the batch, then each by its second, and
    so on; what the statistic was after each trajectory is put together afterwards.
    """
    n, cells = len(ticks), state.log_m.shape[1]
    gate, limit = settings.mode == "gate", guaranteed(settings)
    mixture = mixture_of(calibration, settings)
    whose, places, increments = steps
    clocks = old.counts[CLOCK] + np.cumsum(ticks, axis=0)
    now = clocks[whose, places // cells]
    inner = over_bets(state.log_e if gate else state.log_m, mixture.bets)
    before = over_cells(inner, _pending(old, mixture, gate), mixture.cells)
    touched, category = np.nonzero(touches)
    if not len(whose):
        return np.tile(before / math.log(10), (n, 1)), np.zeros(ticks.shape, np.bool_)
    seen = state.seen.reshape(-1).copy()
    values = advance(
        (state.log_m, state.log_e, state.cusum), state.start, state.seen,
        numbers[whose], places, increments, now, gate,
    )  # fmt: skip
    after = over_bets(values, mixture.bets[places % cells])
    # per trajectory and cell, the row of the last increment so far; -1: none in this batch
    rows = np.full((n, len(seen)), -1, np.int64)
    rows[whose, places] = np.arange(len(whose))
    rows = np.maximum.accumulate(rows, axis=0).reshape(n, -1, cells)[touched, category]
    here = np.where(rows >= 0, after[rows], inner[category])
    pending: Floats = np.zeros(len(touched))
    if not gate:
        clock_of = np.where(rows >= 0, now[rows], seen.reshape(-1, cells)[category])
        held = (mixture.linear[category] * clock_of).sum(axis=1)
        pending = clocks[touched, category] - held
    value = over_cells(here, pending, mixture.cells[category])
    last = np.full(ticks.shape, -1, np.int64)
    last[touched, category] = np.arange(len(touched))
    last = np.maximum.accumulate(last, axis=0)
    evidence = np.where(last >= 0, value[last], before)
    alarmed = np.zeros(ticks.shape, np.bool_)
    loud = value >= limit
    for i, k in zip(touched[loud].tolist(), category[loud].tolist(), strict=True):
        if state.counts[ALARM_AT, k] == 0:
            state.counts[ALARM_AT, k] = numbers[i]
            state.counts[ALARMS, k] += 1
            alarmed[i, k] = True
    return evidence / math.log(10), alarmed


def statistic(state: DetectorState, calibration: Calibration, settings: Settings) -> Floats:
    """Log of every category's statistic; (categories,). 0 before the first opportunity."""
    mixture, gate = mixture_of(calibration, settings), settings.mode == "gate"
    inner = over_bets(state.log_e if gate else state.log_m, mixture.bets)
    return over_cells(inner, _pending(state, mixture, gate), mixture.cells)


def _pending(state: DetectorState, mixture: Mixture, gate: bool) -> Floats:
    """Starts that have no increments yet, (categories,); a gate has none."""
    if gate:
        return np.zeros(CATEGORIES)
    clock: Floats = state.counts[CLOCK] - (mixture.linear * state.seen).sum(axis=1)
    return clock


def rearm(state: DetectorState, category: int) -> DetectorState:
    """The state after an operator closed the alarm of `category`: its tests begin anew."""
    log_m, log_e, cusum = state.log_m.copy(), state.log_e.copy(), state.cusum.copy()
    start, counts = state.start.copy(), state.counts.copy()
    log_m[category], log_e[category], cusum[category], start[category] = -np.inf, 0.0, 0.0, 0
    counts[ALARM_AT, category] = 0
    seen = state.seen.copy()
    seen[category] = counts[CLOCK, category]
    return replace(
        state, log_m=log_m, log_e=log_e, cusum=cusum, start=start, seen=seen, counts=counts
    )
