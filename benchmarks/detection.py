"""Telltale's detectors beside others, every one calibrated to the same measured run length.

    python -m benchmarks.detection [--quick] [--rows WORD ...] [--json FILE] [--again] [--seed N]

Prints, as Markdown: (1) run length under benign shifts and mean delay after a change for every
detector, with 95 % intervals; (2) Telltale's delay over that of an oracle who knows the new
hazards, its realised run length at the guaranteed threshold, and where another row is ahead of it;
(3) how often null streams ever alarm at the gate, and at which correlation between trajectories
that guarantee breaks.

A row's figures follow from the size and the seed alone, so the table can be made in pieces:
`--rows` takes words of rows, or their kinds (oracle, marginal, peer, telltale, null), and `--json`
keeps every row that is done, so that a stopped run goes on and several can fill one file. The peers
run in environments of their own under --cache, made where they are missing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.calibrated import ARL, FULL, QUICK
from benchmarks.results import Results
from benchmarks.rows import Rows, cells, chosen
from benchmarks.tables import print_tables


def fill(results: Results, rows: Rows, names: Sequence[str], again: bool) -> None:
    """Measure the named rows that are not there yet, or all of them `again`."""
    missing = [name for name in names if again or name not in results]
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for name in missing:
            task = bar.add_task(name.strip("*"), total=cells(name))
            result = rows.measure(name, partial(bar.advance, task))
            results.put(name, result)
            bar.console.print(f"{name}: {result.problem or 'done'}, {result.seconds:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    description = __doc__.splitlines()[0] if __doc__ else ""
    parser = argparse.ArgumentParser("benchmarks.detection", description=description)
    parser.add_argument("--quick", action="store_true", help="minutes, with wide intervals")
    parser.add_argument("--rows", nargs="+", default=[], metavar="WORD", help="only these rows")
    parser.add_argument("--json", type=Path, help="keep every row there, and take those it has")
    parser.add_argument("--again", action="store_true", help="measure rows the file has once more")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "telltale-peers")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    size = QUICK if args.quick else FULL
    try:
        names = chosen(args.rows)
        results = Results(args.json, {"size": asdict(size), "seed": args.seed})
    except ValueError as error:
        print(f"benchmarks.detection: {error}", file=sys.stderr)
        return 2
    fill(results, Rows(size, args.seed, args.cache), names, args.again)
    print(f"## Detection, seed {args.seed}, {'quick' if args.quick else 'full'}")
    print(f"\nEvery row is calibrated to a mean of {ARL:,.0f} trajectories between false alarms.")
    print_tables(results.get(names))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
