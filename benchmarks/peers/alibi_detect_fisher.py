"""alibi-detect's online Fisher exact test for a rise; the parameter is its expected run time."""

import numpy as np
from adapter import Step, alarms
from alibi_detect.cd import FETDriftOnline, fet_online

REFERENCE = 5_000


class RememberedHypergeometric:
    """`scipy.stats.hypergeom.cdf` looked up: a window holds few different counts, and without this
    the detector takes a hundred times as long for the same numbers.
    """

    def __init__(self, exact):
        self._exact = exact
        self._tables = {}

    def cdf(self, k, total, marked, drawn):
        usual = int(np.ravel(k)[0])
        key = usual, int(total), int(drawn)
        if key not in self._tables:
            counts = usual + np.arange(int(total) - int(drawn) + 1)
            self._tables[key] = self._exact.cdf(usual, total, counts, drawn)
        return self._tables[key][np.asarray(marked) - usual]


fet_online.hypergeom = RememberedHypergeometric(fet_online.hypergeom)

_binomial = np.random.binomial
# its share of ties to keep can be below 0 or above 1 by rounding, and the draw then fails
np.random.binomial = lambda n, p: _binomial(n, min(1.0, max(0.0, p)))


def make(parameter, usual):
    reference = np.zeros(REFERENCE, np.int64)
    reference[: round(REFERENCE * usual)] = 1
    np.random.seed(0)
    detector = FETDriftOnline(
        reference,
        ert=parameter,
        window_sizes=[50, 200],
        n_bootstraps=max(10_000, int(5 * parameter)),  # it refuses to estimate rarer quantiles
        verbose=False,
    )

    def fresh() -> Step:
        detector.reset_state()

        def step(value):
            return bool(detector.predict(np.array(value))["data"]["is_drift"])

        return step

    return fresh


alarms(make)
