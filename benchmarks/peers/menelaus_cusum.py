"""menelaus CUSUM, told the true mean and deviation; the parameter is the threshold."""

import math

import numpy as np
from adapter import Step, alarms
from menelaus.change_detection import CUSUM


def make(parameter, usual):
    def fresh() -> Step:
        detector = CUSUM(
            target=usual,
            sd_hat=math.sqrt(usual * (1 - usual)),
            threshold=parameter,
            direction="positive",
        )

        def step(value):
            detector.update(np.array([[value]]))
            return detector.drift_state == "drift"

        return step

    return fresh


alarms(make)
