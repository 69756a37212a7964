"""The detection table as Markdown."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.calibrated import ARL, BENIGN, SHIFTS
from benchmarks.results import Result
from benchmarks.rows import NULL_STUDY, ORACLE, TELLTALE
from detectors.evaluate import Report
from detectors.simulate import SCENARIOS


def print_tables(found: Mapping[str, Result]) -> None:
    """Every table for which there are rows."""
    detectors = {name: each for name, each in found.items() if name != NULL_STUDY}
    rivals = {name: each for name, each in detectors.items() if name != ORACLE}
    if rivals:
        _print("### Mean run length under benign shifts (higher is better)", _table(BENIGN, rivals))
    if detectors:
        title = "### Mean delay in trajectories (lower is better)"
        _print(title, _table(SHIFTS, detectors))
    own = {name: each for name, each in found.items() if name in TELLTALE}
    if own and ORACLE in found:
        _print("### Delay over the oracle's", _ratios(found[ORACLE].cells, own))
    if own:
        title = f"### Realised run length at the guaranteed threshold, nominal {ARL:,.0f}"
        _print(title, _guaranteed(own))
    for name, result in own.items():
        others = {each: rivals[each] for each in rivals if each not in TELLTALE}
        if others:
            _print(f"### Ahead of {name.strip('*')}", _ahead(result, others))
    if NULL_STUDY in found:
        _print("### Null streams that ever alarm at the gate", found[NULL_STUDY].lines)


def _print(title: str, lines: Iterable[str]) -> None:
    print(f"\n{title}\n")
    print(*lines, sep="\n")
    sys.stdout.flush()


def _head(first: str, columns: Sequence[str]) -> Iterator[str]:
    yield f"| {first} | {' | '.join(columns)} |"
    yield f"| --- | {' | '.join('--:' for _ in columns)} |"


def _table(columns: Sequence[str], body: Mapping[str, Result]) -> Iterator[str]:
    yield from _head("detector", columns)
    for name, result in body.items():
        if result.problem:
            yield f"| {name} | {result.problem} {'| ' * len(columns)}".rstrip()
            continue
        shown = [cell(result.cells[each], SCENARIOS[each].benign) for each in columns]
        yield f"| {name} | {' | '.join(shown)} |"


def _guaranteed(own: Mapping[str, Result]) -> Iterator[str]:
    columns = ("none", *BENIGN)
    yield from _head("detector", columns)
    for name, result in own.items():
        yield f"| {name} | {' | '.join(cell(result.realised[each], True) for each in columns)} |"


def _ratios(best: Mapping[str, Report], own: Mapping[str, Result]) -> Iterator[str]:
    yield from _head("detector", SHIFTS)
    for name, result in own.items():
        ratios = [result.cells[each].delay_mean / best[each].delay_mean for each in SHIFTS]
        yield f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |"


def _ahead(own: Result, others: Mapping[str, Result]) -> Iterator[str]:
    """Columns and the rows that are better there, beyond or within the intervals."""
    yield "| column | ahead, intervals apart | ahead, intervals overlap |"
    yield "| --- | --- | --- |"
    for column in (*BENIGN, *SHIFTS):
        clearly: list[str] = []
        barely: list[str] = []
        for name, other in others.items():
            if other.problem:
                continue
            lead = ahead(other.cells[column], own.cells[column], SCENARIOS[column].benign)
            if lead > 0:
                (clearly if lead > 1 else barely).append(name)
        yield f"| {column} | {'; '.join(clearly) or '-'} | {'; '.join(barely) or '-'} |"


def ahead(other: Report, own: Report, benign: bool) -> int:
    """2 where the other is better and the intervals are apart, 1 where they overlap, 0 where it is
    not better. A run length above the nominal one is good enough: more of it is not better. What
    misses a change more often is not better, whatever its delay where it finds it.
    """
    if benign:
        mine, theirs = _or_infinite(own.run_length), _or_infinite(other.run_length)
        if theirs <= mine or mine >= ARL:
            return 0
        return 2 if other.run_length_low > _or_infinite(own.run_length_high) else 1
    if other.delay_mean >= own.delay_mean or other.missed_share > own.missed_high:
        return 0
    return 2 if other.delay_high < own.delay_low else 1


def _or_infinite(value: float) -> float:
    """NaN where no alarm was seen."""
    return value if math.isfinite(value) else math.inf


def cell(found: Report, benign: bool) -> str:
    """A report in a few characters: the run length with its interval, or the delay."""
    if benign:
        low, high = _number(found.run_length_low), _number(found.run_length_high)
        if not found.false_alarms:
            return f"> {low}"
        return f"{_number(found.run_length)} ({low}-{high})"
    if not found.found:
        return f"{_share(found.missed_share)} missed"
    text = f"{_number(found.delay_mean)} ±{_number(found.delay_high - found.delay_mean)}"
    return text if not found.missed else f"{text}, {_share(found.missed_share)} missed"


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 0.01 else f"{value:.0%}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"
