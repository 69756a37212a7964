"""What judging a growing trajectory again from its start costs: CPU seconds per stage.

    python -m benchmarks.pieces FOLDER [--calls 500] [--pieces 50] [--together 64]

Calls of FOLDER (laid out as ../shared/trajectories) are put into one trajectory, which arrives in
pieces. After each piece all of it is labelled, encoded and given its hazards again, as the daemon
does: the recurrent state is computed anew and not stored. `together`: that many sessions of the
full length at once, a recurrent step a call for all of them.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.trajectories import Folder
from detectors.features import Encoded, encode
from detectors.hazard import SHAPES, TENSORS, Hazard, Rung
from detectors.rules.pack import RulePack

SECOND_NS = 1_000_000_000


def drawn(rung: Rung) -> Hazard:
    """A hazard of the rung with weights drawn at random: what it costs does not depend on them."""
    rng = np.random.default_rng(0)
    return Hazard(rung, {name: rng.normal(0, 0.1, SHAPES[name]) for name in TENSORS[rung]})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--pieces", type=int, default=50)
    parser.add_argument("--together", type=int, default=64)
    options = parser.parse_args()
    some = Folder(options.folder).select("n_calls >= 20")
    found = [call for trajectory in some for call in trajectory.calls][: options.calls]
    calls = tuple(
        replace(
            call, trajectory_id="grown", step=step,
            started_ns=some[0].started_ns + step * SECOND_NS,
        )
        for step, call in enumerate(found)
    )  # fmt: skip
    pack, hazards = RulePack.load(), {rung: drawn(rung) for rung in ("loglinear", "recurrent")}
    pack.label(calls[:1])
    seconds: dict[str, float] = {}
    encoded: Encoded | None = None
    for piece in range(1, options.pieces + 1):
        arrived = calls[: len(calls) * piece // options.pieces]
        marks = [time.process_time()]
        labels = pack.label(arrived, some[0].request)
        marks.append(time.process_time())
        encoded = encode(replace(some[0], trajectory_id="grown", calls=arrived), labels)
        marks.append(time.process_time())
        for hazard in hazards.values():
            hazard(encoded)
            marks.append(time.process_time())
        for what, spent in zip(("labels", "features", *hazards), np.diff(marks), strict=True):
            seconds[what] = seconds.get(what, 0.0) + float(spent)
    print(f"{len(calls)} calls in {options.pieces} pieces, CPU s:")
    print("  ".join(f"{what} {spent:.3f}" for what, spent in seconds.items()))
    if encoded is not None:
        for rung, hazard in hazards.items():
            began = time.process_time()
            hazard.many([encoded] * options.together)
            each = (time.process_time() - began) / options.together / len(calls)
            print(f"{options.together} such sessions together, {rung}: {each * 1e6:.1f} us a call")
    return 0


if __name__ == "__main__":
    sys.exit(main())
