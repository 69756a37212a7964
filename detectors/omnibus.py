"""Whether the shape of behaviour has changed at all. Informational: it never pages for unsafe.

A predictive two-sample test. Each trajectory of the student is put beside one of the reference that
was drawn at random, of the same role and not used before; an online classifier, which has learnt
from the pairs so far, bets on which of the two is the student's. Where both come from one
distribution nobody can tell, whatever the classifier, and its wealth is an e-process.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from contracts.errors import BaselineError
from detectors.sequential import MOST_CONTEXTS, Floats, Integers
from detectors.shape import FEATURES

_HEADER: Final = struct.Struct("<4sqqd")
_MAGIC: Final = b"TTO2"
_SIZE: Final = _HEADER.size + 2 * MOST_CONTEXTS + 8 * FEATURES
_RATE: Final = 1.0
"""Step of the classifier's gradient, for features of norm 1."""


@dataclass(frozen=True, slots=True, eq=False)
class OmnibusState:
    """`weights`: the classifier's, (FEATURES,). `log_wealth`: of the bets. `pairs`: how many have
    been seen. `used`: vectors of the reference used per context, (MOST_CONTEXTS,). `drift_at`:
    number of the trajectory at which the wealth first was 1 / alpha, 0 before. Never changed in
    place.
    """

    weights: Floats
    log_wealth: float
    pairs: int
    used: Integers
    drift_at: int

    @classmethod
    def new(cls) -> "OmnibusState":
        """Before the first pair."""
        return cls(np.zeros(FEATURES), 0.0, 0, np.zeros(MOST_CONTEXTS, np.int64), 0)

    def to_bytes(self) -> bytes:
        return b"".join(
            [
                _HEADER.pack(_MAGIC, self.pairs, self.drift_at, self.log_wealth),
                self.used.astype("<u2").tobytes(),
                self.weights.astype("<f8").tobytes(),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "OmnibusState":
        """What `to_bytes` wrote, to the last bit. Raises `BaselineError` for anything else."""
        if len(data) != _SIZE or not data.startswith(_MAGIC):
            raise BaselineError("the omnibus state cannot be read: another format")
        _, pairs, drift_at, log_wealth = _HEADER.unpack_from(data)
        used = np.frombuffer(data, "<u2", MOST_CONTEXTS, _HEADER.size).astype(np.int64)
        weights = np.frombuffer(data, "<f8", FEATURES, _HEADER.size + 2 * MOST_CONTEXTS)
        return cls(weights.astype(np.float64), log_wealth, pairs, used, drift_at)


def observe(state: OmnibusState, student: Floats, reference: Floats) -> OmnibusState:
    """The state after one pair; both (FEATURES,), of norm at most 1.

    With p the chance that a logistic classifier of the pairs before gives to the true order, the
    wealth is multiplied by p / (1/2): mean 1 if the order is a fair coin, so P(ever >= 1 / alpha)
    <= alpha. Source: Podkopaev & Ramdas 2023 (sequential predictive two-sample testing), section 2,
    with the likelihood-ratio payoff of Lheritier & Cazals 2018, theorem 1; Ville's inequality. A
    pair with a feature that is not finite is passed by.
    """
    apart = student - reference
    if not bool(np.isfinite(apart).all()):
        return state
    score = float(state.weights @ apart)
    log_right = -float(np.logaddexp(0.0, -score))
    return replace(
        state,
        weights=state.weights - _RATE * math.expm1(log_right) * apart,
        log_wealth=state.log_wealth + math.log(2.0) + log_right,
        pairs=state.pairs + 1,
    )


def follow(
    state: OmnibusState,
    sample: Floats,
    seen: Sequence[tuple[int, int, Floats]],
    alpha: float,
) -> OmnibusState:
    """The state after trajectories of the student: number, context id and vector of each.

    `sample`: the reference's, (n, WIDTH). A trajectory without a vector of its context left makes
    no pair.
    """
    contexts = sample[:, 0].astype(np.int64)
    for number, context, vector in seen:
        if not 0 <= context < MOST_CONTEXTS:
            continue
        place = np.flatnonzero(contexts == context)
        taken = int(state.used[context])
        if taken >= len(place):
            continue
        used = state.used.copy()
        used[context] += 1
        state = observe(replace(state, used=used), vector, sample[place[taken], 1:])
        if not state.drift_at and drifted(state, alpha):
            state = replace(state, drift_at=number)
    return state


def left(state: OmnibusState, sample: Floats) -> int:
    """Vectors of the reference not used yet, of the contexts that the student has been in; of all
    before the first pair. 0: the test is at its end.
    """
    every = np.bincount(sample[:, 0].astype(np.int64), minlength=MOST_CONTEXTS)[:MOST_CONTEXTS]
    rest = every - state.used
    return int(rest[state.used > 0].sum() if state.pairs else rest.sum())


def drifted(state: OmnibusState, alpha: float) -> bool:
    """Whether the wealth is at least 1 / alpha now."""
    return state.log_wealth >= math.log(1.0 / alpha)
