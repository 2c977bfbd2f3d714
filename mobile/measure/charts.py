"""Line and bar charts as geometry, which the page's template draws.

Coordinates are in the units of a picture `WIDTH` wide, which is as wide as a phone, so that its
text can be read there; a page shows several side by side where it has room.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

__all__ = ["WIDTH", "Bar", "BarChart", "Line", "LineChart", "ticks"]

WIDTH = 360.0
_HEIGHT = 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 10.0, 26.0
_POINTS = 160  # of a line; more are averaged

Point = tuple[float, float]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about ``count`` round numbers that reach from at most ``low`` to at least ``high``."""
    span = high - low or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Line:
    """A line by its label and points; the page has a colour and a dash for every number."""

    label: str
    points: Sequence[Point]
    colour: int
    dash: int = 0


@dataclass(frozen=True)
class LineChart:
    """Lines over a common axis.

    The vertical axis begins at 0 if ``from_zero``. With ``whole`` the horizontal one has a mark at
    every whole number, and every point a dot.
    """

    title: str
    x_title: str
    lines: Sequence[Line]
    from_zero: bool = True
    whole: bool = False
    width: float = WIDTH
    height: float = _HEIGHT

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Places and texts of the horizontal axis's marks."""
        return [(self._x(value), _text(value)) for value in self._x_marks()]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Places and texts of the vertical axis's marks."""
        return [(self._y(value), _text(value)) for value in self._y_marks()]

    @property
    def left(self) -> float:
        """Where the lines begin."""
        return _LEFT

    @property
    def right(self) -> float:
        """Where the lines end."""
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        """Where the horizontal axis is."""
        return self.height - _BOTTOM

    def places(self, line: Line) -> list[Point]:
        """Return where a line's points are."""
        return [(self._x(x), self._y(y)) for x, y in _thinned(line.points)]

    def path(self, line: Line) -> str:
        """Return a line as SVG's list of points."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.places(line))

    def _x_marks(self) -> list[float]:
        found = sorted({x for line in self.lines for x, _ in line.points})
        if self.whole and len(found) <= 8:
            return found
        marks = ticks(min(found), max(found))
        return [mark for mark in marks if found[0] <= mark <= found[-1]] or found[:1]

    def _y_marks(self) -> list[float]:
        found = [y for line in self.lines for _, y in line.points]
        return ticks(0.0 if self.from_zero else min(found), max(found))

    def _x(self, value: float) -> float:
        found = [x for line in self.lines for x, _ in line.points]
        low, high = min(found), max(found)
        margin = 0.08 * (high - low) if self.whole else 0.0
        share = (value - low + margin) / (high - low + 2 * margin) if high > low else 0.5
        return self.left + share * (self.right - self.left)

    def _y(self, value: float) -> float:
        marks = self._y_marks()
        share = (value - marks[0]) / (marks[-1] - marks[0])
        return self.bottom - share * (self.bottom - _TOP)


@dataclass(frozen=True)
class Bar:
    """A bar by its label, length, the text at its end, and its colour's number."""

    label: str
    value: float
    text: str
    colour: int


@dataclass(frozen=True)
class BarChart:
    """Bars below one another, each under its label."""

    title: str
    bars: Sequence[Bar]

    @property
    def rows(self) -> list[tuple[Bar, float]]:
        """Each bar with its length, as a share of the longest."""
        longest = max((bar.value for bar in self.bars), default=0) or 1.0
        return [(bar, bar.value / longest) for bar in self.bars]


def _thinned(points: Sequence[Point]) -> list[Point]:
    size = -(-len(points) // _POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size or 1)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def _text(value: float) -> str:
    return f"{value:,.6g}"
