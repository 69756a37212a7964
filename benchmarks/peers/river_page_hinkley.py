"""river PageHinkley upwards; the parameter is the threshold."""

from adapter import Step, alarms
from river.drift import PageHinkley


def make(parameter, usual):
    def fresh() -> Step:
        detector = PageHinkley(threshold=parameter, mode="up")

        def step(value):
            detector.update(value)
            return detector.drift_detected

        return step

    return fresh


alarms(make)
