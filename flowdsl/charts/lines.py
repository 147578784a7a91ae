"""Line charts: numbers over numbers, durations, timestamps or names."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from flowdsl.charts.axes import FONT, Field, scale
from flowdsl.charts.chart import SERIES, Chart
from flowdsl.charts.formats import SECOND, micros, moment_text, number_text, short_text, span_text
from flowdsl.charts.ticks import Tick, number_ticks, time_ticks
from flowdsl.diagrams.svg import escape_text, short_number
from flowdsl.diagrams.text_width import width as text_width

WIDTH, HEIGHT = 760.0, 300.0
# lines differ by colour and by dashes
_DASHES: Final = ("", "7 4", "2 3", "10 3 2 3")
_NAMES: Final = 170.0


def line_chart(
    x: Sequence[Any],
    lines: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    seconds: bool = False,
    width: float = WIDTH,
) -> Chart:
    """Draw named lines over common positions `x`: datetimes to scale, text evenly spaced, numbers and
    timedeltas on a scale where all are apart: to scale, by their logarithm, or else evenly spaced.

    A value that is None or not a number leaves a gap. With `seconds` the values are durations.

    >>> chart = line_chart(
    ...     ["1m", "5m", "1h"],
    ...     {"in-app": [90, 40, 12], "push": [30, 30, None]},
    ...     title="deliveries by window",
    ...     x_label="window",
    ...     y_label="deliveries",
    ... )
    >>> print(chart)
    deliveries by window
    window  in-app  push
    1m      90      30
    5m      40      30
    1h      12
    """
    axis = _x_axis(x)
    values = {name: [_finite(value) for value in line] for name, line in lines.items()}
    over = f"{x_label} ({axis.note})" if axis.note else x_label
    known = [value for value in chain.from_iterable(values.values()) if value is not None]
    names = _names_width(values)
    field = Field(
        (width, HEIGHT),
        (min([0.0, *known]), max(known, default=0.0)),
        y_label=y_label,
        x_label=over,
        lines=axis.label_rows,
        room=min(names, _NAMES) + 24,
        whole=all(value.is_integer() for value in known),
        seconds=seconds,
    )
    written = _seconds_text if seconds else number_text
    first, last = min(axis.positions, default=0.0), max(axis.positions, default=0.0)
    left, right = field.left + 12, field.right - 6

    def across(at: float) -> float:
        share = (at - first) / (last - first) if last > first else 0.5
        return left + share * (right - left)

    field.tick_labels(axis.ticks(first, last, max(2, int(width // 95))), across)
    for number, (name, line) in enumerate(values.items()):
        _draw_line(field, name, line, axis, across, number, written)
    if len(values) > 1:
        _name_lines(field, values, right)
    text = _table(title, x_label, axis.texts, values, written)
    return Chart(title, _describe(values, axis.texts, written), width, HEIGHT, "".join(field.parts), text)


TickMaker = Callable[[float, float, int], list[Tick]]
Written = Callable[[float], str]


@dataclass(frozen=True)
class _XAxis:
    """The positions of values along the axis, their texts, its ticks between two ends, and a note on its
    scale.
    """

    positions: list[float]
    texts: list[str]
    ticks: TickMaker
    label_rows: int = 1
    note: str = ""


def _x_axis(x: Sequence[Any]) -> _XAxis:
    if _have_type(x, dt.datetime):
        return _time_axis([micros(value) for value in x])
    if _have_type(x, dt.timedelta):
        return _span_axis([value / dt.timedelta(microseconds=1) for value in x])
    if _have_type(x, (int, float)) and bool not in set(map(type, x)):
        return _number_axis(x)
    return _name_axis([*map(str, x)])


def _have_type(x: Sequence[Any], kind: type | tuple[type, ...]) -> bool:
    return bool(x) and all(isinstance(value, kind) for value in x)


def _name_axis(names: list[str]) -> _XAxis:
    ticks = [Tick(number, name) for number, name in enumerate(names)]
    return _XAxis([tick.at for tick in ticks], names, lambda low, high, most: ticks)


def _time_axis(times: list[int]) -> _XAxis:
    texts = [moment_text(time, seconds=True) for time in times]
    return _XAxis(
        [*map(float, times)],
        texts,
        lambda low, high, most: time_ticks(int(low), int(high), most),
        label_rows=2,
    )


def _number_axis(x: Sequence[float]) -> _XAxis:
    given, texts = sorted(set(x)), [*map(str, x)]
    place, note = scale(given)
    positions = [place(value) for value in x]
    if note:
        ticks = [Tick(place(value), number_text(value)) for value in given]
        return _XAxis(positions, texts, lambda low, high, most: ticks, note=note)
    return _XAxis(positions, texts, lambda low, high, most: _number_marks(given, most))


def _span_axis(spans: list[float]) -> _XAxis:
    place, note = scale(sorted(set(spans)))
    # multiples of ten are not round durations: label the given ones
    ticks = [Tick(place(span), span_text(span)) for span in sorted(set(spans))]
    texts = [span_text(span) for span in spans]
    return _XAxis([place(span) for span in spans], texts, lambda low, high, most: ticks, note=note)


def _seconds_text(seconds: float) -> str:
    return span_text(seconds * SECOND)


def _finite(value: Any) -> float | None:
    if value is None or value != value:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _names_width(lines: Mapping[str, object]) -> float:
    return max(text_width(name, FONT) for name in lines) if len(lines) > 1 else 0.0


def _number_marks(given: Sequence[float], most: int) -> list[Tick]:
    """Return ticks at the given numbers if they are few, otherwise at round ones."""
    if len(given) <= most:
        return [Tick(v, number_text(v)) for v in given]
    ticks = number_ticks(given[0], given[-1], most)
    return [Tick(v, short_text(v)) for v in ticks if given[0] <= v <= given[-1]]


def _draw_line(
    field: Field,
    name: str,
    line: Sequence[float | None],
    axis: _XAxis,
    across: Callable[[float], float],
    number: int,
    written: Written,
) -> None:
    points = [
        None if value is None else (across(at), field.y(value))
        for at, value in zip(axis.positions, line, strict=True)
    ]
    colour = number % len(SERIES)
    dash = _DASHES[number // len(SERIES) % len(_DASHES) or number % len(_DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    for run in _runs(points):
        path = "M" + "L".join(f"{short_number(px)} {short_number(py)}" for px, py in run)
        field.parts.append(f'<path d="{path}" class="l{colour}"{dashes}/>')
    for point, value, text in zip(points, line, axis.texts, strict=True):
        if point is not None and value is not None:
            at = f'cx="{short_number(point[0])}" cy="{short_number(point[1])}"'
            title = escape_text(f"{name}: {written(value)} at {text}")
            field.parts.append(f'<circle {at} r="3.2" class="f{colour}"><title>{title}</title></circle>')


def _runs(points: Iterable[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if len(run) > 1]


def _name_lines(field: Field, lines: Mapping[str, Sequence[float | None]], x: float) -> None:
    """Write each name at the end of its line, and keep names apart."""
    ends = []
    for number, (name, line) in enumerate(lines.items()):
        last = next((v for v in reversed(line) if v is not None), None)
        if last is not None:
            ends.append((field.y(last), number, name))
    bottom = -math.inf
    places: list[tuple[float, int, str]] = []
    for y, number, name in sorted(ends):
        bottom = max(y, bottom + 14)
        places.append((bottom, number, name))
    over = max((places[-1][0] if places else 0) - field.bottom, 0)
    for y, number, name in places:
        colour = number % len(SERIES)
        at = y - over
        field.line(x + 8, at, x + 18, at, f"l{colour}")
        field.text(x + 22, at + 4, name, css=f"f{colour}", room=_NAMES)


def _describe(lines: Mapping[str, Sequence[float | None]], texts: Sequence[str], written: Written) -> str:
    described = []
    for name, line in lines.items():
        known = [(value, text) for value, text in zip(line, texts, strict=True) if value is not None]
        if known:
            (first, start), (last, end) = known[0], known[-1]
            described.append(f"{name}: from {written(first)} at {start} to {written(last)} at {end}")
    return "; ".join(described) or "nothing"


def _table(
    title: str,
    x_label: str,
    texts: Sequence[str],
    lines: Mapping[str, Sequence[float | None]],
    written: Written,
) -> str:
    columns = [[x_label, *texts]]
    for name, line in lines.items():
        columns.append([name, *("" if value is None else written(value) for value in line)])
    widths = [max(map(len, column)) for column in columns]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([title, *rows])
