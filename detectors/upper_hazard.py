"""What a reference knows about its own hazards, and the upper hazards that tests bet against.

Cells are situations with the same error of the learned hazard. Each opportunity lies in one cell of
every partition: everything; before or after an error; thirds of the hazard; later or first action;
first or repeated unsafe action of the trajectory; context. Its upper hazard uses the largest ratio
of its cells, so that a change in how often the situations come cannot alarm by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
import numpy.typing as npt

from contracts.errors import BaselineError
from detectors.sequential import (
    CATEGORIES,
    MOST_CONTEXTS,
    Floats,
    Integers,
    Opportunities,
    Settings,
)

ALL, NO_ERROR, AFTER_ERROR, LOW, MIDDLE, HIGH, LATER, FIRST, FRESH, REPEATED = range(10)
CONTEXTS_FROM = 10
PARTITIONS: tuple[tuple[int, ...], ...] = ((0,), (1, 2), (3, 4, 5), (6, 7), (8, 9))
"""Cells by partition; the contexts are the last partition, from cell 10 on."""

WEIGHTS: Mapping[int, float] = {AFTER_ERROR: 0.05, LOW: 0.01, HIGH: 0.02, FIRST: 0.03}
CONTEXTS_WEIGHT = 0.25
"""How the statistic shares its weight over cells, the whole taking the rest. A weight costs
log(1 / weight) / KL opportunities: a shift of the whole pays 0.45 nats for the parts, a shift in
one of ten contexts 3.7, of which log(10) is the price of not knowing which. Chosen on simulated
worlds other than those that are published."""


LEAST_HAZARD = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Observed against expected of a reference's cross-fitted hazards; arrays (categories, cells).

    `declared`: the reference is a ceiling per opportunity (`ceiling`, NaN where none) and has no
    data. `trajectories`: how many were fitted. `contexts`: how many context cells. `bands`: the two
    hazards that cut each category's opportunities in thirds, (categories, 2). `opportunities`,
    `observed`, `expected`: counts per cell; `ratio`: overall observed / expected, `upper`: upper
    bound of that ratio per cell; `overdispersion`: variance over that of independent trajectories,
    (categories,). `temper`: what log e-values are divided by because clusters of trajectories move
    together, 1 where no clusters were named, (categories,). `weight`: share of the statistic per
    cell.
    """

    declared: bool
    trajectories: int
    contexts: int
    bands: Floats
    opportunities: Integers
    observed: Integers
    expected: Floats
    ratio: Floats
    upper: Floats
    overdispersion: Floats
    temper: Floats
    weight: Floats
    ceiling: Floats

    @property
    def cells(self) -> int:
        return CONTEXTS_FROM + self.contexts

    def knows(self) -> npt.NDArray[np.bool_]:
        """Per category, whether the reference can be compared with at all."""
        if self.declared:
            return np.isfinite(self.ceiling)
        return (self.opportunities[:, ALL] > 0) & (self.expected[:, ALL] > 0)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; NaN and infinities become null."""
        out: dict[str, object] = {}
        for item in fields(self):
            value: object = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                numbers = cast("npt.NDArray[np.float64 | np.int64]", value).ravel()
                value = [float(x) if math.isfinite(x) else None for x in numbers]
            out[item.name] = value
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "Calibration":
        """Raises `BaselineError` where it is not what `to_json` wrote."""
        try:
            declared, contexts = bool(data["declared"]), int(cast(int, data["contexts"]))
            if not 0 <= contexts <= MOST_CONTEXTS:
                raise ValueError("contexts")

            def array(name: str, width: int) -> Floats:
                raw = cast(Sequence[float | None], data[name])
                flat = np.array([np.nan if x is None else x for x in raw], np.float64)
                return flat.reshape((CATEGORIES, width) if width else (CATEGORIES,))

            cells = CONTEXTS_FROM + contexts
            made = cls(
                declared,
                int(cast(int, data["trajectories"])),
                contexts,
                array("bands", 2),
                array("opportunities", cells).astype(np.int64),
                array("observed", cells).astype(np.int64),
                array("expected", cells),
                array("ratio", 0),
                array("upper", cells),
                array("overdispersion", 0),
                array("temper", 0),
                array("weight", cells),
                array("ceiling", 0),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BaselineError(f"the calibration cannot be read: {error}") from error
        if not declared and not bool(np.all(np.isfinite(made.expected))):
            raise BaselineError("the calibration holds numbers that are not finite")
        return made


def repeated(trajectory: Integers, category: Integers, taken: npt.NDArray[np.bool_]) -> Integers:
    """1 where the same trajectory took an action of the same category before; shape (n,).

    `trajectory` is sorted and each one's opportunities are in step order.
    """
    if not taken.any():
        return np.zeros(len(category), np.int64)
    group = trajectory * CATEGORIES + category
    order = np.argsort(group, kind="stable")
    ranked = group[order]
    before: Integers = np.cumsum(taken[order]) - taken[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    lengths = np.diff(starts, append=len(ranked))
    before = before - np.repeat(before[starts], lengths)
    out = np.empty(len(group), np.int64)
    out[order] = before > 0
    return out


def cells_of(
    calibration_bands: Floats, contexts: int, opportunities: Opportunities, repeats: Integers
) -> Integers:
    """Cell of each opportunity in each partition; shape (n, 6). An unseen context counts as none,
    cell 0.
    """
    category, hazard = opportunities.category, opportunities.hazard
    band = (hazard[:, None] > calibration_bands[category]).sum(axis=1)
    inside = (opportunities.cell >= 0) & (opportunities.cell < contexts)
    context = np.where(inside, CONTEXTS_FROM + opportunities.cell, ALL)
    return np.stack(
        [
            np.zeros_like(category),
            NO_ERROR + opportunities.after_error,
            LOW + band,
            LATER + opportunities.first,
            FRESH + repeats,
            context,
        ],
        axis=1,
    )


def joined(batch: Sequence[Opportunities]) -> tuple[Opportunities, Integers]:
    """All opportunities of a batch as one, and which trajectory of the batch each is of; (n,).

    What was consumed before is among them; `consumed_of` tells which.
    """
    if len(batch) == 1:
        return batch[0], np.zeros(len(batch[0]), np.int64)
    if not batch:
        return Opportunities.of([], [], []), np.zeros(0, np.int64)
    one = Opportunities(
        np.concatenate([each.category for each in batch]),
        np.concatenate([each.hazard for each in batch]),
        np.concatenate([each.taken for each in batch]),
        np.concatenate([each.cell for each in batch]),
        np.concatenate([each.after_error for each in batch]),
        np.concatenate([each.first for each in batch]),
        np.concatenate([each.visible for each in batch]),
    )
    return one, np.repeat(np.arange(len(batch)), [len(each) for each in batch])


def consumed_of(batch: Sequence[Opportunities]) -> npt.NDArray[np.bool_]:
    """Which of `joined(batch)`'s opportunities were consumed before, (n,)."""
    flags = [np.arange(len(each)) < each.consumed for each in batch]
    return np.concatenate(flags) if flags else np.zeros(0, np.bool_)


def upper_hazards(
    calibration: Calibration, category: Integers, hazard: Floats, cells: Integers, tau: float
) -> Floats:
    """u_t = min(1, h_t * max over its cells of rho_c * (1 + tau)), or the ceiling; shape (n,).

    A learned hazard counts as at least `LEAST_HAZARD`: no model can know that nothing ever happens.
    """
    if calibration.declared:
        return np.minimum(1.0, calibration.ceiling[category])
    rho: Floats = calibration.upper[category[:, None], cells].max(axis=1, initial=0.0)
    return np.minimum(1.0, np.maximum(hazard, LEAST_HAZARD) * rho * (1.0 + tau))


def ceiling(limits: Mapping[int, float]) -> Calibration:
    """The calibration of a declared reference. `limits`: category index to rate per opportunity."""
    shape = (CATEGORIES, CONTEXTS_FROM)
    declared = np.full(CATEGORIES, np.nan)
    for index, limit in limits.items():
        if not 0 <= limit <= 1:
            raise BaselineError(f"a ceiling is a rate per opportunity from 0 to 1, not {limit}")
        declared[index] = limit
    weight = np.zeros(shape)
    weight[:, ALL], weight[:, FIRST] = 0.9, 0.1
    return Calibration(
        True,
        0,
        0,
        np.zeros((CATEGORIES, 2)),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape),
        np.ones(CATEGORIES),
        np.ones(shape),
        np.ones(CATEGORIES),
        np.ones(CATEGORIES),
        weight,
        declared,
    )


def calibrate(
    reference: Sequence[Opportunities],
    contexts: int,
    settings: Settings,
    clusters: Sequence[int] | None = None,
) -> Calibration:
    """Calibration of a reference from its own trajectories under cross-fitted hazards.

    `contexts`: number of context ids. `clusters`: which trajectories are not independent (one
    user's, one day's); absent: each stands alone. Invisible opportunities and hazards that are not
    numbers are left out. Raises `BaselineError` for more than `MOST_CONTEXTS` contexts.
    """
    if not 0 <= contexts <= MOST_CONTEXTS:
        raise BaselineError(f"a reference may have up to {MOST_CONTEXTS} contexts, not {contexts}")
    shape = (CATEGORIES, CONTEXTS_FROM + contexts)
    bands = np.zeros((CATEGORIES, 2))
    observed, counts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    expected, dispersion = np.zeros(shape), np.ones(CATEGORIES)
    temper = np.ones(CATEGORIES)
    if reference:
        every, trajectory = joined(reference)
        good = every.visible & (every.hazard >= 0) & (every.hazard <= 1)
        every = every.only(good)
        trajectory = trajectory[good]
        for k in range(CATEGORIES):
            of_k = every.hazard[every.category == k]
            if len(of_k):
                bands[k] = np.quantile(of_k, (1 / 3, 2 / 3), method="lower")
        repeats = repeated(trajectory, every.category, every.taken)
        cells = cells_of(bands, contexts, every, repeats)
        size = shape[0] * shape[1]
        for column in range(cells.shape[1]):
            kept = (cells[:, column] != ALL) | (column == 0)
            here, x = every.category[kept] * shape[1] + cells[kept, column], every.taken[kept]
            counts += np.bincount(here, minlength=size).reshape(shape)
            observed += np.bincount(here[x], minlength=size).reshape(shape)
            expected += np.bincount(here, every.hazard[kept], minlength=size).reshape(shape)
        group = np.arange(len(reference)) if clusters is None else np.asarray(clusters, np.int64)
        dispersion = _overdispersion(every, group[trajectory], np.zeros_like(repeats))
        if clusters is not None:
            temper = _overdispersion(every, group[trajectory], repeats)
    upper, ratio = _ratios(observed, expected, dispersion, settings.delta)
    return Calibration(
        False,
        len(reference),
        contexts,
        bands,
        counts,
        observed,
        expected,
        ratio,
        upper,
        dispersion,
        temper,
        _weights(counts),
        np.full(CATEGORIES, np.nan),
    )


def _weights(counts: Integers) -> Floats:
    weight = np.zeros(counts.shape)
    for cell, share in WEIGHTS.items():
        weight[:, cell] = share
    seen = counts[:, CONTEXTS_FROM:] > 0
    several = seen.sum(axis=1, keepdims=True) > 1
    weight[:, CONTEXTS_FROM:] = np.where(
        seen & several, CONTEXTS_WEIGHT / np.maximum(1, seen.sum(axis=1, keepdims=True)), 0.0
    )
    weight *= counts > 0
    weight[:, ALL] = 1.0 - weight[:, 1:].sum(axis=1)
    return weight


def _overdispersion(every: Opportunities, cluster: Integers, part: Integers) -> Floats:
    """Pearson's dispersion of cluster totals, 1 where it is not clearly above; (categories,).

    `part`: 0 or 1, (n,); the hazards are scaled to what was observed in each part, so that what the
    cell of repeated actions already knows is not counted again. Source: McCullagh & Nelder 1989,
    section 4.5.
    """
    out = np.ones(CATEGORIES)
    for k in range(CATEGORIES):
        mine = every.category == k
        if not mine.any():
            continue
        _, group = np.unique(cluster[mine], return_inverse=True)
        h, x, which = every.hazard[mine], every.taken[mine], part[mine]
        scale = np.bincount(which, x, 2) / np.maximum(np.bincount(which, h, 2), 1e-300)
        h = np.minimum(1.0, h * scale[which])
        mean, variance = np.bincount(group, h), np.bincount(group, h * (1 - h))
        total = np.bincount(group, x)
        if variance.sum() <= 0 or len(mean) < 2:
            continue
        pearson = float(((total - mean) ** 2).sum() / variance.sum())
        excess = float((mean + 2 * variance**2).sum()) / float(variance.sum()) ** 2
        out[k] = pearson if pearson > 1 + 1.64 * math.sqrt(excess) else 1.0
    return out


def _ratios(
    observed: Integers, expected: Floats, dispersion: Floats, delta: float
) -> tuple[Floats, Floats]:
    """Upper bounds of observed / expected per cell, and the overall ratio.

    Overall: Garwood's exact bound for a Poisson mean, chi2_{1-delta}(2(O+1)) / (2E) (Garwood 1936),
    with counts divided by the overdispersion. Per cell: the same quantile of the Gamma posterior
    whose prior is centred on the overall ratio, with the spread between the partition's cells by
    DerSimonian & Laird 1986; never below the overall bound.
    """
    from scipy.special import gammaincinv

    seen, total = observed / dispersion[:, None], expected / dispersion[:, None]
    tiny = 1e-300
    overall: Floats = gammaincinv(seen[:, ALL] + 1, 1 - delta) / np.maximum(total[:, ALL], tiny)
    ratio = (seen[:, ALL] + 0.5) / (total[:, ALL] + 0.5)
    upper = np.repeat(overall[:, None], observed.shape[1], axis=1)
    contexts = tuple(range(CONTEXTS_FROM, observed.shape[1]))
    for partition in (*PARTITIONS[1:], contexts):
        if len(partition) < 2:
            continue
        o, mean = seen[:, partition], ratio[:, None] * total[:, partition]
        q = ((o - mean) ** 2 / np.maximum(mean, tiny)).sum(axis=1, where=mean > 0)
        freedom = (mean > 0).sum(axis=1) - 1
        size = mean.sum(axis=1)
        room = np.maximum(size - (mean**2).sum(axis=1) / np.maximum(size, tiny), tiny)
        spread = np.clip((q - freedom) / room, 1 / _MOST_PRIOR, 1 / _LEAST_PRIOR)
        strength = (1 / spread)[:, None]
        rate = strength / ratio[:, None] + total[:, partition]
        bound = cast(Floats, gammaincinv(strength + o, 1 - delta) / rate)
        upper[:, partition] = np.maximum(overall[:, None], bound)
    return upper, np.where(total[:, ALL] > 0, ratio, 1.0)


_LEAST_PRIOR, _MOST_PRIOR = 4.0, 4_000.0
"""Events that the overall ratio is worth in a cell: 4,000 widen an unremarkable cell by 3 %."""
