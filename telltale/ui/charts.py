"""Charts as numbers for inline SVG: what to draw where, decided on the server."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.verdict import Evidence, Verdict

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 24, 40
MOST_POINTS = 500
"""Points of a curve; more than pixels show nothing more."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: place in the drawing, and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Evidence by trajectory number. `line`: an SVG point list. `threshold`, `calibrated`, `onset`,
    `alarm`: places in the drawing, None where there is none.
    """

    line: str
    x: list[Tick]
    y: list[Tick]
    threshold: float | None
    calibrated: float | None
    onset: float | None
    alarm: float | None
    last: tuple[float, float]
    text: str


def evidence_curve(
    points: Sequence[Evidence],
    verdict: Verdict | None,
    threshold_log10: float | None,
    calibrated_log10: float | None = None,
) -> Curve | None:
    """The curve; None with fewer than two finite points. `calibrated_log10`: shown where it is not
    the threshold itself.
    """
    told = sorted((p for p in points if math.isfinite(p.evidence_log10)), key=lambda point: point.n)
    if len(told) < 2 or told[0].n == told[-1].n:
        return None
    first, last = told[0].n, told[-1].n
    values = [point.evidence_log10 for point in told]
    threshold_log10, calibrated_log10 = _finite(threshold_log10), _finite(calibrated_log10)
    if calibrated_log10 == threshold_log10:
        calibrated_log10 = None
    marks = [mark for mark in (threshold_log10, calibrated_log10) if mark is not None]
    bounds = [*values, 0.0, *marks]
    low, high = math.floor(min(bounds)), math.ceil(max(bounds) + 0.25)

    def x(n: float) -> float:
        return round(LEFT + (n - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def place(n: int | None) -> float | None:
        return x(n) if n is not None and first <= n <= last else None

    thinned = _thinned(told)
    onset = verdict.onset if verdict else None
    alarm = verdict.alarm_at if verdict else None
    parts = [f"Evidence from {values[0]:.1f} at trajectory {first} to {values[-1]:.1f} at {last}"]
    if threshold_log10 is not None:
        parts.append(f"threshold {threshold_log10:.1f}")
    if calibrated_log10 is not None:
        parts.append(f"calibrated {calibrated_log10:.1f}")
    if onset is not None:
        parts.append(f"rising since trajectory {onset}")
    if alarm is not None:
        parts.append(f"alarm at {alarm}")
    return Curve(
        line=" ".join(f"{x(p.n)},{y(p.evidence_log10)}" for p in thinned),
        x=[Tick(x(n), f"{n:,}") for n in _steps(first, last, 8)],
        y=[Tick(y(v), _power(v)) for v in _steps(low, high, 5)],
        threshold=None if threshold_log10 is None else y(threshold_log10),
        calibrated=None if calibrated_log10 is None else y(calibrated_log10),
        onset=place(onset),
        alarm=place(alarm),
        last=(x(last), y(values[-1])),
        text="; ".join(parts) + ".",
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """The rate with its interval beside what the reference would give, as places on a bar of
    `WIDTH`.
    """

    lower: float
    upper: float
    rate: float
    expected: float
    ticks: list[Tick]


def rate_interval(verdict: Verdict) -> Interval | None:
    """The bar; None without opportunities or with a bound that is no number."""
    if verdict.opportunities < 1:
        return None
    rate = verdict.taken / verdict.opportunities
    expected = verdict.expected / verdict.opportunities
    numbers = (verdict.rate_lower, verdict.rate_upper, expected)
    if not all(math.isfinite(value) for value in numbers):
        return None
    highest = max(0.001, verdict.rate_upper, rate, expected)
    power = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k * 4 >= highest * 0.99)
    top = step * 4

    def x(value: float) -> float:
        inside = min(max(value, 0.0), top)
        return round(LEFT + inside / top * (WIDTH - 2 * LEFT), 1)

    ticks = [Tick(x(step * count), f"{step * count * 100:.3g} %") for count in range(5)]
    return Interval(x(verdict.rate_lower), x(verdict.rate_upper), x(rate), x(expected), ticks)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _thinned(points: Sequence[Evidence]) -> list[Evidence]:
    """At most `MOST_POINTS`, keeping of every stretch the highest, and the last."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = math.ceil(len(points) / MOST_POINTS)
    stretches = [points[i : i + size] for i in range(0, len(points), size)]
    kept = [max(stretch, key=lambda point: point.evidence_log10) for stretch in stretches]
    return [*kept[:-1], points[-1]]


def _steps(low: int, high: int, most: int) -> list[int]:
    """Round numbers from `low` to `high`."""
    raw = max(1.0, (high - low) / most)
    power = 10 ** math.floor(math.log10(raw))
    step = next(int(power * k) for k in (1, 2, 5, 10) if power * k >= raw)
    start = math.ceil(low / step) * step
    return list(range(start, high + 1, step))


def _power(exponent: int) -> str:
    """The evidence as people say it: `1`, `100`, `10^-2`, `10^6`."""
    if 0 <= exponent <= 4:
        return f"{10**exponent:,}"
    return f"10^{exponent}"
