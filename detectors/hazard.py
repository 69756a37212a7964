"""The frozen hazard of a reference: probability that an opportunity is taken, from what was known.

One interface for every rung of the ladder, computed with numpy alone, one recurrent step a call:

    rate       one logit per stream
    table      one logit per stream and context (`features.TABLE_SLOTS`)
    loglinear  hashed log-linear model over all slots
    recurrent  the log-linear logit plus a linear read-out of a GRU's state before the call; not for
               the track `orders`, which is conditional on the role alone (`detectors.features`)
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
        return expit(self.logits(encoded))

    def logits(self, encoded: Encoded) -> Floats:
        """Log odds of each opportunity, (n,)."""
        tensors, stream = self.tensors, encoded.stream
        if self.rung == "table":
            cells = table_cells(encoded.features)
            return np.asarray(tensors["table"][stream, cells], np.float64)
        logit: Floats = tensors["bias"][stream]
        if self.rung == "rate":
            return logit
        logit = logit + tensors["weights"][stream[:, None], encoded.features].sum(axis=1)
        if self.rung == "recurrent":
            state = _states(tensors, encoded.tokens)[encoded.step]
            residual = (tensors["readout"][stream] * state).sum(axis=1)
            logit = logit + np.where(stream == ORDERS, 0.0, residual)
        return logit


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


def _states(tensors: Mapping[str, Floats], tokens: Integers) -> Floats:
    """GRU state before each call, (calls, WIDTH); the gates in torch's order r, z, n.

    Source: Cho et al. 2014; the parametrisation of torch.nn.GRU.
    """
    inputs = tensors["embedding"][tokens].sum(axis=1) @ tensors["input_weights"].T
    inputs += tensors["input_bias"]
    states = np.zeros((len(tokens), WIDTH))
    state = np.zeros(WIDTH)
    for number in range(1, len(tokens)):
        carried = tensors["state_weights"] @ state + tensors["state_bias"]
        given = inputs[number - 1]
        gates = expit(given[: 2 * WIDTH] + carried[: 2 * WIDTH])
        reset, keep = gates[:WIDTH], gates[WIDTH:]
        fresh = np.tanh(given[2 * WIDTH :] + reset * carried[2 * WIDTH :])
        state = keep * state + (1.0 - keep) * fresh
        states[number] = state
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
