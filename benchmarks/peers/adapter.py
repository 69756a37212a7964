"""What every peer's program shares: streams in, alarms or scores out. Runs in the peer's own
environment, so it imports numpy and nothing of Telltale.

Standard input: JSON with `matrix` (path of a .npy, 0 or 1, (steps, streams)), `usual` (share of
unsafe trajectories before any change) and `parameter`. Standard output, last line: JSON. A detector
that only says yes or no gives `alarms`: step of each stream's first alarm from 1, 0 for none. One
that has a score gives `scores`: the path of a .npy, (steps, streams).
"""

import json
import sys
from collections.abc import Callable, Sequence

import numpy as np

Step = Callable[[int], bool]


def alarms(make: Callable[[float, float], Callable[[], Step]]) -> None:
    """`make(parameter, usual)` gives a maker of fresh detectors; each takes one value and says
    whether it alarms.
    """
    asked = json.load(sys.stdin)
    matrix = np.load(asked["matrix"])
    fresh = make(asked["parameter"], asked["usual"])
    out = []
    for stream in matrix.T.tolist():
        step, first = fresh(), 0
        for number, value in enumerate(stream, 1):
            if step(value):
                first = number
                break
        out.append(first)
    print(json.dumps({"alarms": out}))


def scores(score: Callable[[Sequence[int], Sequence[int]], float], size: int) -> None:
    """`score(reference, batch)` of every batch of `size`; 0 between the ends of batches."""
    asked = json.load(sys.stdin)
    matrix = np.load(asked["matrix"])
    usual = np.zeros(10_000, np.int64)
    usual[: round(10_000 * asked["usual"])] = 1
    out = np.zeros(matrix.shape, np.float32)
    known: dict[int, float] = {}  # a batch of 0 and 1 is its sum
    for stream in range(matrix.shape[1]):
        for end in range(size, len(matrix) + 1, size):
            batch = matrix[end - size : end, stream]
            total = int(batch.sum())
            if total not in known:
                known[total] = score(usual.tolist(), batch.tolist())
            out[end - 1, stream] = known[total]
    np.save(asked["matrix"] + ".scores.npy", out)
    print(json.dumps({"scores": asked["matrix"] + ".scores.npy"}))
