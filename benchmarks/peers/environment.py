"""Peers in environments of their own, made once in a cache folder, asked over standard input."""

import json
import math
import os
import select
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Kind:
    """`requirements` and `program`: files of this folder, without their endings. `low`, `high`:
    where its parameter is calibrated; equal for one that gives scores. `rising`: a larger parameter
    alarms sooner. `warm`: trajectories before a change; those that are not told the usual rate need
    many to learn it. `effort`: share of the streams that it is given, below 1 for a slow one.
    """

    requirements: str
    program: str
    low: float = 0.0
    high: float = 0.0
    rising: bool = False
    warm: int = 200
    effort: float = 1.0


PEERS = {
    "river ADWIN": Kind("river", "river_adwin", 1e-8, 1.0, rising=True, warm=2_000),
    "river PageHinkley": Kind("river", "river_page_hinkley", 1.0, 100.0, warm=2_000),
    "frouros CUSUM": Kind("frouros", "frouros_cusum", 1.0, 100.0, warm=2_000),
    "menelaus CUSUM": Kind("menelaus", "menelaus_cusum", 3.0, 300.0),
    "alibi-detect Fisher, 50 and 200": Kind(
        "alibi_detect", "alibi_detect_fisher", 2_000.0, 10_000.0, effort=0.2
    ),
    "evidently PSI, 200": Kind("evidently", "evidently_psi"),
    "evidently Jensen-Shannon, 200": Kind("evidently", "evidently_jensen_shannon"),
}

Matrix: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Answer:
    """`alarms`: first alarm of every stream, from 1 and 0 for none, (streams,), empty where there
    are `scores`, (steps, streams). `trajectories`: how many the peer was shown.
    """

    alarms: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32] | None
    trajectories: int


class Peer:
    """A peer's program, running. `with` ends it."""

    def __init__(self, python: Path, program: Path) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._errors = Path(self._folder.name) / "errors.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def ask(self, matrix: Matrix, usual: float, parameter: float, timeout_s: float) -> Answer:
        """What the peer says to streams (steps, streams). Raises `RuntimeError` with the last line
        it wrote, `TimeoutError`.
        """
        path = str(Path(self._folder.name) / "matrix.npy")
        np.save(path, matrix)
        asked = json.dumps({"matrix": path, "usual": usual, "parameter": parameter})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(asked.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError(self._last_words()) from error
        answer = json.loads(self._line(timeout_s))
        alarms = np.asarray(answer.get("alarms", []), np.int64)
        if "scores" in answer:
            return Answer(alarms, np.asarray(np.load(answer["scores"]), np.float32), matrix.size)
        shown = np.where(alarms > 0, alarms, len(matrix))
        return Answer(alarms, None, int(shown.sum()))

    def _line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        output, found = self._process.stdout.fileno(), b""
        deadline = time.monotonic() + timeout_s
        while not found.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise TimeoutError(f"no answer in {timeout_s:.0f} s")
            part = os.read(output, 1 << 16)
            if not part:
                raise RuntimeError(self._last_words())
            found += part
        return found

    def _last_words(self) -> str:
        self._process.wait(10)
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"


def start(name: str, cache: Path) -> Peer:
    """The peer, running in its environment, which is made first where it is missing or made from
    other requirements. Raises `RuntimeError` if that fails.
    """
    kind = PEERS[name]
    requirements = HERE / f"{kind.requirements}.txt"
    folder, wanted = cache / kind.requirements, requirements.read_text()
    stamp, python = folder / "installed.txt", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {kind.requirements} into {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        stamp.write_text(wanted)
    return Peer(python, HERE / f"{kind.program}.py")


def calibrate(
    run_length: Callable[[float, bool], float],
    low: float,
    high: float,
    rising: bool,
    target: float,
) -> float:
    """The parameter, between low and high, with a run length at or little above the target.

    Bisection of its logarithm: `run_length(parameter, rough)` is asked five times for a rough
    figure and, around where that led, up to six times for an exact one, until that is within 5 %
    above the target. Raises `RuntimeError` where nothing in the range will do.
    """
    first, last = low, high
    for _ in range(5):
        middle = math.sqrt(low * high)
        if (run_length(middle, True) >= target) != rising:
            high = middle
        else:
            low = middle
    wide = high / low
    low, high = max(first, low / wide), min(last, high * wide)
    # the rough figures may have led elsewhere: widen until exact ones lie on both sides
    while (run_length(high, False) >= target) == rising:
        if high >= last:
            break
        high = min(last, high * wide)
    while (run_length(low, False) >= target) != rising:
        if low <= first:
            break
        low = max(first, low / wide)
    if run_length(low if rising else high, False) < target:
        raise RuntimeError(f"no parameter from {first:g} to {last:g} alarms rarely enough")
    for _ in range(6):
        middle = math.sqrt(low * high)
        found = run_length(middle, False)
        if target <= found <= 1.05 * target:
            return middle
        if (found >= target) != rising:
            high = middle
        else:
            low = middle
    return low if rising else high
