"""The report shows what the detectors use, escapes what it is given, and loads nothing."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from contracts.ports import Labeller
from contracts.trajectory import Trajectory
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.report import detectable, html, lines
from detectors.sequential import Settings

Make = Callable[..., list[Trajectory]]
Freeze = Callable[..., Reference]


def test_the_page_is_whole_and_self_contained(make: Make, freeze: Freeze) -> None:
    page = html(freeze(make(200, 0.2), name="<script>alert(1)</script>"), Settings())
    assert "<script>" not in page
    assert "http" not in page
    assert page.count("<figure>") == 2
    start = page.index("<svg")
    ElementTree.fromstring(page[start : page.index("</svg>", start) + 6])


def test_the_numbers_are_those_of_the_calibration(make: Make, freeze: Freeze) -> None:
    reference = freeze(make(300, 0.2))
    found = {line.stream: line for line in lines(reference, Settings())}
    assert set(found) == {"UA01", "orders"}
    line = found["UA01"]
    assert (line.opportunities, line.taken) == (
        int(reference.calibrations[0].opportunities[0, 0]),
        int(reference.calibrations[0].observed[0, 0]),
    )
    assert 0.9 < line.ratio < 1.1
    assert line.rate < line.upper < 0.4
    assert len(line.points) == 10


def test_more_opportunities_detect_less_and_never_below_the_upper_rate() -> None:
    rates = [detectable(0.1, n, Settings()) for n in (5, 100, 1_000, 10_000)]
    assert rates[0] is None or rates[0] > 0.9
    values = [rate for rate in rates if rate is not None]
    assert values == sorted(values, reverse=True)
    assert min(values) > 0.1


@pytest.mark.parametrize("kind", ["declared"])
def test_ceilings_have_a_report_too(tmp_path: Path, labeller: Labeller, kind: str) -> None:
    settings = FitSettings(tmp_path, 1, ceilings={"UA11": 0.01})
    folder, _ = fit_baseline("c", "declared", [], labeller, "", settings)
    page = html(Reference.load(folder), Settings())
    assert "Declared ceilings" in page
    assert "UA11" in page
    assert kind in page
