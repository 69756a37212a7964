"""alibi-detect's online Fisher exact test for a rise; the parameter is its expected run time."""

import numpy as np
from adapter import Step, alarms
from alibi_detect.cd import FETDriftOnline


def make(parameter, usual):
    reference = np.zeros(5000, np.int64)
    reference[: round(5000 * usual)] = 1
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
