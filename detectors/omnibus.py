"""Whether the shape of behaviour has changed at all. Informational: it never pages for unsafe."""

import math
import struct
from dataclasses import dataclass

import numpy as np

from contracts.errors import BaselineError
from detectors.sequential import Floats

_HEADER = struct.Struct("<4sIqdd")
_MAGIC = b"TTO1"
_RATE = 0.5
"""Step of the classifier's gradient, for features of norm at most 1."""


@dataclass(frozen=True, slots=True, eq=False)
class OmnibusState:
    """`weights`: the classifier's, (features,). `log_wealth`: of the bets. `bet`, `curvature`: of
    the online Newton step. `pairs`: how many have been seen.
    """

    weights: Floats
    log_wealth: float
    bet: float
    curvature: float
    pairs: int

    @classmethod
    def new(cls, features: int) -> "OmnibusState":
        return cls(np.zeros(features), 0.0, 0.0, 1.0, 0)

    def to_bytes(self) -> bytes:
        head = _HEADER.pack(_MAGIC, len(self.weights), self.pairs, self.log_wealth, self.bet)
        return head + struct.pack("<d", self.curvature) + self.weights.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "OmnibusState":
        """Raises `BaselineError` for what `to_bytes` did not write."""
        try:
            magic, size, pairs, log_wealth, bet = _HEADER.unpack_from(data)
            if magic != _MAGIC or len(data) != _HEADER.size + 8 + 8 * size:
                raise ValueError("another format")
            (curvature,) = struct.unpack_from("<d", data, _HEADER.size)
            weights = np.frombuffer(data, "<f8", size, _HEADER.size + 8).astype(np.float64)
        except (ValueError, struct.error) as error:
            raise BaselineError(f"the omnibus state cannot be read: {error}") from error
        return cls(weights, log_wealth, bet, curvature, pairs)


def observe(state: OmnibusState, student: Floats, reference: Floats) -> OmnibusState:
    """The state after one trajectory of the student and one of the reference; both (features,).

    A logistic classifier of the pairs seen so far says which is the student's; the payoff is half
    the difference of its scores, in [-1, 1], with mean 0 when both come from one distribution. The
    stake follows the online Newton step and stays in [0, 1/2], so that wealth is an e-process:
    P(ever >= 1 / alpha) <= alpha. Source: Podkopaev & Ramdas 2023 (sequential two-sample testing
    by betting), theorem 1 and algorithm 1; Cutkosky & Orabona 2018 for the stake. The reference's
    trajectory must not have been used before. A pair with a feature that is not finite is passed
    by.
    """
    if not (np.isfinite(student).all() and np.isfinite(reference).all()):
        return state
    a = student / max(1.0, float(np.linalg.norm(student)))
    b = reference / max(1.0, float(np.linalg.norm(reference)))
    here, there = float(state.weights @ a), float(state.weights @ b)
    payoff = (math.tanh(here) - math.tanh(there)) / 2.0
    gained = math.log1p(state.bet * payoff)
    slope = -payoff / (1.0 + state.bet * payoff)
    curvature = state.curvature + slope * slope
    bet = state.bet - 2.0 / (2.0 - math.log(3.0)) * slope / curvature
    push = 1.0 / (1.0 + math.exp(here - there))
    weights = state.weights + _RATE * push * (a - b)
    return OmnibusState(
        weights,
        state.log_wealth + gained,
        min(0.5, max(0.0, bet)),
        curvature,
        state.pairs + 1,
    )


def drifted(state: OmnibusState, alpha: float) -> bool:
    """Whether the wealth is at least 1 / alpha now."""
    return state.log_wealth >= math.log(1.0 / alpha)
