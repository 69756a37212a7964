"""Fitting the ladder: every rung cross-fitted, the simplest one that is not beaten is frozen.

A fold's model never saw the trajectories it is asked about: not for its weights, nor for its
penalty, nor for when it stopped. Deterministic with a seed on one machine: one thread, because
sums in another order have other bits, and because threads that wait for each other on a shared
machine cost more than they save on problems of this size.
"""

# pyright: reportUnknownMemberType=false
# (torch's optimisers and autograd are only partly typed)

import hashlib
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
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
    reads_history,
    table_cells,
)
from detectors.model import LogLinear, Recurrent

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """`folds` of the cross-fit. `penalties`: L2 strengths tried, on at most `tuned_on`
    trajectories. `rungs` that compete; the sequence model only from `recurrent_from` trajectories,
    so that a tenth of them can tell when to stop. `shrink`: opportunities that a stream's rate is
    worth in a cell of the table. `fewest_events`: of a stream for it to have a say in the choice of
    the rung. `device`: of torch; "" takes the GPU where there is one.
    """

    folds: int = 4
    penalties: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    tuned_on: int = 2_000
    rungs: tuple[Rung, ...] = RUNGS
    recurrent_from: int = 200
    recurrent_epochs: int = 30
    shrink: float = 8.0
    seed: int = 0
    fewest_events: int = 10
    device: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The frozen hazard and what chose it.

    `crossfitted`: hazard of each opportunity of each trajectory, of a model that did not see it.
    `likelihood`: mean held-out log-likelihood per opportunity of each rung that competed, over the
    streams with events enough to tell rungs apart. `penalty`: of the model that is frozen; folds
    choose their own.
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
    rungs: list[Rung] = [
        rung
        for rung in RUNGS
        if rung in settings.rungs
        and (rung != "recurrent" or len(encoded) >= settings.recurrent_from)
    ]
    per_rung: dict[Rung, list[Floats]] = {rung: [np.zeros(0)] * len(encoded) for rung in rungs}
    for number in range(settings.folds):
        held = [i for i in order if fold[i] == number]
        kept = [encoded[i] for i in order if fold[i] != number]
        penalty = _penalty(kept, settings)
        for place, rung in enumerate(rungs):
            done = (number + place / len(rungs)) / (settings.folds + 1)
            progress(f"{rung}, fold {number + 1}", done)
            model = fit_rung(rung, kept, settings, penalty)
            crossed = model.many([encoded[i] for i in held])
            for i, hazard in zip(held, crossed, strict=True):
                per_rung[rung][i] = hazard
    telling = _telling(encoded, settings.fewest_events)
    scores: dict[Rung, Floats] = {
        rung: log_likelihood(per_rung[rung], encoded, telling) for rung in rungs
    }
    best = _simplest(rungs, scores)
    progress(f"{best}, all trajectories", settings.folds / (settings.folds + 1))
    every = [encoded[i] for i in order]
    penalty = _penalty(every, settings)
    frozen = fit_rung(best, every, settings, penalty)
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


def _penalty(encoded: Sequence[Encoded], settings: TrainSettings) -> float:
    """The L2 strength with the best held-out likelihood on a split of at most `tuned_on`."""
    if len(settings.penalties) == 1 or not {"loglinear", "recurrent"} & set(settings.rungs):
        return settings.penalties[0]
    kept, held = _split(encoded, settings)

    def score(penalty: float) -> float:
        model = _fit_loglinear(kept, penalty)
        return float(log_likelihood(model.many(held), held).sum())

    with _one_thread():
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
    with _one_thread():
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
    """L2-penalised logistic regression over hashed slots by L-BFGS (Nocedal & Wright 2006, 7.2).

    Opportunities with equal features are one binomial: the likelihood is the same and there are
    several times fewer of them. It takes a fraction of a second, on the CPU everywhere.
    """
    stream, features, taken = _stack(encoded)
    ones, count = _counts(encoded, np.zeros(0, np.int64))
    start = torch.from_numpy(_logit(ones, count))
    model = LogLinear(start)
    # int16 holds every stream and bucket; sorting it costs a quarter of the memory
    rows = np.concatenate([stream[:, None], features], axis=1).astype(np.int16)
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    which = which.reshape(-1)
    place = torch.from_numpy(distinct.astype(np.int64))
    flat = place[:, :1] * BUCKETS + place[:, 1:]
    trials = torch.from_numpy(np.bincount(which, minlength=len(distinct)).astype(np.float64))
    successes = torch.from_numpy(np.bincount(which, taken, len(distinct)))
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=60, tolerance_grad=1e-5, tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        logit = cast(Tensor, model(place[:, 0], flat))
        loss = (trials * torch.nn.functional.softplus(logit) - successes * logit).sum()
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
    """A GRU's residual on the log-linear logit, by Adam, stopped on a tenth that it is not fitted
    to (Prechelt 1998).
    """
    base = _fit_loglinear(encoded, penalty)
    device = device_of(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = Recurrent().to(device)
    tenth = folds_of(encoded, 10)
    train, check = (
        _batches([each for each, mine in zip(encoded, part, strict=True) if mine], base, device)
        for part in (tenth != 0, tenth == 0)
    )
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
    """Padded batches of up to 64 trajectories of like length, with the opportunities that the
    residual is for.
    """
    usable = sorted(
        (each for each in encoded if bool(_learnt(each).any())), key=lambda each: len(each.tokens)
    )
    out: list[_Batch] = []
    for start in range(0, len(usable), 64):
        some = usable[start : start + 64]
        tokens = np.zeros((len(some), max(len(each.tokens) for each in some), 4), np.int64)
        for number, each in enumerate(some):
            tokens[number, : len(each.tokens)] = each.tokens
        rows = [_learnt(each) for each in some]
        row = np.repeat(np.arange(len(some)), [int(r.sum()) for r in rows])
        step, stream, taken = (
            np.concatenate([array[r] for array, r in zip(arrays, rows, strict=True)])
            for arrays in (
                [each.step for each in some],
                [each.stream for each in some],
                [each.taken for each in some],
            )
        )
        offset = base.logits(some)[np.concatenate(rows)]
        arrays = (tokens, row, step, stream, offset.astype(np.float32), taken.astype(np.float32))
        out.append(_Batch(*(torch.from_numpy(array).to(device) for array in arrays)))
    return out


def _learnt(encoded: Encoded) -> Flags:
    """Opportunities that the residual is fitted to, (n,)."""
    return encoded.visible & reads_history(encoded.stream, encoded.first)


def _batch_loss(model: Recurrent, batch: _Batch, reduction: str) -> Tensor:
    residual = cast(Tensor, model(batch.tokens, batch.row, batch.step, batch.stream))
    return torch.nn.functional.binary_cross_entropy_with_logits(
        batch.offset + residual, batch.taken, reduction=reduction
    )


def _loss(model: Recurrent, batches: Sequence[_Batch]) -> float:
    with torch.no_grad():
        return sum(float(_batch_loss(model, batch, "sum")) for batch in batches)


def device_of(settings: TrainSettings) -> torch.device:
    """Where the sequence model is fitted. The bits are the same again on a CPU; a GPU's kernels may
    add in another order.
    """
    return torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def _one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _numpy(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)
