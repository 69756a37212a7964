"""How far the bound of one role may stand from the overall one, by what the reference's roles tell.

Model per category: O_c ~ Poisson(E_c rho g_c), with O_c observed and E_c expected in role c, rho
the overall ratio, and g_c ~ Gamma of mean 1 and standard deviation s, how much roles differ. s is
not estimated by one number, which a handful of events cannot give, but averaged over by its
posterior under a half-normal prior of scale `SPREAD`. With no events the bound is that of an
unknown role; with many it is the role's own. Source: Gelman 2006 (a weakly informative prior on
the standard deviation between groups); Roever et al. 2021 (half-normal priors for heterogeneity on
the log scale); Lawless 1987 (Poisson counts with Gamma effects are negative binomial); in full in
docs/decisions/0004.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from detectors.upper_hazard import ALL, CONTEXTS_FROM, Calibration

SPREAD: Final = 1.0
"""Scale of the prior on the standard deviation between roles: a factor of e is nothing unusual."""
_SPREADS: Final = np.linspace(0.05, 3.0, 40)


def widened(calibration: Calibration, delta: float) -> Calibration:
    """The calibration with the 1 - delta posterior quantile of each role's ratio as its bound.

    Never below the bound that stands. The quantile multiplies the overall upper bound, so that
    delta is spent on both. A reference of one role knows nothing of differences: it stays.
    """
    from scipy.special import gammainc, gammaln

    if calibration.contexts < 2:
        return calibration
    context = slice(CONTEXTS_FROM, calibration.cells)
    divisor = calibration.overdispersion[:, None]
    observed = calibration.observed[:, context] / divisor
    mean = calibration.expected[:, context] / divisor * calibration.ratio[:, None]
    # below, axes are categories, roles and values of s
    shape = (1 / _SPREADS**2)[None, None, :]
    o, m = observed[:, :, None], mean[:, :, None]
    likelihood = gammaln(o + shape) - gammaln(shape) - shape * np.log1p(m / shape)
    likelihood = likelihood + o * np.log(np.maximum(m, 1e-300) / (m + shape)) * (o > 0)
    log_weight = likelihood.sum(axis=1) - 0.5 * (_SPREADS / SPREAD) ** 2
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    low, high = np.zeros(mean.shape), np.full(mean.shape, 1e3)
    for _ in range(50):
        middle = (low + high) / 2
        below = gammainc(shape + o, middle[:, :, None] * (shape + m))
        short = (below * weight[:, None, :]).sum(axis=2) < 1 - delta
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    overall = calibration.upper[:, ALL, None]
    upper = calibration.upper.copy()
    upper[:, context] = np.maximum(upper[:, context], high * overall)
    return replace(calibration, upper=upper)
