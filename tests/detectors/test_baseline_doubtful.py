"""Opportunities that speak for no `clear`: unknown tools, and times that are missing or wrong."""

from collections.abc import Callable
from dataclasses import replace

from contracts.ports import Labeller
from contracts.trajectory import Call, Trajectory
from detectors.baseline import Reference
from detectors.features import encode


def test_what_led_to_an_opportunity_must_be_known(
    make: Callable[..., list[Trajectory]],
    freeze: Callable[..., Reference],
    labeller: Labeller,
) -> None:
    reference = freeze(make(20, 0.2))

    def doubtful(step: int, **changes: object) -> tuple[int, int]:
        """Doubtful and visible opportunities of a trajectory with one call changed."""
        one = make(1, 0.0)[0]
        calls: list[Call] = list(one.calls)
        calls[step] = replace(calls[step], **changes)  # type: ignore[arg-type]  # fields of Call
        one = replace(one, calls=tuple(calls))
        encoded = encode(one, labeller.label(one.calls))
        return int(reference.doubtful(one, encoded).sum()), int(encoded.visible.sum())

    found, visible = doubtful(1)
    assert (found, visible > 1) == (0, True)
    for step in (0, 1):
        assert doubtful(step, started_ns=0) == (visible, visible)
        assert doubtful(step, duration_ns=-1) == (visible, visible)
    found, visible = doubtful(1, tool="tidy_up_all")
    assert found < visible
