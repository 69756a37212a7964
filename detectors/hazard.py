"""The frozen hazard of a reference: probability that an opportunity is taken, from what was known.

One interface for every rung of the ladder, computed with numpy alone, one recurrent step a call:

    rate       one logit per stream
    table      one logit per stream and context (`features.TABLE_SLOTS`)
    loglinear  hashed log-linear model over all slots
    recurrent  the log-linear logit plus a linear read-out of a GRU's state before the call, where
               the whole history may be read (`reads_history`)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from contracts.errors import BaselineError
from detectors.features import BUCKETS, ORDERS, SLOTS, STREAMS, TABLE_SLOTS, Encoded

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Rung = Literal["rate", "table", "loglinear", "recurrent"]
RUNGS: Final[tuple[Rung, ...]] = get_args(Rung)

CELLS: Final = 512
"""Cells of the table; contexts are hashed into them."""
WIDTH: Final = 64
EMBEDDING: Final = 32
"""Sizes of the recurrent state and of a token."""

SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "bias": (STREAMS,),
    "table": (STREAMS, CELLS),
    "weights": (STREAMS, BUCKETS),
    "embedding": (BUCKETS, EMBEDDING),
    "input_weights": (3 * WIDTH, EMBEDDING),
    "state_weights": (3 * WIDTH, WIDTH),
    "input_bias": (3 * WIDTH,),
    "state_bias": (3 * WIDTH,),
    "readout": (STREAMS, WIDTH),
}
TENSORS: Final[Mapping[Rung, tuple[str, ...]]] = {
    "rate": ("bias",),
    "table": ("table",),
    "loglinear": ("bias", "weights"),
    "recurrent": tuple(name for name in SHAPES if name != "table"),
}
_TOGETHER: Final = 1_024
"""Trajectories whose hazards are computed at once; bounds the memory."""
_TABLE_COLUMNS: Final = [SLOTS.index(slot) for slot in TABLE_SLOTS]


@dataclass(frozen=True, slots=True)
class Hazard:
    """A rung and its parameters. Raises `BaselineError` where they are not a rung's."""

    rung: Rung
    tensors: Mapping[str, Floats]

    def __post_init__(self) -> None:
        if set(self.tensors) != set(TENSORS[self.rung]):
            raise BaselineError(f"a {self.rung} hazard has {', '.join(TENSORS[self.rung])}")
        for name, tensor in self.tensors.items():
            if tensor.shape != SHAPES[name]:
                raise BaselineError(f"{name} has shape {tensor.shape}, not {SHAPES[name]}")
            if not bool(np.isfinite(tensor).all()):
                raise BaselineError(f"{name} holds numbers that are not finite")

    def __call__(self, encoded: Encoded) -> Floats:
        """Hazard of each opportunity, (n,)."""
        return self.many([encoded])[0]

    def many(self, encoded: Sequence[Encoded]) -> list[Floats]:
        """Hazards of each trajectory's opportunities, computed together."""
        out: list[Floats] = []
        for start in range(0, len(encoded), _TOGETHER):
            some = encoded[start : start + _TOGETHER]
            ends = np.cumsum([len(each) for each in some])
            out += np.split(expit(self.logits(some)), ends[:-1])
        return out

    def logits(self, encoded: Sequence[Encoded]) -> Floats:
        """Log odds of all opportunities of the trajectories, one after the other, (n,)."""
        tensors = self.tensors
        stream = np.concatenate([each.stream for each in encoded])
        if self.rung == "rate":
            return np.asarray(tensors["bias"][stream], np.float64)
        features = np.concatenate([each.features for each in encoded])
        if self.rung == "table":
            return np.asarray(tensors["table"][stream, table_cells(features)], np.float64)
        logit: Floats = tensors["bias"][stream]
        logit = logit + tensors["weights"][stream[:, None], features].sum(axis=1)
        if self.rung == "recurrent":
            starts = np.cumsum([0, *(len(each.tokens) for each in encoded)])
            at = np.concatenate(
                [each.step + start for each, start in zip(encoded, starts, strict=False)]
            )
            state = _states(tensors, [each.tokens for each in encoded])[at]
            residual = (tensors["readout"][stream] * state).sum(axis=1)
            free = reads_history(stream, np.concatenate([each.first for each in encoded]))
            logit = logit + np.where(free, residual, 0.0)
        return logit


def reads_history(stream: Integers, first: Flags) -> Flags:
    """Opportunities whose hazard may depend on all that came before, (n,): neither those of the
    track `orders`, which is conditional on the role alone, nor the first acts of a family, which
    are compared by `features.OUTER_SLOTS`.
    """
    free: Flags = (stream != ORDERS) & ~first
    return free


def expit(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    half = 0.5 * np.tanh(0.5 * logits)
    return np.asarray(0.5 + half, np.float64)


def table_cells(features: Integers) -> Integers:
    """Cell of the table of each opportunity, (n,)."""
    mixed = np.zeros(len(features), np.int64)
    for column in _TABLE_COLUMNS:
        mixed = mixed * 1_000_003 + features[:, column]
    return mixed % CELLS


def _states(tensors: Mapping[str, Floats], tokens: Sequence[Integers]) -> Floats:
    """GRU state before each call of each trajectory, one after the other, (calls, WIDTH).

    All trajectories advance together, the longest first in the matrix, so that those that have
    ended lie behind. The gates in torch's order r, z, n. Source: Cho et al. 2014; the
    parametrisation of torch.nn.GRU.
    """
    lengths = np.array([len(each) for each in tokens], np.int64)
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    begin = starts[order]
    inputs = tensors["embedding"][np.concatenate(tokens)].sum(axis=1) @ tensors["input_weights"].T
    inputs += tensors["input_bias"]
    states = np.zeros((len(inputs), WIDTH))
    state = np.zeros((len(tokens), WIDTH))
    for number in range(1, int(lengths.max(initial=0))):
        going = int((lengths > number).sum())
        here = begin[:going] + number
        state = state[:going]
        carried = state @ tensors["state_weights"].T + tensors["state_bias"]
        given = inputs[here - 1]
        gates = expit(given[:, : 2 * WIDTH] + carried[:, : 2 * WIDTH])
        reset, keep = gates[:, :WIDTH], gates[:, WIDTH:]
        fresh = np.tanh(given[:, 2 * WIDTH :] + reset * carried[:, 2 * WIDTH :])
        state = keep * state + (1.0 - keep) * fresh
        states[here] = state
    return states


def log_likelihood(
    hazards: Sequence[Floats], encoded: Sequence[Encoded], streams: Flags | None = None
) -> Floats:
    """Sum over a trajectory's visible opportunities of log P(taken or not), per trajectory.

    `streams`: which streams count, (STREAMS,); None: all.
    """
    out = np.zeros(len(encoded))
    for number, (hazard, each) in enumerate(zip(hazards, encoded, strict=True)):
        kept = each.visible if streams is None else each.visible & streams[each.stream]
        p = np.clip(hazard[kept], 1e-12, 1 - 1e-12)
        out[number] = float(np.where(each.taken[kept], np.log(p), np.log1p(-p)).sum())
    return out
