"""Peers in environments of their own, made once in a cache folder, asked over standard input."""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
PEERS: dict[str, tuple[str, str, float, float]] = {
    "river ADWIN": ("river", "river_adwin", 1e-7, 0.3),
    "river PageHinkley": ("river", "river_page_hinkley", 2.0, 60.0),
    "frouros CUSUM": ("frouros", "frouros_cusum", 2.0, 60.0),
    "menelaus CUSUM": ("menelaus", "menelaus_cusum", 5.0, 300.0),
    "alibi-detect Fisher": ("alibi_detect", "alibi_detect_fisher", 1_000.0, 10_000.0),
    "evidently PSI, 200": ("evidently", "evidently_psi", 0.0, 0.0),
}
"""Requirements file, program, and the range in which its parameter is calibrated."""

RISING = {"river ADWIN"}
"""A larger parameter alarms sooner."""

Matrix = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Peer:
    """A peer whose environment is ready. `problem`: why it is not, "" where it is."""

    name: str
    python: Path
    program: Path
    problem: str

    def ask(self, matrix: Matrix, usual: float, parameter: float, timeout_s: float) -> object:
        """The peer's answer for streams (steps, streams), loaded: alarms (streams,) or scores
        (steps, streams). Raises `RuntimeError` with the last line it wrote, or that it was late.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "matrix.npy")
            np.save(path, matrix)
            asked = json.dumps({"matrix": path, "usual": usual, "parameter": parameter})
            try:
                done = subprocess.run(
                    [self.python, self.program],
                    input=asked,
                    capture_output=True,
                    text=True,
                    timeout=timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"slower than {timeout_s:.0f} s") from error
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise RuntimeError(lines[-1])
            answer = json.loads(done.stdout.strip().splitlines()[-1])
            if "scores" in answer:
                return np.load(answer["scores"])
            return np.asarray(answer["alarms"], np.int64)


def prepare(name: str, cache: Path, install: bool) -> Peer:
    """The peer's environment, made where it is missing and `install` is set."""
    requirements, program, _, _ = PEERS[name]
    folder = cache / requirements
    python = folder / "bin" / "python"
    wanted = (HERE / f"{requirements}.txt").read_text()
    stamp, problem = folder / "installed.txt", ""
    if not stamp.exists() or stamp.read_text() != wanted:
        if not install:
            problem = "not installed; run without --quick"
        else:
            problem = _install(folder, python, HERE / f"{requirements}.txt")
            if not problem:
                stamp.write_text(wanted)
    return Peer(name, python, HERE / f"{program}.py", problem)


def _install(folder: Path, python: Path, requirements: Path) -> str:
    print(f"installing {requirements.stem} into {folder.name}/ ...", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    lines = done.stderr.strip().splitlines() or ["pip failed"]
    return lines[-1] if done.returncode else ""


def calibrate(
    run_length: Callable[[float], float], low: float, high: float, rising: bool, target: float
) -> float:
    """The parameter, between low and high, with a run length nearest above the target; bisection of
    its logarithm, eight steps.
    """
    for _ in range(8):
        middle = (low * high) ** 0.5
        if (run_length(middle) >= target) != rising:
            high = middle
        else:
            low = middle
    return low if rising else high


def names(wanted: Sequence[str]) -> list[str]:
    """The peers whose name holds one of the words wanted; all where none is."""
    return [
        name for name in PEERS if not wanted or any(word.lower() in name.lower() for word in wanted)
    ]
