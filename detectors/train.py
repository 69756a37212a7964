"""Fitting the ladder: every rung cross-fitted, the simplest one that is not beaten is frozen.

Deterministic with a seed on one machine. A fold's model never saw the trajectories it is asked
about.
"""

# pyright: reportUnknownMemberType=false
# (torch's optimisers and autograd are only partly typed)

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from detectors.features import BUCKETS, STREAMS, Encoded
from detectors.hazard import (
    CELLS,
    RUNGS,
    Flags,
    Floats,
    Hazard,
    Integers,
    Rung,
    log_likelihood,
    table_cells,
)
from detectors.model import LogLinear, Recurrent

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """`folds` of the cross-fit. `penalties`: L2 strengths tried, on at most `tuned_on`
    trajectories. `rungs` that compete. `recurrent_from`: trajectories below which the sequence
    model is not tried; `recurrent_trial`: it must win on a small split before it is cross-fitted.
    `shrink`: opportunities that a stream's rate is worth in a cell of the table. `fewest_events`:
    of a stream for it to have a say in the choice of the rung.
    """

    folds: int = 4
    penalties: tuple[float, ...] = (1.0, 4.0, 16.0)
    tuned_on: int = 2_000
    rungs: tuple[Rung, ...] = RUNGS
    recurrent_from: int = 1_000
    recurrent_trial: bool = True
    recurrent_epochs: int = 30
    shrink: float = 8.0
    seed: int = 0
    fewest_events: int = 10


@dataclass(frozen=True, slots=True)
class Fitted:
    """The frozen hazard and what chose it.

    `crossfitted`: hazard of each opportunity of each trajectory, of a model that did not see it.
    `likelihood`: mean held-out log-likelihood per opportunity of each rung that competed, over the
    streams with events enough to tell rungs apart.
    """

    hazard: Hazard
    crossfitted: list[Floats]
    likelihood: dict[str, float]
    per_rung: dict[Rung, list[Floats]]
    penalty: float


def folds_of(encoded: Sequence[Encoded], folds: int) -> Integers:
    """Fold of each trajectory, dealt out in the order of a hash of the ids."""
    keys = [
        hashlib.blake2b(each.trajectory_id.encode(), digest_size=8).digest() for each in encoded
    ]
    fold = np.empty(len(encoded), np.int64)
    fold[np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)] = (
        np.arange(len(encoded)) % folds
    )
    return fold


def fit(encoded: Sequence[Encoded], settings: TrainSettings, progress: Progress) -> Fitted:
    """The ladder on a reference's trajectories, at least `settings.folds` of them."""
    fold = folds_of(encoded, settings.folds)
    order = sorted(range(len(encoded)), key=lambda i: encoded[i].trajectory_id)
    held = [[i for i in order if fold[i] == number] for number in range(settings.folds)]
    kept = [[i for i in order if fold[i] != number] for number in range(settings.folds)]
    penalty = _penalty([encoded[i] for i in order], settings, progress)
    rungs: list[Rung] = [rung for rung in RUNGS if rung in settings.rungs]
    if "recurrent" in rungs and not _promising(
        [encoded[i] for i in order], settings, penalty, progress
    ):
        rungs.remove("recurrent")
    per_rung: dict[Rung, list[Floats]] = {}
    for place, rung in enumerate(rungs):
        hazards: list[Floats] = [np.zeros(0)] * len(encoded)
        for number in range(settings.folds):
            progress(f"{rung}, fold {number + 1}", (place + number / settings.folds) / len(rungs))
            model = fit_rung(rung, [encoded[i] for i in kept[number]], settings, penalty)
            crossed = model.many([encoded[i] for i in held[number]])
            for i, hazard in zip(held[number], crossed, strict=True):
                hazards[i] = hazard
        per_rung[rung] = hazards
    telling = _telling(encoded, settings.fewest_events)
    scores: dict[Rung, Floats] = {
        rung: log_likelihood(per_rung[rung], encoded, telling) for rung in rungs
    }
    best = _simplest(rungs, scores)
    progress(f"{best}, all trajectories", 1.0)
    frozen = fit_rung(best, [encoded[i] for i in order], settings, penalty)
    count = max(1, sum(int(telling[each.stream[each.visible]].sum()) for each in encoded))
    likelihood: dict[str, float] = {
        rung: float(score.sum()) / count for rung, score in scores.items()
    }
    return Fitted(frozen, per_rung[best], likelihood, per_rung, penalty)


def _telling(encoded: Sequence[Encoded], fewest: int) -> Flags:
    """Streams with at least `fewest` events, (STREAMS,)."""
    events = np.zeros(STREAMS, np.int64)
    for each in encoded:
        events += np.bincount(each.stream[each.visible & each.taken], minlength=STREAMS)
    return events >= fewest


_NOTHING = 2.0
"""Nats over all trajectories that no rung with more parameters is worth (Akaike 1974)."""


def _simplest(rungs: Sequence[Rung], scores: dict[Rung, Floats]) -> Rung:
    """The first rung within one standard error of the best: Breiman et al. 1984's one-SE rule on
    the paired differences of trajectories.
    """
    best = max(rungs, key=lambda rung: float(scores[rung].sum()))
    for rung in rungs:
        lost = scores[best] - scores[rung]
        spread = float(np.std(lost)) * math.sqrt(len(lost))
        if float(lost.sum()) <= max(spread, _NOTHING):
            return rung
    return best


def _promising(
    encoded: Sequence[Encoded], settings: TrainSettings, penalty: float, progress: Progress
) -> bool:
    """Whether the sequence model is worth its cross-fit: it is tried on a split of `tuned_on`
    trajectories first, and must beat the log-linear rung by a standard error there.
    """
    if len(encoded) < settings.recurrent_from:
        return False
    if not settings.recurrent_trial:
        return True
    progress("sequence model, trial", 0.0)
    kept, held = _split(encoded, settings)
    telling = _telling(encoded, settings.fewest_events)
    scores: dict[Rung, Floats] = {}
    for rung in ("loglinear", "recurrent"):
        model = fit_rung(rung, kept, settings, penalty)
        scores[rung] = log_likelihood(model.many(held), held, telling)
    return _simplest(("loglinear", "recurrent"), scores) == "recurrent"


def _split(
    encoded: Sequence[Encoded], settings: TrainSettings
) -> tuple[list[Encoded], list[Encoded]]:
    """Two halves of at most `tuned_on` trajectories."""
    some = encoded[:: max(1, math.ceil(len(encoded) / settings.tuned_on))]
    first = folds_of(some, 2) == 0
    return (
        [each for each, mine in zip(some, first, strict=True) if mine],
        [each for each, mine in zip(some, first, strict=True) if not mine],
    )


def _penalty(encoded: Sequence[Encoded], settings: TrainSettings, progress: Progress) -> float:
    """The L2 strength with the best held-out likelihood on a split of at most `tuned_on`."""
    if len(settings.penalties) == 1 or "loglinear" not in settings.rungs:
        return settings.penalties[0]
    kept, held = _split(encoded, settings)

    def score(penalty: float) -> float:
        progress(f"penalty {penalty:g}", 0.0)
        model = _fit_loglinear(kept, penalty)
        return float(log_likelihood(model.many(held), held).sum())

    return max(settings.penalties, key=score)


def fit_rung(
    rung: Rung, encoded: Sequence[Encoded], settings: TrainSettings, penalty: float
) -> Hazard:
    """One rung on these trajectories. Invisible opportunities are left out."""
    if rung == "rate":
        taken, count = _counts(encoded, np.zeros(0, np.int64))
        return Hazard("rate", {"bias": _logit(taken, count)})
    if rung == "table":
        return _fit_table(encoded, settings.shrink)
    if rung == "loglinear":
        return _fit_loglinear(encoded, penalty)
    return _fit_recurrent(encoded, settings, penalty)


def _stack(encoded: Sequence[Encoded]) -> tuple[Integers, Integers, Floats]:
    """Stream, features and taken of all visible opportunities."""
    seen = [each.visible for each in encoded]
    stream = [each.stream[v] for each, v in zip(encoded, seen, strict=True)]
    features = [each.features[v] for each, v in zip(encoded, seen, strict=True)]
    taken = [each.taken[v] for each, v in zip(encoded, seen, strict=True)]
    return np.concatenate(stream), np.concatenate(features), np.concatenate(taken).astype(float)


def _counts(encoded: Sequence[Encoded], cell: Integers) -> tuple[Floats, Floats]:
    """Taken and all visible opportunities per stream, or per stream and cell."""
    stream, _, taken = _stack(encoded)
    shape, slot = ((STREAMS, CELLS), stream * CELLS + cell) if len(cell) else ((STREAMS,), stream)
    size = math.prod(shape)
    ones = np.bincount(slot, taken, minlength=size).astype(np.float64).reshape(shape)
    return ones, np.bincount(slot, minlength=size).astype(np.float64).reshape(shape)


def _logit(taken: Floats, count: Floats) -> Floats:
    """Log odds of a rate under Jeffreys' prior."""
    return np.asarray(np.log((taken + 0.5) / (count - taken + 0.5)), np.float64)


def _fit_table(encoded: Sequence[Encoded], shrink: float) -> Hazard:
    _, features, _ = _stack(encoded)
    taken, count = _counts(encoded, np.zeros(0, np.int64))
    rate = ((taken + 0.5) / (count + 1.0))[:, None]
    if len(features):
        ones, all_ = _counts(encoded, table_cells(features))
    else:
        ones, all_ = np.zeros((STREAMS, CELLS)), np.zeros((STREAMS, CELLS))
    p = (ones + shrink * rate) / (all_ + shrink)
    return Hazard("table", {"table": np.log(p) - np.log1p(-p)})


def _fit_loglinear(encoded: Sequence[Encoded], penalty: float) -> Hazard:
    """L2-penalised logistic regression over hashed slots by L-BFGS (Nocedal & Wright 2006, 7.2)."""
    stream, features, taken = _stack(encoded)
    ones, count = _counts(encoded, np.zeros(0, np.int64))
    device = _device()
    start = torch.from_numpy(_logit(ones, count)).to(device)
    model = LogLinear(start).to(device)
    rows = torch.from_numpy(stream).to(device)
    flat = rows[:, None] * BUCKETS + torch.from_numpy(features).to(device)
    x = torch.from_numpy(taken).to(device)
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=60, tolerance_grad=1e-5, tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            model(rows, flat), x, reduction="sum"
        )
        loss = loss + 0.5 * penalty * (model.weights**2).sum()
        loss = loss + 0.5 * ((model.bias - start) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch types it loosely
        return loss

    if len(taken):
        optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch types it loosely
    return Hazard(
        "loglinear",
        {
            "bias": _numpy(model.bias),
            "weights": _numpy(model.weights).reshape(STREAMS, BUCKETS),
        },
    )


def _fit_recurrent(encoded: Sequence[Encoded], settings: TrainSettings, penalty: float) -> Hazard:
    """A GRU's residual on the log-linear logit, by Adam, stopped on a held-out tenth."""
    base = _fit_loglinear(encoded, penalty)
    device = _device()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = Recurrent().to(device)
    batches = _batches(encoded, base, device)
    check, train = batches[::10], [b for i, b in enumerate(batches) if i % 10]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
    best, kept = _loss(model, check), {k: v.clone() for k, v in model.state_dict().items()}
    shuffled = np.random.default_rng(settings.seed)
    patience = 0
    for _ in range(settings.recurrent_epochs):
        for i in shuffled.permutation(len(train)):
            optimiser.zero_grad()
            _batch_loss(model, train[int(i)], "mean").backward()  # type: ignore[no-untyped-call]  # torch
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        now = _loss(model, check)
        if now < best:
            best, kept, patience = now, {k: v.clone() for k, v in model.state_dict().items()}, 0
        else:
            patience += 1
            if patience == 4:
                break
    return Hazard(
        "recurrent",
        {
            **base.tensors,
            "embedding": _numpy(kept["embedding.weight"]),
            "input_weights": _numpy(kept["gru.weight_ih_l0"]),
            "state_weights": _numpy(kept["gru.weight_hh_l0"]),
            "input_bias": _numpy(kept["gru.bias_ih_l0"]),
            "state_bias": _numpy(kept["gru.bias_hh_l0"]),
            "readout": _numpy(kept["readout"]),
        },
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    tokens: Tensor
    row: Tensor
    step: Tensor
    stream: Tensor
    offset: Tensor
    taken: Tensor


def _batches(encoded: Sequence[Encoded], base: Hazard, device: torch.device) -> list[_Batch]:
    """Padded batches of up to 64 trajectories of like length."""
    usable = sorted(
        (each for each in encoded if bool(each.visible.any())), key=lambda each: len(each.tokens)
    )
    out: list[_Batch] = []
    for start in range(0, len(usable), 64):
        some = usable[start : start + 64]
        tokens = np.zeros((len(some), max(len(each.tokens) for each in some), 4), np.int64)
        for number, each in enumerate(some):
            tokens[number, : len(each.tokens)] = each.tokens
        row = np.concatenate([np.full(int(e.visible.sum()), i) for i, e in enumerate(some)])
        step = np.concatenate([e.step[e.visible] for e in some])
        stream, _, taken = _stack(some)
        offset = base.logits(some)[np.concatenate([e.visible for e in some])]
        arrays = (tokens, row, step, stream, offset.astype(np.float32), taken.astype(np.float32))
        out.append(_Batch(*(torch.from_numpy(array).to(device) for array in arrays)))
    return out


def _batch_loss(model: Recurrent, batch: _Batch, reduction: str) -> Tensor:
    residual = cast(Tensor, model(batch.tokens, batch.row, batch.step, batch.stream))
    return torch.nn.functional.binary_cross_entropy_with_logits(
        batch.offset + residual, batch.taken, reduction=reduction
    )


def _loss(model: Recurrent, batches: Sequence[_Batch]) -> float:
    with torch.no_grad():
        return sum(float(_batch_loss(model, batch, "sum")) for batch in batches)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _numpy(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)
