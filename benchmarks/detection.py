"""Telltale's detectors beside others, every one calibrated to the same measured run length.

    python benchmarks/detection.py [--quick] [--peers river ...] [--json FILE]

Prints, as Markdown: (1) run length under benign shifts and mean delay after a change for every
detector, with 95 % intervals; (2) Telltale's delay over that of an oracle who knows the new
hazards, and its realised run length at the guaranteed threshold; (3) how often null streams ever
alarm at the gate, and at which correlation between trajectories that guarantee breaks. The peers
run in environments of their own under --cache, made on the first full run.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import streams as rows  # noqa: E402  # this folder is not a package
from correlation import print_null_study  # noqa: E402
from peers.environment import PEERS, RISING, Peer, calibrate, names, prepare  # noqa: E402

from detectors.evaluate import Report, Run, report  # noqa: E402
from detectors.run_length import Singles, first_passage, threshold_for  # noqa: E402
from detectors.sequential import Integers  # noqa: E402
from detectors.simulate import SCENARIOS  # noqa: E402

ARL = 5000.0
WARM = 200
"""Trajectories before the change, for detectors that know a reference."""

PEER_WARM = 2000
"""The same for peers, most of which know the usual rate only from the stream itself."""

SHIFTS = tuple(name for name, each in SCENARIOS.items() if not each.benign)
BENIGN = tuple(name for name, each in SCENARIOS.items() if each.benign and name != "none")
LONGEST = {"deletion-100": 400, "permission-30": 800, "permission-55": 800}


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    pool: int
    null_steps: int
    null_streams: int
    delay_steps: int
    delay_streams: int
    peer_steps: int
    peer_streams: int
    small: int
    peer_timeout_s: float


QUICK = Size(15_000, 12_000, 60, 4_000, 120, 6_000, 12, 4, 40.0)
FULL = Size(60_000, 15_000, 150, 6_000, 300, 15_000, 24, 10, 600.0)

Cells = dict[str, Report]


def runs_until_first(first: Integers, steps: int, onset: int | None) -> list[Run]:
    """Streams that end at their first alarm; those that alarm before the onset are left out."""
    out: list[Run] = []
    for at in first.tolist():
        if onset is None:
            out.append(Run((at,), at) if at else Run((), steps))
        elif not 0 < at < onset:
            out.append(Run((at,) if at else (), steps, onset))
    return out


def measure(
    row: rows.Row, size: Size, per_scenario: bool = False
) -> tuple[Cells, dict[int, float]]:
    """A row's reports by scenario, each category at the threshold of its null paths."""
    print(".", end="", file=sys.stderr, flush=True)
    thresholds: dict[int, float] = {}
    cells: Cells = {}
    for name in (*BENIGN, *SHIFTS):
        scenario = SCENARIOS[name]
        column = scenario.judged
        if per_scenario or column not in thresholds:
            null = row(column, name, size.null_steps, size.null_steps, size.null_streams)
            thresholds[column] = threshold_for(null, ARL)
        if scenario.benign:
            path = row(column, name, 0, size.null_steps, size.null_streams)
            first, steps, onset = first_passage(path, thresholds[column]), size.null_steps, None
        else:
            steps = WARM + LONGEST.get(name, size.delay_steps)
            path = row(column, name, WARM, steps, size.delay_streams)
            first, onset = first_passage(path, thresholds[column]), WARM + 1
        cells[name] = report(runs_until_first(first, steps, onset))
    return cells, thresholds


def realised(row: rows.Row, size: Size) -> Cells:
    """Run lengths at the guaranteed threshold, under no shift and every benign one."""
    cells: Cells = {}
    for name in ("none", *BENIGN):
        path = row(SCENARIOS[name].judged, name, 0, size.null_steps, size.null_streams)
        cells[name] = report(runs_until_first(first_passage(path, ARL), size.null_steps, None))
    return cells


def measure_peer(peer: Peer, sample: rows.Sample, size: Size, rng: np.random.Generator) -> Cells:
    """A peer's reports, its parameter calibrated per category. Raises `RuntimeError`."""
    _, _, low, high = PEERS[peer.name]
    deadline = time.monotonic() + 6 * size.peer_timeout_s

    def streams(column: int, name: str, onset: int, steps: int, count: int) -> rows.Singles:
        before, after = sample.unsafe("none", column), sample.unsafe(name, column)
        out = np.empty((steps, count), np.uint8)
        for step in range(steps):
            source = before if step < onset else after
            out[step] = source[rng.integers(0, len(source), count)]
        return out

    def first(matrix: Singles, column: int, parameter: float) -> Integers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"slower than {6 * size.peer_timeout_s:.0f} s in all")
        usual = float(sample.unsafe("none", column).mean())
        answer = np.asarray(peer.ask(matrix, usual, parameter, size.peer_timeout_s))
        return first_passage(answer, parameter) if answer.ndim == 2 else answer

    chosen: dict[int, float] = {}
    cells: Cells = {}
    for name in (*BENIGN, *SHIFTS):
        scenario = SCENARIOS[name]
        column, steps, count = scenario.judged, size.peer_steps, size.peer_streams
        if column not in chosen:
            null = streams(column, "none", 0, steps, count)
            if high <= low:
                usual = float(sample.unsafe("none", column).mean())
                scores = np.asarray(peer.ask(null, usual, 0.0, size.peer_timeout_s), np.float32)
                chosen[column] = threshold_for(scores, ARL)
            else:
                fixed = null

                def run_length(parameter: float, at: int = column, of: Singles = fixed) -> float:
                    found = report(runs_until_first(first(of, at, parameter), len(of), None))
                    return found.run_length if found.false_alarms else math.inf

                chosen[column] = calibrate(run_length, low, high, peer.name in RISING, ARL)
        onset = None
        if not scenario.benign:
            steps = PEER_WARM + LONGEST.get(name, size.delay_steps)
            onset = PEER_WARM + 1
        matrix = streams(column, name, 0 if onset is None else PEER_WARM, steps, count)
        cells[name] = report(runs_until_first(first(matrix, column, chosen[column]), steps, onset))
    return cells


def number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


def cell(found: Report, benign: bool) -> str:
    if benign:
        low, high = number(found.run_length_low), number(found.run_length_high)
        if not found.false_alarms:
            return f"> {low}"
        return f"{number(found.run_length)} ({low}-{high})"
    text = f"{number(found.delay_mean)} ±{number(found.delay_high - found.delay_mean)}"
    return text if not found.missed else f"{text}, {found.missed_share:.0%} missed"


def table(title: str, columns: tuple[str, ...], body: dict[str, Cells | str]) -> None:
    print(f"\n{title}\n\n| detector | {' | '.join(columns)} |")
    print(f"| --- | {' | '.join('--:' for _ in columns)} |")
    for name, cells in body.items():
        if isinstance(cells, str):
            print(f"| {name} | {cells} {'| ' * len(columns)}")
            continue
        shown = [
            cell(cells[each], SCENARIOS[each].benign) if each in cells else "-" for each in columns
        ]
        print(f"| {name} | {' | '.join(shown)} |")
    sys.stdout.flush()


def own_rows(sample: rows.Sample, size: Size, rng: np.random.Generator) -> dict[str, rows.Row]:
    many = rows.references(50_000, 2, rng)
    few = rows.references(2_000, size.small, rng)
    return {
        "windowed rate, 200 (a Prometheus threshold)": rows.marginal(sample, "windowed-rate", rng),
        "Bernoulli CUSUM": rows.marginal(sample, "bernoulli-cusum", rng),
        "EWMA": rows.marginal(sample, "ewma", rng),
        "batch PSI, 200": rows.batches(sample, 200, rng),
        "e-SR on the marginal rate": rows.marginal_e_detector(sample, 50_000, rng),
        "e-SR, table by context": rows.by_context(sample, 50_000, rng),
        "**Telltale, reference 50,000, tau 0**": rows.telltale(sample, many, 0.0, rng),
        "**Telltale, reference 50,000, tau 0.2**": rows.telltale(sample, many, 0.2, rng),
        "**Telltale, reference 2,000, tau 0**": rows.telltale(sample, few, 0.0, rng),
        "**Telltale, reference 2,000, tau 0.2**": rows.telltale(sample, few, 0.2, rng),
    }


def print_ratios(found: dict[str, Cells | str]) -> None:
    best = found["oracle"]
    assert isinstance(best, dict)
    print("\n### Delay over the oracle's\n\n| detector | " + " | ".join(SHIFTS) + " |")
    print(f"| --- | {' | '.join('--:' for _ in SHIFTS)} |")
    for name, cells in found.items():
        if "Telltale" in name and isinstance(cells, dict):
            ratios = [cells[each].delay_mean / best[each].delay_mean for each in SHIFTS]
            print(f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="under three minutes, wide intervals")
    parser.add_argument("--peers", nargs="*", default=[], help="words of the peers wanted; all")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "telltale-peers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write every report there")
    args = parser.parse_args(argv)
    size = QUICK if args.quick else FULL
    rng = np.random.default_rng(args.seed)
    sample = rows.Sample(size.pool, rng)
    print(f"## Detection, seed {args.seed}, {'quick' if args.quick else 'full'}")
    print(f"\nEvery row is calibrated to a mean of {ARL:,.0f} trajectories between false alarms.")

    found: dict[str, Cells | str] = {}
    thresholds: dict[str, dict[int, float]] = {}
    oracle = rows.oracle(sample, rng)
    found["oracle"], _ = measure(oracle, size, per_scenario=True)
    own = own_rows(sample, size, rng)
    for name, row in own.items():
        found[name], thresholds[name] = measure(row, size)
    if not args.no_peers:
        for name in names(args.peers):
            peer = prepare(name, args.cache, install=not args.quick)
            try:
                found[name] = peer.problem or measure_peer(peer, sample, size, rng)
            except RuntimeError as error:
                found[name] = str(error)
    table("### Mean run length under benign shifts (higher is better)", BENIGN, {
        name: cells for name, cells in found.items() if name != "oracle"
    })  # fmt: skip
    table("### Mean delay in trajectories (lower is better)", SHIFTS, found)
    print_ratios(found)
    guaranteed = {name: realised(row, size) for name, row in own.items() if "Telltale" in name}
    table(
        f"### Realised run length at the guaranteed threshold, nominal {ARL:,.0f}",
        ("none", *BENIGN),
        dict(guaranteed),
    )
    print_null_study(rng, quick=args.quick)
    if args.json:
        kept = {
            name: cells if isinstance(cells, str) else {k: v.to_json() for k, v in cells.items()}
            for name, cells in found.items()
        }
        args.json.write_text(json.dumps(kept, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
