"""Scatter plots as plain geometry: where marks, ticks, limits and labels go. Pure; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 76.0, 18.0, 18.0, 50.0
# For the template.
GEOMETRY = {"WIDTH": WIDTH, "HEIGHT": HEIGHT, "LEFT": LEFT, "RIGHT": RIGHT, "TOP": TOP, "BOTTOM": BOTTOM}

# A limit further from the data than this many times their range is named at the edge instead of drawn.
_REACH = 1.5
# Values that span more than this factor are easier to tell apart on a logarithmic axis.
_WIDE = 6.0
# Where a label may be, from its mark, in the order of preference: offset and text anchor.
_LABEL_PLACES = (
    (10, 4, "start"),
    (-10, 4, "end"),
    (0, -11, "middle"),
    (0, 20, "middle"),
    (9, -8, "start"),
    (9, 16, "start"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: what it shows, in which words, and the limit that a budget sets on it."""

    title: str
    format: Callable[[float], str]
    limit: float | None = None
    # The limit is a floor: what lies below it misses the budget.
    is_floor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One trial in the plot."""

    x: float
    y: float
    label: str
    # What the mark looks like, by shape and colour: "feasible", "infeasible", "dominated", "baseline" …
    kind: str
    # For whoever points at it.
    title: str
    ringed: bool = False
    y_low: float | None = None
    y_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis, and its words."""

    position: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A budget's line, or the note at the edge that it lies beyond it."""

    position: float
    text: str
    drawn: bool
    # The part of the plot that misses the budget, from … to; nothing where the line is not drawn.
    beyond: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point, in the coordinates of the picture."""

    x: float
    y: float
    point: Point
    label_x: float
    label_y: float
    # None: there is no room for its label.
    label_anchor: str | None
    whisker: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture, ready to be drawn."""

    x_axis: Axis
    y_axis: Axis
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_limit: Limit | None
    y_limit: Limit | None
    marks: tuple[Mark, ...]


def lay_out(points: Sequence[Point], *, x_axis: Axis, y_axis: Axis) -> Plot | None:
    """The plot of the points, what matters most drawn last and so on top; None where there is none."""
    if not points:
        return None
    points = sorted(points, key=lambda point: (point.ringed, point.kind == "feasible"))
    ends = [end for point in points for end in (point.y_low, point.y, point.y_high) if end is not None]
    x_scale = _Scale([point.x for point in points], x_axis, start=LEFT, end=WIDTH - RIGHT)
    y_scale = _Scale(ends, y_axis, start=HEIGHT - BOTTOM, end=TOP)
    return Plot(
        x_axis=x_axis,
        y_axis=y_axis,
        x_ticks=x_scale.ticks(),
        y_ticks=y_scale.ticks(),
        x_limit=x_scale.limit(),
        y_limit=y_scale.limit(),
        marks=tuple(_marks(points, x_scale, y_scale)),
    )


class _Scale:
    """Maps values to the picture, linearly or by their logarithm."""

    def __init__(self, values: Sequence[float], axis: Axis, *, start: float, end: float) -> None:
        low, high = min(values), max(values)
        self._axis = axis
        self._start, self._end = start, end
        self._logarithmic = low > 0 and high / low > _WIDE
        self._drawn = axis.limit is not None and self._within_reach(axis.limit, low, high)
        if axis.limit is not None and self._drawn:
            low, high = min(low, axis.limit), max(high, axis.limit)
        low, high = self._inner(low), self._inner(high)
        margin = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
        self._low, self._high = low - margin, high + margin
        if not self._logarithmic and self._low < 0 <= low:
            self._low = 0.0

    def place(self, value: float) -> float:
        """Where the value is."""
        share = (self._inner(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> tuple[Tick, ...]:
        """Round values, a handful of them."""
        rounded = _round_logarithmic(self._low, self._high) if self._logarithmic else _round(self._low, self._high)
        return tuple(Tick(position=self.place(value), text=self._axis.format(value)) for value in rounded)

    def limit(self) -> Limit | None:
        """The budget's line."""
        axis = self._axis
        if axis.limit is None:
            return None
        text = f"{'floor' if axis.is_floor else 'budget'} {axis.format(axis.limit)}"
        if not self._drawn:
            above = self._inner(axis.limit) > self._high
            return Limit(position=self._end if above else self._start, text=text, drawn=False)
        position = self.place(axis.limit)
        beyond = sorted((position, self._start if axis.is_floor else self._end))
        return Limit(position=position, text=text, drawn=True, beyond=(beyond[0], beyond[1]))

    def _within_reach(self, limit: float, low: float, high: float) -> bool:
        if self._logarithmic and limit <= 0:
            return False
        low, high, limit = self._inner(low), self._inner(high), self._inner(limit)
        reach = _REACH * (high - low) or abs(high) * _REACH
        return low - reach <= limit <= high + reach

    def _inner(self, value: float) -> float:
        return math.log10(value) if self._logarithmic else value


def _round(low: float, high: float) -> Iterable[float]:
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


def _round_logarithmic(low: float, high: float) -> Iterable[float]:
    span = high - low
    factors = (1, 1.5, 2, 3, 5, 7) if span < 1.5 else (1, 2, 5) if span < 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    values = [factor * 10.0**decade for decade in decades for factor in factors]
    return [value for value in values if low <= math.log10(value) <= high]


def _marks(points: Sequence[Point], x_scale: _Scale, y_scale: _Scale) -> Iterable[Mark]:
    places = [(x_scale.place(point.x), y_scale.place(point.y)) for point in points]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    for point, (x, y) in zip(points, places, strict=True):
        label_x, label_y, anchor, box = _free_place(point, x, y, taken)
        if box is not None:
            taken.append(box)
        whisker = None
        if point.y_low is not None and point.y_high is not None:
            whisker = (y_scale.place(point.y_low), y_scale.place(point.y_high))
        yield Mark(x=x, y=y, point=point, label_x=label_x, label_y=label_y, label_anchor=anchor, whisker=whisker)


_Box = tuple[float, float, float, float]


def _free_place(
    point: Point, x: float, y: float, taken: Sequence[_Box]
) -> tuple[float, float, str | None, _Box | None]:
    """Where a label covers neither a mark nor another label; further off where the mark has a ring."""
    width = 6.5 * len(point.label)
    reach = 1.5 if point.ringed else 1.0
    for right, down, anchor in ((right * reach, down * reach, anchor) for right, down, anchor in _LABEL_PLACES):
        left = x + right - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        box = (left, y + down - 9, left + width, y + down + 1)
        inside = box[0] > LEFT and box[2] < WIDTH - RIGHT / 2 and box[1] > TOP / 2 and box[3] < HEIGHT - BOTTOM
        if inside and not any(_overlap(box, other) for other in taken):
            return x + right, y + down, anchor, box
    return x, y, None, None


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
