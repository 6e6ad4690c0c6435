"""Line charts as inline SVG: no fonts, no ids, no colours of their own, so one drawing serves light
and dark, phone and wall.

    x, y in data  ->  left + w * (x - x_min) / (x_max - x_min),  top + h * (1 - (f(y) - f_min) / (f_max - f_min)),   f = id or log10

Colours come from the page's classes s0 (ink), s1, s2, ..., and every line also has a dash or a
marker of its own.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

SMALL, LARGE = (290.0, 160.0), (400.0, 230.0)
LEFT = 52.0
RIGHT = 8.0
TOP = 7.0
BOTTOM = 30.0
POINTS = 240  # of one line; more are averaged in bins
START, ENOUGH = (
    0.1,
    10,
)  # the share of a run that is its start; points after it, to know where things settle
HUGE = 1e30  # what a diverged run may log, and no axis can show

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """`points` as they were logged, None and NaN among them. `style` is the class that colours it;
    0 is ink, dashed.
    """

    name: str
    points: Sequence[tuple[float, Any]]
    style: int = 1


def chart(
    lines: Iterable[Line],
    x_label: str,
    log: bool = False,
    zero: bool = False,
    markers: bool = False,
    size: Point = SMALL,
) -> Markup | None:
    """The chart, or None where there is not one point to draw. zero: a rule at 0, which is then
    always in sight.
    """
    drawn = [(line, points) for line in lines if (points := thin(drawable(line.points, log)))]
    if not drawn:
        return None
    every = [point for _, points in drawn for point in points]
    x_range = min(x for x, _ in every), max(x for x, _ in every)
    low, high, whole = (*extremes(every, zero), True) if log else settled(every, x_range, zero)
    y_ticks = decades(low, high) if log else ticks(low, high)
    place = Place(size, x_range, (min(low, y_ticks[0]), max(high, y_ticks[-1])), log)
    parts = [
        _grid(place, y_ticks, x_label),
        _rule(place, 0, "zero") if zero else "",
        "" if whole else _off(place),
    ]
    parts += [
        _line(place, points, line.style, markers or len(points) == 1) for line, points in drawn
    ]
    says = escape(
        f"Line chart over {x_label}."
        f" {' '.join(_in_words(line.name, points) for line, points in drawn)}"
    )
    return Markup(
        f'<svg class="chart" viewBox="0 0 {size[0]:g} {size[1]:g}" role="img"'
        f' aria-label="{says}">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class Place:
    """From data to the drawing."""

    size: Point
    x_range: Point
    y_range: Point
    log: bool

    @property
    def right(self) -> float:
        return self.size[0] - RIGHT

    @property
    def bottom(self) -> float:
        return self.size[1] - BOTTOM

    def x(self, value: float) -> float:
        return LEFT + (self.right - LEFT) * _share(value, *self.x_range)

    def y(self, value: float) -> float:
        scale = math.log10 if self.log else float
        value = min(max(value, self.y_range[0]), self.y_range[1])
        return self.bottom - (self.bottom - TOP) * _share(*map(scale, (value, *self.y_range)))


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def drawable(points: Iterable[tuple[float, Any]], log: bool = False) -> list[Point]:
    """The points with a finite value; on a logarithmic axis, a positive one."""
    numbers = [
        (float(x), float(y)) for x, y in points if isinstance(y, int | float) and abs(y) < HUGE
    ]
    return [(x, y) for x, y in numbers if not log or y > 0]


def thin(points: list[Point]) -> list[Point]:
    """At most POINTS of them, by averaging neighbours."""
    size = max(1, math.ceil(len(points) / POINTS))
    bins = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in b) / len(b), sum(y for _, y in b) / len(b)) for b in bins]


def extremes(points: Iterable[Point], zero: bool) -> Point:
    ys = [y for _, y in points] + ([0.0] if zero else [])
    return min(ys), max(ys)


def settled(points: Sequence[Point], x_range: Point, zero: bool) -> tuple[float, float, bool]:
    """The range to draw, and whether it is all: a start that would flatten the rest is cut off,
    nothing later ever is.
    """
    low, high = extremes(points, zero)
    late = [p for p in points if p[0] > x_range[0] + START * (x_range[1] - x_range[0])]
    if len(late) < ENOUGH:
        return low, high, True
    calm_low, calm_high = extremes(late, zero)
    room = (calm_high - calm_low) / 2
    if high - low <= 4 * (calm_high - calm_low) or room == 0:
        return low, high, True
    return max(low, calm_low - room), min(high, calm_high + room), False


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, the first at or below `low` and the last at or above `high`."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low = low - (abs(low) or 1) / 2
        high = high + (abs(high) or 1) / 2
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2, 5, 10 over short ranges, powers of ten over long
    ones.
    """
    powers = range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)
    grid = [m * 10.0**p for p in powers for m in ((1,) if high / low > 100 else (1, 2, 5))]
    first = max((g for g in grid if g <= low), default=grid[0])
    last = min((g for g in grid if g >= high), default=grid[-1])
    return [g for g in grid if first <= g <= last]


def _grid(place: Place, y_ticks: Sequence[float], x_label: str) -> str:
    rows = [_rule(place, t) + _text(LEFT - 6, place.y(t) + 3.5, _short(t), "end") for t in y_ticks]
    low, high = place.x_range
    columns = [
        _text(place.x(t), place.bottom + 14, _short(t), "middle")
        for t in ticks(low, high)
        if low <= t <= high
    ]
    return "".join([*rows, *columns, _text(place.right, place.size[1] - 3, x_label, "end")])


def _text(x: float, y: float, says: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(says)}</text>'


def _rule(place: Place, at: float, style: str = "rule") -> str:
    return f'<path class="{style}" d="M{LEFT:g} {place.y(at):.1f}H{place.right:g}"/>'


def _off(place: Place) -> str:
    return _text(LEFT, place.size[1] - 3, "the start is off the chart")


def _line(place: Place, points: Sequence[Point], style: int, markers: bool) -> str:
    spots = [(place.x(x), place.y(y)) for x, y in points]
    dots = (
        [f'<path class="dot s{style}" d="{shape(style, x, y)}"/>' for x, y in spots]
        if markers
        else []
    )
    return (
        f'<path class="line s{style}" d="M{" ".join(f"{x:.1f} {y:.1f}" for x, y in spots)}"/>'
        + "".join(dots)
    )


def shape(style: int, x: float, y: float, r: float = 4.0) -> str:
    """The marker of a style as a path: square, circle, triangle, diamond in turn."""
    return SHAPES[(style - 1) % len(SHAPES)](x, y, r)


def _square(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y - r:.1f}h{2 * r:g}v{2 * r:g}h{-2 * r:g}z"


def _circle(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y:.1f}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z"


def _triangle(x: float, y: float, r: float) -> str:
    return f"M{x:.1f} {y - r:.1f}l{r:g} {2 * r:g}h{-2 * r:g}z"


def _diamond(x: float, y: float, r: float) -> str:
    d = 1.3 * r
    return f"M{x:.1f} {y - d:.1f}l{d:g} {d:g}l{-d:g} {d:g}l{-d:g} {-d:g}z"


SHAPES = (_square, _circle, _triangle, _diamond)


def marker(style: int) -> Markup:
    """The marker of a method, for headings and tables."""
    path = f'<path class="dot s{style}" d="{shape(style, 6, 6)}"/>'
    return Markup(f'<svg class="marker" viewBox="0 0 12 12" aria-hidden="true">{path}</svg>')


def _in_words(name: str, points: Sequence[Point]) -> str:
    ys = [y for _, y in points]
    return (
        f"{name}: from {_short(ys[0])} to {_short(ys[-1])}, lowest {_short(min(ys))}, highest"
        f" {_short(max(ys))}."
    )


def _short(value: float) -> str:
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "\u2212")
