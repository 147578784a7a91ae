"""The plot area of a chart: margins, a numeric axis with a grid, and tick labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from flowdsl.charts.formats import SECOND, axis_text, span_text
from flowdsl.charts.ticks import Tick, number_ticks, span_ticks
from flowdsl.diagrams.svg import escape_text, short_number
from flowdsl.diagrams.text_width import elide_text, width

FONT: Final = 11.0
_LINE: Final = 14.0
_GAP: Final = 10.0
_LEFT: Final = 42.0
_MARK: Final = 150.0
# of the distance that evenly spaced points would have, the least at which two are apart
_APART: Final = 0.3


class Field:
    """Plot area that collects shapes placed by value: `low` to `high` upwards, `left` to `right` across.

    Values are counts, other numbers (`whole=False`) or `seconds`.
    """

    def __init__(
        self,
        size: tuple[float, float],
        values: tuple[float, float],
        *,
        y_label: str,
        x_label: str = "",
        lines: int = 1,
        room: float = 12,
        whole: bool = True,
        seconds: bool = False,
    ) -> None:
        self.width, self.height = size
        most = max(2, int(self.height // 40))
        if seconds:
            spans = span_ticks(values[0] * SECOND, values[1] * SECOND, most)
            ticks, labels = [span / SECOND for span in spans], [span_text(span) for span in spans]
        else:
            ticks = number_ticks(*values, most=most, whole=whole)
            labels = [axis_text(tick) for tick in ticks]
        self.low, self.high = ticks[0], ticks[-1]
        # charts stacked in a page align as long as their numbers are short
        self.left = max(_LEFT, max(width(label, FONT) for label in labels) + _GAP + 4)
        self.right = self.width - room
        self.top = 2 * _LINE + 2
        self.bottom = self.height - (lines + bool(x_label)) * _LINE - 6
        self.parts: list[str] = []
        self.text(4, _LINE, y_label, room=self.width - 8)
        for tick, label in zip(ticks, labels, strict=True):
            y = self.y(tick)
            self.line(self.left, y, self.right, y, "axis" if tick == max(self.low, 0) else "grid")
            self.text(self.left - 6, y + 4, label, anchor="end")
        if x_label:
            self.text(
                (self.left + self.right) / 2, self.height - 6, x_label, anchor="middle", room=self.width - 8
            )

    def y(self, value: float) -> float:
        """Return the vertical position of a value."""
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draw a straight line."""
        self.parts.append(
            f'<line x1="{short_number(x1)}" y1="{short_number(y1)}"'
            f' x2="{short_number(x2)}" y2="{short_number(y2)}" class="{css}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        css: str = "",
        room: float | None = None,
    ) -> None:
        """Draw one line of text, cut to its room."""
        fitted = text if room is None else elide_text(text, room, FONT)
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        style = f' class="{css}"' if css else ""
        self.parts.append(
            f'<text x="{short_number(x)}" y="{short_number(y)}"{where}{style}>{escape_text(fitted)}</text>'
        )

    def column(self, x1: float, x2: float, value: float, title: str, css: str = "f0") -> None:
        """Draw a column up from the axis, with a tooltip; a value above zero is always visible."""
        height = self.bottom - self.y(value)
        if value > 0:
            height = max(height, 1.5)
            place = f'x="{short_number(x1)}" y="{short_number(self.bottom - height)}"'
            size = f'width="{short_number(max(x2 - x1, 0.6))}" height="{short_number(height)}"'
            self.parts.append(
                f'<rect {place} {size} class="{css}"><title>{escape_text(title)}</title></rect>'
            )

    def tick_labels(self, ticks: Sequence[Tick], place: Callable[[float], float]) -> None:
        """Draw tick labels below the axis, as many as fit, with the larger unit in a second line."""
        for line, labels in enumerate(([t.label for t in ticks], [t.above for t in ticks])):
            named = [
                (place(t.at), elide_text(label, _MARK, FONT))
                for t, label in zip(ticks, labels, strict=True)
                if label
            ]
            for x, label in thin_labels(named, self.width):
                self.text(x, self.bottom + (line + 1) * _LINE + 1, label, anchor="middle")
        for tick in ticks:
            x = place(tick.at)
            self.line(x, self.bottom, x, self.bottom + 4, "axis")


def scale(given: Sequence[float]) -> tuple[Callable[[float], float], str]:
    """Return the place of each of some ascending numbers, at which all are apart, and a note on
    that scale.
    """
    if _distinguishable(given):
        return float, ""
    if given[0] > 0 and _distinguishable([math.log10(value) for value in given]):
        return math.log10, "logarithmic"
    places = {value: float(place) for place, value in enumerate(given)}
    return places.__getitem__, "not to scale"


def _distinguishable(places: Sequence[float]) -> bool:
    gaps = [later - earlier for earlier, later in pairwise(places)]
    return not gaps or min(gaps) >= _APART * (places[-1] - places[0]) / len(gaps)


def thin_labels(named: Sequence[tuple[float, str]], limit: float) -> Iterator[tuple[float, str]]:
    """Yield the labels that do not overlap: every nth of evenly spaced ones, otherwise those that fit."""
    widths = [width(label, FONT) for _, label in named]
    # at the ends labels are moved inwards
    middles = [
        min(max(x, wide / 2 + 2), limit - wide / 2 - 2) for (x, _), wide in zip(named, widths, strict=True)
    ]

    def apart(one: int, other: int) -> bool:
        return middles[other] - middles[one] >= (widths[one] + widths[other]) / 2 + 6

    gaps = [later[0] - earlier[0] for earlier, later in pairwise(named)]
    even = not gaps or max(gaps) <= 2 * min(gaps)
    for i in _every_nth(len(named), apart) if even else _fitting(len(named), apart):
        yield middles[i], named[i][1]


Apart = Callable[[int, int], bool]


def _every_nth(count: int, apart: Apart) -> list[int]:
    step = 1
    while any(not apart(i, i + step) for i in range(0, count - step, step)):
        step += 1
    return list(range(0, count, step))


def _fitting(count: int, apart: Apart) -> list[int]:
    """Return the first label, the last one if it fits, and those between that fit."""
    last, kept = count - 1, [0]
    for i in range(1, last):
        if apart(kept[-1], i) and apart(i, last):
            kept.append(i)
    return [*kept, last] if apart(kept[-1], last) else kept
