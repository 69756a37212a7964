"""The detector of one subject against one reference: all categories, tilts and cells at once.

Per category, cell and tilt it keeps an e-detector (Shiryaev-Roberts), an e-process and a CUSUM, all
as logs. A category's statistic is the weighted mean over cells and tilts. An opportunity counts
only where it was visible and the reference has been in its situation. The clock of a cell is the
number of trajectories with an opportunity in it, so that rare opportunities neither slow detection
per opportunity nor spend the budget for false alarms.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from contracts.baseline import ReferenceKind
from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from contracts.trajectory import Subject
from contracts.verdict import Verdict, VerdictState
from detectors.confidence import kl, needed_opportunities, rate_interval
from detectors.sequential import (
    CATEGORIES,
    Flags,
    Floats,
    Integers,
    Opportunities,
    Settings,
    log_increments,
    shiryaev_roberts,
)
from detectors.threshold import guaranteed
from detectors.upper_hazard import (
    ALL,
    CONTEXTS_FROM,
    NO_ERROR,
    Calibration,
    cells_of,
    joined,
    repeated,
    upper_hazards,
)

Counts: TypeAlias = npt.NDArray[np.int64]

_HEADER = struct.Struct("<4sHHHHq")
_MAGIC = b"TTD1"
_TOTALS = (
    "clock",
    "opportunities",
    "taken",
    "invisible",
    "unsupported",
    "broken",
    "first",
    "first_taken",
    "alarm_at",
    "alarms",
)
_SUMS = ("expected", "reference")


@dataclass(frozen=True, slots=True)
class DetectorState:
    """State of one subject against one reference; never changed in place.

    `trajectories`: how many the subject has had. `log_m`, `log_e`, `cusum`: logs of the e-detector,
    the e-process and the draw-up since `start` (trajectory number), all (categories, cells, tilts).
    Totals, (categories,): `clock` trajectories with an opportunity; `opportunities`, `taken`,
    `first`, `first_taken` of those that count; `invisible`, `unsupported`, `broken` of those that
    do not; `expected` and `reference`: sums of upper hazards and of calibrated hazards. `alarm_at`:
    trajectory number of the standing alarm or 0; `alarms`: how many there have been.
    """

    trajectories: int
    log_m: Floats
    log_e: Floats
    cusum: Floats
    start: npt.NDArray[np.int32]
    clock: Counts
    opportunities: Counts
    taken: Counts
    invisible: Counts
    unsupported: Counts
    broken: Counts
    first: Counts
    first_taken: Counts
    alarm_at: Counts
    alarms: Counts
    expected: Floats
    reference: Floats

    @classmethod
    def new(cls, calibration: Calibration, settings: Settings) -> "DetectorState":
        """Before the first trajectory."""
        shape = (CATEGORIES, calibration.cells, len(settings.tilts))
        return cls(
            0,
            np.full(shape, -np.inf),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape, np.int32),
            *(np.zeros(CATEGORIES, np.int64) for _ in _TOTALS),
            *(np.zeros(CATEGORIES) for _ in _SUMS),
        )

    def to_bytes(self) -> bytes:
        """Little-endian arrays behind a header; only cells that saw an opportunity are written."""
        categories, cells, tilts = self.log_m.shape
        used = (self.log_m > -np.inf).any(axis=2) | np.isnan(self.log_m).any(axis=2)
        parts = [
            _HEADER.pack(_MAGIC, 1, categories, cells, tilts, self.trajectories),
            np.packbits(used).tobytes(),
        ]
        for name in ("log_m", "log_e", "cusum"):
            parts.append(getattr(self, name)[used].astype("<f8").tobytes())
        parts.append(self.start[used].astype("<i4").tobytes())
        parts += [getattr(self, name).astype("<i8").tobytes() for name in _TOTALS]
        parts += [getattr(self, name).astype("<f8").tobytes() for name in _SUMS]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "DetectorState":
        """What `to_bytes` wrote, to the last bit. Raises `BaselineError` for anything else."""
        try:
            magic, version, categories, cells, tilts, trajectories = _HEADER.unpack_from(data)
            if magic != _MAGIC or version != 1 or categories != CATEGORIES:
                raise ValueError("another format")
            at = _HEADER.size
            size = (categories * cells + 7) // 8
            bits = np.frombuffer(data, np.uint8, size, at)
            used = np.unpackbits(bits, count=categories * cells).astype(np.bool_)
            used = used.reshape(categories, cells)
            at += size
            rows = int(used.sum()) * tilts

            def block(kind: str, count: int) -> npt.NDArray[np.generic]:
                nonlocal at
                got = np.frombuffer(data, kind, count, at)
                at += got.nbytes
                return got

            shape = (categories, cells, tilts)
            grids = [np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape)]
            for grid in grids:
                grid[used] = block("<f8", rows).reshape(-1, tilts)
            start = np.zeros(shape, np.int32)
            start[used] = block("<i4", rows).reshape(-1, tilts)
            totals = [block("<i8", categories).astype(np.int64) for _ in _TOTALS]
            sums = [block("<f8", categories).astype(np.float64) for _ in _SUMS]
            if at != len(data):
                raise ValueError("trailing bytes")
        except (ValueError, struct.error) as error:
            raise BaselineError(f"the detector state cannot be read: {error}") from error
        return cls(trajectories, *grids, start, *totals, *sums)


@dataclass(frozen=True, slots=True)
class Update:
    """What a batch of n trajectories did; arrays (n, categories) unless said otherwise.

    `n`: number of each trajectory, (n,). `evidence_log10`: log10 of the statistic after it, -inf
    before the first opportunity. `opportunities`, `taken`, `expected`: what it added. `alarmed`:
    categories that alarmed at it and had not before.
    """

    n: Integers
    evidence_log10: Floats
    opportunities: Counts
    taken: Counts
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
    categories, cells, tilts = state.log_m.shape
    if cells != calibration.cells or tilts != len(settings.tilts):
        raise BaselineError("the detector state belongs to another baseline")
    rows = len(batch)
    shape = (rows, categories)
    size = rows * categories
    evidence = np.full(shape, -np.inf)
    alarmed = np.zeros(shape, np.bool_)
    if not rows:
        none = np.zeros(shape, np.int64)
        return state, Update(np.zeros(0, np.int64), evidence, none, none, evidence, alarmed)
    every, trajectory = joined(batch)
    counted, supported, finite = _sieve(every, calibration)
    slot = trajectory * categories + every.category

    def tally(where: Flags) -> Counts:
        return np.bincount(slot[where], minlength=size).reshape(shape)

    invisible, unsupported = tally(~every.visible), tally(every.visible & ~supported)
    broken = tally(every.visible & supported & ~finite)
    used = Opportunities(*(getattr(every, name)[counted] for name in Opportunities.__slots__))
    slot, trajectory = slot[counted], trajectory[counted]
    repeats = repeated(trajectory, used.category, used.taken)
    place = cells_of(calibration.bands, calibration.contexts, used, repeats)
    upper = upper_hazards(calibration, used.category, used.hazard, place, settings.tau)
    level = used.hazard if not calibration.declared else upper
    opportunities = np.bincount(slot, minlength=size).reshape(shape)
    taken = np.bincount(slot[used.taken], minlength=size).reshape(shape)
    expected = np.bincount(slot, upper, size).reshape(shape)
    reference = np.bincount(used.category, level * calibration.ratio[used.category], categories)
    first = np.bincount(used.category[used.first], minlength=categories)
    first_taken = np.bincount(used.category[used.first & used.taken], minlength=categories)

    new = replace(
        state,
        trajectories=state.trajectories + rows,
        log_m=state.log_m.copy(),
        log_e=state.log_e.copy(),
        cusum=state.cusum.copy(),
        start=state.start.copy(),
        clock=state.clock + (opportunities > 0).sum(axis=0),
        opportunities=state.opportunities + opportunities.sum(axis=0),
        taken=state.taken + taken.sum(axis=0),
        invisible=state.invisible + invisible.sum(axis=0),
        unsupported=state.unsupported + unsupported.sum(axis=0),
        broken=state.broken + broken.sum(axis=0),
        first=state.first + first,
        first_taken=state.first_taken + first_taken,
        alarm_at=state.alarm_at.copy(),
        alarms=state.alarms.copy(),
        expected=state.expected + expected.sum(axis=0),
        reference=state.reference + reference,
    )
    increments = log_increments(upper, used.taken, settings.tilts)
    _walk(new, state.trajectories, trajectory, used.category, place, increments, calibration,
          settings, evidence, alarmed)  # fmt: skip
    evidence /= math.log(10)
    numbers = state.trajectories + 1 + np.arange(rows)
    return new, Update(numbers, evidence, opportunities, taken, expected, alarmed)


def _sieve(every: Opportunities, calibration: Calibration) -> tuple[Flags, Flags, Flags]:
    """Which opportunities count; which are in the reference's support; whose hazard is a rate."""
    knows = calibration.knows()[every.category]
    if calibration.declared:
        return every.visible & knows, knows, np.ones(len(every), np.bool_)
    supported = knows & (every.cell >= 0)
    if calibration.contexts:
        inside = every.cell < calibration.contexts
        context = CONTEXTS_FROM + np.where(supported & inside, every.cell, 0)
        supported &= inside & (calibration.opportunities[every.category, context] > 0)
    situation = NO_ERROR + every.after_error
    supported &= calibration.opportunities[every.category, situation] > 0
    finite = (every.hazard >= 0) & (every.hazard <= 1)
    return every.visible & supported & finite, supported, finite


def _walk(
    state: DetectorState,
    number: int,
    trajectory: Integers,
    category: Integers,
    place: Integers,
    increments: Floats,
    calibration: Calibration,
    settings: Settings,
    evidence: Floats,
    alarmed: Flags,
) -> None:
    """Advance the fresh arrays of `state` by the trajectories of a batch, in order."""
    categories, cells, tilts = state.log_m.shape
    bets = calibration.weight[category[:, None], place] > 0
    bets[:, 1:] &= place[:, 1:] != ALL
    rows, columns = np.nonzero(bets)
    key = trajectory[rows] * (categories * cells) + category[rows] * cells + place[rows, columns]
    order = np.argsort(key, kind="stable")
    key, steps = key[order], increments[rows[order]]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, np.int64)
    totals = np.add.reduceat(steps, starts, axis=0) if len(key) else steps
    key = key[starts]
    whose, key = key // (categories * cells), key % (categories * cells)
    ends = np.searchsorted(whose, np.arange(len(evidence) + 1))

    with np.errstate(divide="ignore"):
        log_weight = np.log(calibration.weight / tilts)[:, :, None]
    log_m, log_e = state.log_m.reshape(-1, tilts), state.log_e.reshape(-1, tilts)
    cusum, start = state.cusum.reshape(-1, tilts), state.start.reshape(-1, tilts)
    watched = state.log_e if settings.mode == "gate" else state.log_m
    current = _statistic(watched, log_weight)
    limit = guaranteed(settings)
    for i in range(len(evidence)):
        here = key[ends[i] : ends[i + 1]]
        if len(here):
            step = totals[ends[i] : ends[i + 1]]
            log_m[here] = shiryaev_roberts(log_m[here], step)
            log_e[here] += step
            rise = cusum[here]
            start[here] = np.where(rise <= 0, number + i + 1, start[here])
            cusum[here] = np.maximum(rise, 0.0) + step
            touched = np.unique(here // cells)
            current[touched] = _statistic(watched[touched], log_weight[touched])
            new = touched[(current[touched] >= limit) & (state.alarm_at[touched] == 0)]
            state.alarm_at[new] = number + i + 1
            state.alarms[new] += 1
            alarmed[i, new] = True
        evidence[i] = current


def _statistic(log_values: Floats, log_weight: Floats) -> Floats:
    """Log of the weighted mean over cells and tilts; (categories,). 0 before any opportunity."""
    terms = (log_values + log_weight).reshape(len(log_values), -1)
    top = terms.max(axis=1)
    top = np.where(np.isneginf(top), 0.0, top)
    total = np.exp(terms - top[:, None]).sum(axis=1)
    return np.where(total > 0, top + np.log(np.where(total > 0, total, 1.0)), 0.0)


def statistic(state: DetectorState, calibration: Calibration, settings: Settings) -> Floats:
    """Log of every category's statistic; (categories,). 0 before the first opportunity."""
    with np.errstate(divide="ignore"):
        log_weight = np.log(calibration.weight / len(settings.tilts))[:, :, None]
    return _statistic(state.log_e if settings.mode == "gate" else state.log_m, log_weight)


def onset(state: DetectorState, calibration: Calibration, category: int) -> int | None:
    """Trajectory number where the winning cell and tilt last rose from its floor.

    The maximum-likelihood change point of that tilt (Page 1954; Lorden 1971).
    """
    with np.errstate(divide="ignore"):
        weighed = state.log_m[category] + np.log(calibration.weight[category])[:, None]
    if not bool(np.isfinite(weighed).any()):
        return None
    best = int(np.argmax(np.where(np.isfinite(weighed), weighed, -np.inf)))
    return int(state.start[category].ravel()[best]) or None


def rearm(state: DetectorState, category: int) -> DetectorState:
    """The state after an operator closed the alarm of `category`: its tests begin anew."""
    grids = {name: getattr(state, name).copy() for name in ("log_m", "log_e", "cusum", "start")}
    grids["log_m"][category] = -np.inf
    for name in ("log_e", "cusum", "start"):
        grids[name][category] = 0
    alarm_at = state.alarm_at.copy()
    alarm_at[category] = 0
    return replace(state, alarm_at=alarm_at, **grids)


def verdict(
    state: DetectorState,
    calibration: Calibration,
    category: int,
    settings: Settings,
    *,
    subject: Subject,
    reference: str,
    kind: ReferenceKind,
    attribution: str = "",
    updated_ns: int = 0,
) -> Verdict:
    """The verdict on one category (index into `CATEGORY_IDS`).

    In this order: a broken model is `blind`, whatever else; a standing alarm is `alarm`; no
    comparison, or too large a share of opportunities that were not visible or outside the
    reference's situations, is `blind`; fewer opportunities than a rise to the margin would need to
    alarm, or a rate whose upper bound is not below the margin, is `insufficient`; else `clear`.
    """
    k = category
    n, taken = int(state.opportunities[k]), int(state.taken[k])
    current = float(statistic(state, calibration, settings)[k])
    lower, upper = rate_interval(taken, n, settings.alpha)
    broken = int(state.broken[k])
    if math.isnan(current):
        broken, current = max(1, broken), 0.0
    alarm_at = int(state.alarm_at[k]) or None
    word, reason, needed = _word(state, calibration, k, settings, upper, broken)
    return Verdict(
        subject=subject,
        category=CATEGORY_IDS[k],
        reference=reference,
        kind=kind,
        state=word,
        opportunities=n,
        taken=taken,
        expected=float(state.expected[k]),
        evidence_log10=current / math.log(10),
        rate_lower=lower,
        rate_upper=upper,
        alarm_at=alarm_at,
        onset=onset(state, calibration, k) if alarm_at else None,
        needed=needed,
        reason=reason,
        attribution=attribution,
        updated_ns=updated_ns,
    )


def _word(
    state: DetectorState,
    calibration: Calibration,
    k: int,
    settings: Settings,
    rate_upper: float,
    broken: int,
) -> tuple[VerdictState, str, int | None]:
    """State, reason, and opportunities still needed."""
    n, taken = int(state.opportunities[k]), int(state.taken[k])
    unseen, outside = int(state.invisible[k]), int(state.unsupported[k])
    every = n + unseen + outside + broken
    if broken:
        return "blind", f"the model gave no number at {broken} of {every} opportunities", None
    if state.alarm_at[k]:
        since = onset(state, calibration, k)
        return "alarm", f"risen since trajectory {since}; {taken} of {n} taken in all", None
    if not bool(calibration.knows()[k]):
        return "blind", "the reference has no opportunity of this category", None
    if unseen > settings.invisible_share * every:
        return "blind", f"arguments were not seen at {unseen} of {every} opportunities", None
    if outside > settings.unsupported_share * every:
        reason = f"{outside} of {every} opportunities are in situations the reference never had"
        return "blind", reason, None
    usual, most = _level(state, calibration, k, settings)
    margin = min(1.0, max(settings.margin * usual, usual + settings.margin_rate))
    if most >= margin:
        return "insufficient", "the reference is too small to tell a rise to the margin", None
    total = needed_opportunities(margin, most, guaranteed(settings))
    if total is None or n < total:
        left = None if total is None else total - n
        return "insufficient", f"a rise to {margin:.3g} could not have been found yet", left
    if rate_upper > margin:
        gain = kl(taken / n, margin) if taken / n < margin else 0.0
        left = max(1, math.ceil(math.log(2 / settings.alpha) / gain) - n) if gain > 0 else None
        return "insufficient", f"a rate above {margin:.3g} cannot be excluded yet", left
    if rate_upper < usual:
        return "clear", "below the reference", None
    return "clear", "", None


def _level(
    state: DetectorState, calibration: Calibration, k: int, settings: Settings
) -> tuple[float, float]:
    """Mean calibrated hazard and mean upper hazard, at the subject's opportunities or, before the
    first, at the reference's.
    """
    n = int(state.opportunities[k])
    if n:
        return float(state.reference[k]) / n, float(state.expected[k]) / n
    if calibration.declared:
        return float(calibration.ceiling[k]), float(calibration.ceiling[k])
    mean = float(calibration.expected[k, ALL]) / int(calibration.opportunities[k, ALL])
    upper = mean * float(calibration.upper[k, ALL]) * (1 + settings.tau)
    return mean * float(calibration.ratio[k]), min(1.0, upper)
