"""frouros CUSUM; the parameter is lambda."""

from adapter import Step, alarms
from frouros.detectors.concept_drift import CUSUM, CUSUMConfig


def make(parameter, usual):
    def fresh() -> Step:
        detector = CUSUM(config=CUSUMConfig(lambda_=parameter))

        def step(value):
            detector.update(value=value)
            return detector.drift

        return step

    return fresh


alarms(make)
