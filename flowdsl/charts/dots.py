"""Dots next to names: several numbers of each, every kind of number in a panel of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from flowdsl.charts.axes import FONT, scale
from flowdsl.charts.chart import Chart
from flowdsl.charts.formats import number_text, short_text, span_text
from flowdsl.diagrams.svg import escape_text, short_number
from flowdsl.diagrams.text_width import elide_text
from flowdsl.diagrams.text_width import width as text_width

WIDTH: Final = 760.0
_ROW: Final = 20.0
_TOP: Final = 40.0
_NAMES: Final = 240.0
_GAP: Final = 8.0
_NARROW: Final = 60.0


@dataclass(frozen=True)
class DotPanel:
    """One number of each name: counts, or seconds; a `mark` such as a bound is drawn through all rows, with
    `sign` before it.
    """

    title: str
    values: Sequence[float | None]
    seconds: bool = False
    mark: float | None = None
    sign: str = ""

    @cached_property
    def scale(self) -> tuple[Callable[[float], float], str]:
        """The place of a value between 0 and 1, and a note on the scale: durations can be far apart."""
        given = sorted({value for value in (*self.values, self.mark) if value is not None})
        most = given[-1] if given else 0.0
        place, note = scale(given) if self.seconds and given else (float, "")
        if not note:
            return lambda value: value / most if most else 0.0, ""
        low, high = place(given[0]), place(most)
        return lambda value: 0.1 + 0.9 * (place(value) - low) / (high - low), note

    @property
    def head(self) -> str:
        """The title, with a note on the scale."""
        note = self.scale[1]
        return f"{self.title} ({note})" if note else self.title

    def text(self, value: float | None) -> str:
        """Return a number as the label of its dot; empty text for None."""
        if value is None:
            return ""
        return span_text(value * 1e6) if self.seconds else short_text(value)

    def exact(self, value: float | None) -> str:
        """Return a number with all its digits."""
        if value is None:
            return ""
        return span_text(value * 1e6) if self.seconds else number_text(value)


def dot_chart(
    names: Sequence[str], panels: Sequence[DotPanel], shades: Sequence[int], *, title: str
) -> Chart:
    """Draw a row for each name with a dot in every panel; `shades` are the numbers of the rows' colours.

    >>> panels = [DotPanel("messages", [90, 12]), DotPanel("delay", [60, 3600], seconds=True)]
    >>> chart = dot_chart(["1m", "1h"], panels, [0, 7], title="windows")
    >>> print(chart)
    windows
        messages  delay
    1m  90        1 min
    1h  12        1 h
    """
    parts: list[str] = []
    names_end = min(max((text_width(name, FONT) for name in names), default=0.0), _NAMES) + 8
    # as wide as its title, if all fit
    sizes = [max(text_width(panel.head, FONT), _NARROW) + 2 * _GAP for panel in panels]
    scale = (WIDTH - names_end - 8) / max(sum(sizes), 1)
    height = _TOP + _ROW * len(names) + 8
    for row, (name, shade) in enumerate(zip(names, shades, strict=True)):
        y = _TOP + (row + 0.5) * _ROW
        _text(parts, 4, y + 4, name, _NAMES, f"f{shade}")
        parts.append(_line(names_end, y, WIDTH - 8, y, "grid"))
    left = names_end
    for panel, size in zip(panels, sizes, strict=True):
        _draw_panel(parts, panel, shades, (left, size * scale - _GAP), height)
        left += size * scale
    described = f"{len(names)} rows with {', '.join(panel.title for panel in panels)}"
    return Chart(title, described, WIDTH, height, "".join(parts), _table(title, names, panels))


def _table(title: str, names: Sequence[str], panels: Sequence[DotPanel]) -> str:
    table = [["", *(panel.title for panel in panels)]]
    for row, name in enumerate(names):
        table.append([name, *(panel.exact(panel.values[row]) for panel in panels)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in table
    ]
    return "\n".join([title, *lines])


def _draw_panel(
    parts: list[str], panel: DotPanel, shades: Sequence[int], across: tuple[float, float], height: float
) -> None:
    left, room = across
    texts = [panel.text(value) for value in panel.values]
    widest = max((text_width(text, FONT) for text in texts), default=0.0)
    length = max(room - widest - 16, 10.0)
    place, _ = panel.scale

    def x(value: float) -> float:
        return left + 6 + place(value) * length

    _text(parts, left, 14, panel.head, room, "")
    parts.append(_line(left + 6, _TOP - 4, left + 6, height - 6, "axis"))
    if panel.mark is not None:
        parts.append(_line(x(panel.mark), _TOP - 4, x(panel.mark), height - 6, "l1"))
        _text(parts, left, 28, f"{panel.sign} {panel.text(panel.mark)}".strip(), room, "f1")
    for row, (value, text, shade) in enumerate(zip(panel.values, texts, shades, strict=True)):
        if value is None:
            continue
        y = _TOP + (row + 0.5) * _ROW
        at = f'cx="{short_number(x(value))}" cy="{short_number(y)}"'
        parts.append(
            f'<circle {at} r="4" class="f{shade}"><title>{escape_text(panel.exact(value))}</title></circle>'
        )
        _text(parts, x(value) + 7, y + 4, text, room, "halo")


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    ends = f'x1="{short_number(x1)}" y1="{short_number(y1)}" x2="{short_number(x2)}" y2="{short_number(y2)}"'
    return f'<line {ends} class="{css}"/>'


def _text(parts: list[str], x: float, y: float, text: str, room: float, css: str) -> None:
    style = f' class="{css}"' if css else ""
    fitted = escape_text(elide_text(text, room, FONT))
    parts.append(f'<text x="{short_number(x)}" y="{short_number(y)}"{style}>{fitted}</text>')
