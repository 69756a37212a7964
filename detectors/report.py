"""A baseline's report as one self-contained HTML page: what it knows, how well, and what it can
tell.

Reliability: tenths of the cross-fitted hazard, observed against expected. Minimum detectable rate:
the lowest rate that would alarm within so many opportunities. No script, nothing loaded from
elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from contracts.labels import CATEGORIES, CATEGORY_IDS
from detectors.allowance import calibrated_threshold
from detectors.baseline import Reference
from detectors.confidence import needed_opportunities, wilson_interval
from detectors.decision import release_opportunities
from detectors.features import ORDERS, STREAM_CATEGORY, STREAMS, TRACKS
from detectors.sequential import Settings
from detectors.threshold import guaranteed
from detectors.upper_hazard import ALL, Calibration

HORIZONS: Final = (100, 1_000, 10_000)
"""Opportunities at which the minimum detectable rate is given."""
EVENTS: Final = 100
MOST: Final = 100_000_000
"""Opportunities of a reference beyond which it is said to be never large enough."""
TRUSTED: Final = (0.9, 1.1)
_SIDE: Final = 120


@dataclass(frozen=True, slots=True)
class Point:
    """A tenth of the hazard in pixels: expected rate, observed rate and its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """One stream of the report. `detectable`: rate per horizon, None where nothing would alarm.
    `needed`: opportunities at which a student with this rate is `clear`, at the soonest; None where
    it never is. `least`: opportunities of a reference with this rate against which a release as
    large can be. `per_trajectory`: opportunities of a trajectory, in the mean.
    `miscalibrated`: with `EVENTS` or more taken, observed / expected is outside `TRUSTED`.
    """

    stream: str
    title: str
    opportunities: int
    taken: int
    ratio: float
    rate: float
    upper: float
    detectable: tuple[float | None, ...]
    needed: int | None
    least: int | None
    per_trajectory: float
    miscalibrated: bool
    scale: float
    points: tuple[Point, ...]


def html(reference: Reference, settings: Settings) -> str:
    """The page. Numbers in it are those the detectors use."""
    environment = Environment(
        loader=PackageLoader("detectors", "."),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        info=reference.info,
        rung=reference.document.get("rung", ""),
        likelihood=reference.document.get("likelihood", {}),
        coverage=reference.document.get("arguments_coverage"),
        limits=thresholds(reference, settings),
        shapes=len(reference.shapes),
        trusted=TRUSTED,
        events=EVENTS,
        roles=sorted(reference.roles),
        ceilings=[
            (category, rate, needed_for_ceiling(rate, settings))
            for category, rate in sorted(reference.ceilings.items())
        ],
        trajectories=trajectories,
        lines=lines(reference, settings),
        horizons=HORIZONS,
        side=_SIDE,
        settings=settings,
    )


def lines(reference: Reference, settings: Settings) -> list[Line]:
    """The streams in which the reference had opportunities."""
    reliability: Mapping[str, Sequence[Sequence[float]]] = reference.document.get("reliability", {})
    out: list[Line] = []
    for stream in range(STREAMS):
        track, k = TRACKS.index("orders" if stream == ORDERS else "acts"), STREAM_CATEGORY[stream]
        calibration = reference.calibrations[track]
        opportunities = int(calibration.opportunities[k, ALL])
        if not opportunities:
            continue
        name = "orders" if stream == ORDERS else CATEGORY_IDS[k]
        title = "acts on a tool result's order" if stream == ORDERS else CATEGORIES[k].title
        expected = float(calibration.expected[k, ALL])
        rate = expected / opportunities
        upper = min(1.0, rate * float(calibration.upper[k, ALL]) * (1 + settings.tau))
        taken = int(calibration.observed[k, ALL])
        ratio = taken / max(expected, 1e-12)
        bins: Sequence[Sequence[Any]] = reliability.get(name, ())
        scale, points = _points(bins)
        out.append(
            Line(
                name, title, opportunities, taken, ratio, rate, upper,
                tuple(detectable(upper, horizon, settings) for horizon in HORIZONS),
                release_opportunities(rate * float(calibration.ratio[k]), upper, settings),
                least_reference(calibration, k, settings),
                opportunities / max(1, calibration.trajectories),
                taken >= EVENTS and not TRUSTED[0] <= ratio <= TRUSTED[1], scale, points,
            )
        )  # fmt: skip
    return out


def least_reference(calibration: Calibration, k: int, settings: Settings) -> int | None:
    """Opportunities of a reference against which a release of as many can be `clear`, both at the
    rate of this one; None where that takes more than `MOST`.

    The reference's upper rate by Garwood's bound on its counts scaled to that size, as in
    `upper_hazard`; cells with a larger ratio take more.
    """
    from scipy.special import gammaincinv

    n, e = int(calibration.opportunities[k, ALL]), float(calibration.expected[k, ALL])
    spread = float(calibration.overdispersion[k])
    observed, expected = int(calibration.observed[k, ALL]) / spread, e / spread
    usual = e / n * float(calibration.ratio[k])

    def enough(size: int) -> bool:
        bound = gammaincinv(observed * size / n + 1, 1 - settings.delta) / (expected * size / n)
        most = min(1.0, e / n * float(bound) * (1 + settings.tau))
        needed = release_opportunities(usual, most, settings)
        return needed is not None and needed <= size

    if not enough(MOST):
        return None
    low, high = 0, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def needed_for_ceiling(rate: float, settings: Settings) -> int | None:
    """Opportunities at which a student at a declared ceiling is `clear`; None for never."""
    return release_opportunities(rate, rate, settings)


def trajectories(opportunities: int | None, per_trajectory: float) -> int | None:
    """Trajectories that have so many opportunities, in the mean."""
    return None if opportunities is None else math.ceil(opportunities / per_trajectory)


def thresholds(reference: Reference, settings: Settings) -> dict[str, float]:
    """log10 of the evidence that pages: the guaranteed threshold and, where it was measured with
    this materiality, the calibrated one of each track.
    """
    out = {"guaranteed": guaranteed(settings) / math.log(10)}
    for track, name in enumerate(TRACKS):
        limit = calibrated_threshold(reference.document, track, settings)
        if limit is not None:
            out[f"calibrated, {name}"] = limit / math.log(10)
    return out


def detectable(upper: float, opportunities: int, settings: Settings) -> float | None:
    """The lowest rate that would alarm within `opportunities`, to a thousandth of the way to 1."""
    threshold = guaranteed(settings)

    def found(rate: float) -> bool:
        needed = needed_opportunities(rate, upper, threshold)
        return needed is not None and needed <= opportunities

    low, high = upper, 1.0
    if not found(high):
        return None
    while high - low > 0.001 * (1.0 - upper):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _points(bins: Sequence[Sequence[Any]]) -> tuple[float, tuple[Point, ...]]:
    """The largest rate of a plot, and its points."""
    rows = [(int(n), float(e) / n, int(o)) for n, e, o in bins if n]
    if not rows:
        return 0.0, ()
    spans = [(mean, taken / n, *wilson_interval(taken, n)) for n, mean, taken in rows]
    top = max(max(span[0], span[3]) for span in spans) or 1.0
    return top, tuple(
        Point(
            _SIDE * mean / top, _SIDE * (1 - rate / top), _SIDE * (1 - low / top),
            _SIDE * (1 - high / top),
        )
        for mean, rate, low, high in spans
    )  # fmt: skip
