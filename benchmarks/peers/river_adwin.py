"""river ADWIN; the parameter is delta."""

from adapter import Step, alarms
from river.drift import ADWIN


def make(parameter, usual):
    def fresh() -> Step:
        detector = ADWIN(delta=parameter, clock=1)

        def step(value):
            detector.update(value)
            return detector.drift_detected and detector.estimation > usual

        return step

    return fresh


alarms(make)
