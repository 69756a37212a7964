"""What one reference makes of trajectories: their opportunities under its hazards."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contracts.ports import Labelled
from contracts.trajectory import Trajectory
from detectors.baseline import Reference
from detectors.features import Encoded
from detectors.sequential import NO_CONTEXT, Floats, Integers, Opportunities


class Due(NamedTuple):
    """A trajectory to be judged. `place`: its index in the batch; `shape`: `shape.shape` of it,
    None where a part of it was judged before.
    """

    place: int
    labelled: Labelled
    encoded: Encoded
    shape: Floats | None


class Compared(NamedTuple):
    """A due trajectory under one reference. `tracks`: its opportunities per track; `doubtful`: as
    `Reference.doubtful`; `context`: id of its role, `NO_CONTEXT` for one the reference never had.
    """

    place: int
    trajectory: Trajectory
    tracks: tuple[Opportunities, ...]
    doubtful: Integers
    context: int
    shape: Floats | None


def compared(
    reference: Reference, due: Sequence[Due], numbers: Sequence[int]
) -> Mapping[int, Compared]:
    """By index into `due`, those of `numbers`; their hazards are computed together."""
    chosen = [due[number] for number in numbers]
    steps = [each.labelled.trajectory.judged_calls for each in chosen]
    every = reference.many([each.encoded for each in chosen], steps)
    return {
        number: Compared(
            each.place,
            each.labelled.trajectory,
            tracks,
            reference.doubtful(each.labelled.trajectory, each.encoded, step),
            reference.roles.get(each.encoded.role, NO_CONTEXT),
            each.shape,
        )
        for number, each, tracks, step in zip(numbers, chosen, every, steps, strict=True)
    }
