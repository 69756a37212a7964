"""What judging costs at run time: processor time a call by stage, and the size of stored states.

    python -m benchmarks.cost FOLDER [--trajectories 2000] [--rounds 5]

Half of the trajectories of FOLDER (laid out as ../shared/trajectories, all sources mixed) become a
reference, the other half is judged. `update` is the sequential tests of all sixteen categories on
both tracks, as one subject's in batches of 64 trajectories and one by one; `observe` is the whole
way from labels to verdicts in batches of 64. Medians of the rounds, interleaved.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.trajectories import Folder
from contracts.ports import Labelled
from contracts.trajectory import Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.bench import DetectorBench
from detectors.detector import DetectorState, update
from detectors.features import encode
from detectors.rules.pack import RulePack
from detectors.sequential import Opportunities, Settings

TOGETHER = 64
Tracks = list[tuple[Opportunities, ...]]


def tests(reference: Reference, settings: Settings, tracks: Tracks, together: int) -> None:
    """Run the tests of one subject over its trajectories, `together` at once."""
    for track, calibration in enumerate(reference.calibrations):
        state = DetectorState.new(calibration, settings)
        for start in range(0, len(tracks), together):
            batch = [each[track] for each in tracks[start : start + together]]
            state, _ = update(state, calibration, batch, settings)


def observed(
    reference: Reference, settings: Settings, labelled: Sequence[Labelled]
) -> tuple[int, int]:
    """Judge everything in batches; bytes of the largest state of a subject and reference, and how
    many there are.
    """
    bench = DetectorBench([reference], settings)
    states: dict[str, bytes] = {}
    for start in range(0, len(labelled), TOGETHER):
        states |= bench.observe(labelled[start : start + TOGETHER], 1).states
    return max(map(len, states.values())), len(states)


def measured(
    judged: Sequence[Trajectory], reference: Reference, pack: RulePack, rounds: int
) -> tuple[dict[str, float], int]:
    """Median microseconds of processor time a call by stage, and the largest state in bytes."""
    settings = Settings()
    subject = judged[0].subject()
    labels = [pack.label(each.calls, each.request) for each in judged]
    labelled = [Labelled(each, found, subject) for each, found in zip(judged, labels, strict=True)]
    encoded = [encode(each, found) for each, found in zip(judged, labels, strict=True)]
    tracks = reference.many(encoded, [0] * len(encoded))
    largest = 0

    def observe() -> None:
        nonlocal largest
        largest, _ = observed(reference, settings, labelled)

    stages: dict[str, Callable[[], object]] = {
        "label": lambda: [pack.label(each.calls, each.request) for each in judged],
        "encode": lambda: [encode(e, found) for e, found in zip(judged, labels, strict=True)],
        "hazard": lambda: reference.many(encoded, [0] * len(encoded)),
        f"update, batches of {TOGETHER}": lambda: tests(reference, settings, tracks, TOGETHER),
        "update, one by one": lambda: tests(reference, settings, tracks, 1),
        f"observe, batches of {TOGETHER}": observe,
    }
    calls = sum(len(each.calls) for each in judged)
    spent: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, run in stages.items():
            began = time.process_time()
            run()
            spent[name].append((time.process_time() - began) / calls * 1e6)
    return {name: statistics.median(each) for name, each in spent.items()}, largest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trajectories", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    every = Folder(options.folder).select("true")[: options.trajectories]
    pack = RulePack.load()
    with tempfile.TemporaryDirectory() as place:
        settings = FitSettings(Path(place), 0)
        path, _ = fit_baseline("cost", "base", every[0::2], pack, "", settings)
        reference = Reference.load(path, active_for="*")
        # as in production, one subject is watched; a copy has the role of its original
        judged = [
            replace(each, trajectory_id=f"judged-{each.trajectory_id}") for each in every[1::2]
        ]
        found, largest = measured(judged, reference, pack, options.rounds)
    if options.json:
        print(json.dumps({"us_a_call": found, "largest_state_bytes": largest}))
        return 0
    for name, each in found.items():
        print(f"{name:24} {each:6.1f} us a call")
    print(f"{'largest stored state':24} {largest / 1024:6.1f} kB a subject and reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
