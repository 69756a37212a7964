"""The rows of the detection table by name, each measured apart from all others."""

import time
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks import streams
from benchmarks.calibrated import BENIGN, SHIFTS, Size, measure, measure_peer, realised
from benchmarks.correlation import CELLS as GATE_CELLS
from benchmarks.correlation import null_study
from benchmarks.peers.environment import PEERS, start
from benchmarks.results import Result

ORACLE = "oracle"
NULL_STUDY = "null streams at the gate"
MARGINAL = (
    "windowed rate, 200 (a Prometheus threshold)",
    "Bernoulli CUSUM",
    "EWMA",
    "batch PSI, 200",
    "e-SR on the marginal rate",
    "e-SR, table by context",
)
TELLTALE = {
    f"**Telltale, reference {size:,}, tau {tau:g}**": (size, tau)
    for size in (50_000, 2_000)
    for tau in (0.0, 0.2)
}
"""Trajectories of the reference, and materiality."""

KINDS = {
    "oracle": (ORACLE,),
    "marginal": MARGINAL,
    "peer": tuple(PEERS),
    "telltale": tuple(TELLTALE),
    "null": (NULL_STUDY,),
}
ROWS = tuple(name for names in KINDS.values() for name in names)


def chosen(words: Sequence[str]) -> list[str]:
    """The rows whose kind is one of the words or whose name holds one; all without words.

    Raises `ValueError` for a word that chooses nothing.
    """
    wanted: set[str] = set()
    for word in words:
        found = KINDS.get(word.lower()) or [name for name in ROWS if word.lower() in name.lower()]
        if not found:
            raise ValueError(f"no row or kind of rows holds {word!r}")
        wanted.update(found)
    return [name for name in ROWS if not words or name in wanted]


def cells(name: str) -> int:
    """How often measuring a row calls its `progress`."""
    if name == NULL_STUDY:
        return GATE_CELLS
    return len(BENIGN) + len(SHIFTS) + (1 + len(BENIGN) if name in TELLTALE else 0)


class Rows:
    """Measures rows. Each has a generator of its own, made from the seed and its name, so that its
    figures do not depend on which others run. `environments`: folder of those of the peers.
    """

    def __init__(self, size: Size, seed: int, environments: Path) -> None:
        self._size, self._seed, self._environments = size, seed, environments
        self._references: dict[int, list[streams.Reference]] = {}

    def measure(self, name: str, progress: Callable[[], None]) -> Result:
        """A row's result. What a peer cannot do is the result's `problem`."""
        begin, rng = time.monotonic(), self._rng(name)
        if name == NULL_STUDY:
            lines = tuple(null_study(rng, self._size.gate_streams, progress))
            return Result(time.monotonic() - begin, lines=lines)
        if name in PEERS:
            try:
                with start(name, self._environments) as peer:
                    found, thresholds = measure_peer(
                        peer, PEERS[name], self._sample, self._size, rng, progress
                    )
            except RuntimeError as error:
                return Result(time.monotonic() - begin, problem=str(error))
            return Result(time.monotonic() - begin, found, thresholds=thresholds)
        row = self._row(name, rng)
        found, thresholds = measure(row, self._size, progress, per_scenario=name == ORACLE)
        at_guaranteed = realised(row, self._size, progress) if name in TELLTALE else {}
        return Result(time.monotonic() - begin, found, at_guaranteed, thresholds)

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())])

    @cached_property
    def _sample(self) -> streams.Sample:
        return streams.Sample(self._size.pool, self._rng("sample"))

    def _of_size(self, size: int) -> list[streams.Reference]:
        if size not in self._references:
            count = 2 if size >= 50_000 else self._size.references
            rng = self._rng(f"references of {size}")
            self._references[size] = streams.references(size, count, rng)
        return self._references[size]

    def _row(self, name: str, rng: np.random.Generator) -> streams.Row:
        if name in TELLTALE:
            size, tau = TELLTALE[name]
            return streams.telltale(self._sample, self._of_size(size), tau, rng)
        if name == ORACLE:
            return streams.oracle(self._sample, rng)
        rate, cusum, ewma, psi, marginal, context = MARGINAL
        made: dict[str, Callable[[], streams.Row]] = {
            rate: lambda: streams.marginal(self._sample, "windowed-rate", rng),
            cusum: lambda: streams.marginal(self._sample, "bernoulli-cusum", rng),
            ewma: lambda: streams.marginal(self._sample, "ewma", rng),
            psi: lambda: streams.batches(self._sample, 200, rng),
            marginal: lambda: streams.marginal_e_detector(self._sample, 50_000, rng),
            context: lambda: streams.by_context(self._sample, 50_000, rng),
        }
        return made[name]()
