"""What every peer's program shares: streams in, alarms or scores out. Runs in the peer's own
environment, so it imports numpy and nothing of Telltale.

Standard input: one JSON object a line with `matrix` (path of a .npy, 0 or 1, (steps, streams)),
`usual` (share of unsafe trajectories before any change) and `parameter`. Standard output: one line
of JSON for each. A detector that only says yes or no gives `alarms`: step of each stream's first
alarm from 1, 0 for none. One that has a score gives `scores`: the path of a .npy, (steps, streams).
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Step = Callable[[int], bool]


def _answers(answer: Callable[[dict], dict]) -> None:
    """Answers every line. What a library prints goes to standard error, out of the answers."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


def alarms(make: Callable[[float, float], Callable[[], Step]]) -> None:
    """`make(parameter, usual)` gives a maker of fresh detectors; each takes one value and says
    whether it alarms.
    """
    made: dict[tuple[float, float], Callable[[], Step]] = {}

    def answer(asked: dict) -> dict:
        key = asked["parameter"], asked["usual"]
        if key not in made:
            made.clear()  # only the last is asked for again
            made[key] = make(*key)
        return {"alarms": list(_first_alarms(made[key], np.load(asked["matrix"])))}

    _answers(answer)


def _first_alarms(fresh: Callable[[], Step], matrix: np.ndarray) -> Iterator[int]:
    for stream in matrix.T.tolist():
        step = fresh()
        yield next((number for number, value in enumerate(stream, 1) if step(value)), 0)


def scores(score: Callable[[Sequence[int], Sequence[int]], float], size: int) -> None:
    """`score(reference, batch)` of every batch of `size`; 0 between the ends of batches."""
    known: dict[tuple[float, int], float] = {}  # a batch of 0 and 1 is its sum

    def answer(asked: dict) -> dict:
        matrix = np.load(asked["matrix"])
        usual = np.zeros(10_000, np.int64)
        usual[: round(10_000 * asked["usual"])] = 1
        out = np.zeros(matrix.shape, np.float32)
        for end in range(size, len(matrix) + 1, size):
            batch = matrix[end - size : end]
            for stream, total in enumerate(batch.sum(axis=0).tolist()):
                key = asked["usual"], total
                if key not in known:
                    known[key] = score(usual.tolist(), batch[:, stream].tolist())
                out[end - 1, stream] = known[key]
        path = asked["matrix"] + ".scores.npy"
        np.save(path, out)
        return {"scores": path}

    _answers(answer)
