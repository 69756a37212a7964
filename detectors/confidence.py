"""Anytime-valid intervals for a rate per opportunity, and how many opportunities a test needs."""

import math
from functools import lru_cache

import numpy as np

_TILTS = np.geomspace(0.004, 12.0, 40)
"""|theta| of the mixture: the best tilt for n k-in-n data is near sqrt(2 log(1/alpha) / (n p)), so
the grid serves from one opportunity to some millions."""


@lru_cache(maxsize=8192)
def rate_interval(taken: int, opportunities: int, alpha: float) -> tuple[float, float]:
    """Bounds on the mean rate per opportunity that hold at every sample size at once.

    With probability 1 - alpha, for all n together, the mean of the conditional rates p_1..p_n lies
    inside, however they vary and depend on the past. Capital: the mean over theta of
    prod exp(theta x_t) / (1 + p_t (e^theta - 1)), the betting capital of Waudby-Smith & Ramdas 2023
    (section 4) for binary data; log(1 + p (e^theta - 1)) is concave in p, so replacing every p_t by
    their mean can only lower it (Jensen), and Ville's inequality bounds it; discrete mixture as in
    Howard, Ramdas, McAuliffe & Sekhon 2021, section 3.5. Depends on counts alone: no state.
    """
    if opportunities <= 0:
        return 0.0, 1.0
    from scipy.optimize import brentq

    limit = math.log(2.0 / alpha) + math.log(len(_TILTS))

    def excess(rate: float, sign: float) -> float:
        """Log capital against `rate` over the limit; falls towards the observed rate."""
        theta = sign * _TILTS
        terms = theta * taken - opportunities * np.log1p(rate * np.expm1(theta))
        top = float(terms.max())
        return top + math.log(float(np.exp(terms - top).sum())) - limit

    observed = taken / opportunities
    lower, upper = 0.0, 1.0
    if excess(0.0, 1.0) > 0:
        lower = float(brentq(excess, 0.0, observed, args=(1.0,), xtol=1e-13))
    if excess(1.0, -1.0) > 0:
        upper = float(brentq(excess, observed, 1.0, args=(-1.0,), xtol=1e-13))
    return lower, upper


@lru_cache(maxsize=8192)
def opportunities_to_exclude(rate: float, limit: float, alpha: float) -> int | None:
    """Opportunities, taken at `rate`, after which the upper bound of `rate_interval` is below
    `limit`; None if never.

    The inverse of that bound: the least n at which its log capital against `limit`, the log of a
    sum of exp(n gain), passes its threshold. It is convex in n and starts below, so it passes once.
    """
    if not 0 <= rate < limit <= 1:
        return None
    gains = -_TILTS * rate - np.log1p(limit * np.expm1(-_TILTS))
    best = float(gains.max())
    if best <= 0:
        return None
    bare = math.log(2.0 / alpha)
    threshold = bare + math.log(len(_TILTS))
    low, high = math.floor(bare / best), math.ceil(threshold / best) + 1
    while high - low > 1:
        middle = (low + high) // 2
        top = middle * best
        if top + math.log(float(np.exp(middle * gains - top).sum())) > threshold:
            high = middle
        else:
            low = middle
    return high


def kl(rate: float, other: float) -> float:
    """Kullback-Leibler divergence of Bernoulli(rate) from Bernoulli(other), in nats."""
    out = 0.0
    if rate > 0:
        out += math.inf if other <= 0 else rate * math.log(rate / other)
    if rate < 1:
        out += math.inf if other >= 1 else (1 - rate) * math.log((1 - rate) / (1 - other))
    return max(0.0, out)


def needed_opportunities(rate: float, upper: float, log_threshold: float) -> int | None:
    """Opportunities until a true `rate` would be told from at most `upper`; None if never.

    log(threshold) / KL(rate || upper): by Wald's identity no test with that error rate can do with
    fewer on average (Wald 1945; Lorden 1971).
    """
    if not (0 <= upper < rate <= 1):
        return None
    gain = kl(rate, upper)
    if gain <= 0 or not math.isfinite(log_threshold / gain):
        return 1 if math.isinf(gain) else None
    return max(1, math.ceil(log_threshold / gain))


def wilson_interval(successes: int, trials: int, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval for a fixed number of independent trials (Wilson 1927)."""
    from scipy.special import ndtri

    if trials <= 0:
        return 0.0, 1.0
    z = float(ndtri(1 - alpha / 2))
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)
