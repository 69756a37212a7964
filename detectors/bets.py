"""What is bet on: alternatives to the reference's upper hazard, and what each bet pays.

A bet is a line on the scale of log odds. A tilt (slope 1) multiplies the odds by a factor. A bet
towards a level goes a share of the way to a habit, the same whatever the situation: an agent that
has learnt to act at 40 % of opportunities does so where the reference acts at 1 % and where it acts
at 10 %, and rare acts rise by larger factors than common ones. The shares were chosen on simulated
worlds other than those that are published (`detectors.simulate`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_FARTHEST = 700.0
"""Log odds beyond which a hazard counts as 0 or 1; exp overflows at 709."""


class Bet(NamedTuple):
    """Log odds of the alternative: `shift` + `slope` * log odds of the upper hazard, never below
    it. `whole`, `part`: its share of the weight of the whole, and of a part of the opportunities.
    """

    shift: float
    slope: float
    whole: float
    part: float


def tilt(odds: float, whole: float, part: float = 0.0) -> Bet:
    """The odds rise by a factor. Raises `ValueError` for a factor of 1 or less."""
    if not odds > 1:
        raise ValueError(f"a bet is on a rise: a factor above 1, not {odds}")
    return Bet(math.log(odds), 1.0, whole, part)


def towards(level: float, share: float, whole: float, part: float = 0.0) -> Bet:
    """The log odds go a `share` of the way to those of `level`. Raises `ValueError` unless both are
    between 0 and 1.
    """
    if not (0 < level < 1 and 0 < share < 1):
        raise ValueError(f"level and share are between 0 and 1, not {level} and {share}")
    return Bet(share * math.log(level / (1 - level)), 1.0 - share, whole, part)


BETS: tuple[Bet, ...] = (
    tilt(1.5, 0.26),
    tilt(2.2, 0.18),
    tilt(7.0, 0.08, 0.5),
    towards(0.8, 0.3, 0.24, 0.5),
    towards(0.5, 0.65, 0.14),
    towards(0.95, 0.65, 0.10),
)
"""Small rises, which take longest, have the most weight. In a part of the opportunities a small
factor could not be found in any useful time and a huge one shows in the whole: parts bet on those
between."""


def shares(bets: Sequence[Bet]) -> Floats:
    """How a cell shares its weight over the bets: row 0 for everything, row 1 for a part. A share
    that no bet has is spread evenly.
    """
    rows = np.array([[each.whole for each in bets], [each.part for each in bets]], np.float64)
    rows[rows.sum(axis=1) <= 0] = 1.0
    out: Floats = rows / rows.sum(axis=1, keepdims=True)
    return out


def log_increments(upper: Floats, taken: Flags, bets: Sequence[Bet]) -> Floats:
    """Log e-value of each opportunity under each bet; shape (n, bets).

    (q / u)^x ((1 - q) / (1 - u))^(1 - x) with q >= u: its mean under x ~ Bernoulli(p) is
    1 + (p - u) (q - u) / (u (1 - u)) <= 1 for p <= u, the bet 1 + lambda (x - u) with
    lambda = (q - u) / (u (1 - u)). What u = 0 forbids and yet happened settles the matter: e^1000.
    Source: Waudby-Smith & Ramdas 2023, section 2; Shin, Ramdas & Rinaldo 2022, section 3.
    """
    lines = np.array([each[:2] for each in bets], np.float64)
    with np.errstate(divide="ignore"):
        usual = np.log(upper) - np.log1p(-upper)
    usual = np.clip(usual, -_FARTHEST, _FARTHEST)[:, None]
    other = np.maximum(usual, lines[:, 0] + lines[:, 1] * usual)
    won: Floats = np.logaddexp(0.0, -usual) - np.logaddexp(0.0, -other)
    lost: Floats = np.logaddexp(0.0, usual) - np.logaddexp(0.0, other)
    gain = np.where(taken[:, None], won, lost)
    gain[upper <= 0] = np.where(taken[upper <= 0], 1000.0, 0.0)[:, None]
    return gain
