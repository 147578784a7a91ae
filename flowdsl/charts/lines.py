"""Line charts: numbers over numbers, durations, timestamps or names."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from flowdsl.charts.axes import FONT, Field
from flowdsl.charts.chart import SERIES, Chart, said, short
from flowdsl.charts.formats import micros, moment_text, number_text, short_text, span_text
from flowdsl.charts.ticks import Tick, number_ticks, time_ticks
from flowdsl.diagrams.text_width import width as text_width

WIDTH, HEIGHT = 760.0, 300.0
# lines differ by colour and by dashes
_DASHES: Final = ("", "7 4", "2 3", "10 3 2 3")
_NAMES: Final = 170.0


def line_chart(
    x: Sequence[Any], lines: Mapping[str, Sequence[float | None]], *, title: str, x_label: str, y_label: str,
    width: float = WIDTH, height: float = HEIGHT, from_zero: bool = True,
) -> Chart:  # fmt: skip
    """Draw named lines over common positions `x`: numbers, timedeltas and datetimes to scale, text evenly
    spaced.

    A value that is None or not a number leaves a gap. With `from_zero=False` the axis begins near the smallest value.

    >>> chart = line_chart(["1m", "5m", "1h"], {"in-app": [90, 40, 12], "push": [30, 30, None]},
    ...                    title="deliveries by window", x_label="window", y_label="deliveries")
    >>> print(chart)
    deliveries by window
    window  in-app  push
    1m      90      30
    5m      40      30
    1h      12
    """
    places, say = _places(x)
    values = [[_number(v) for v in line] for line in lines.values()]
    known = [v for line in values for v in line if v is not None]
    low = min(known, default=0.0)
    names = max((text_width(name, FONT) for name in lines), default=0) if len(lines) > 1 else 0
    field = Field(
        (width, height), (min(low, 0) if from_zero else low, max(known, default=0.0)), y_label=y_label, x_label=x_label,
        lines=2 if isinstance(next(iter(x), None), dt.datetime) else 1, room=min(names, _NAMES) + 24,
        whole=all(v.is_integer() for v in known),
    )  # fmt: skip
    first, last = min(places, default=0.0), max(places, default=0.0)
    inner = field.left + 12, field.right - 6

    def across(at: float) -> float:
        share = (at - first) / (last - first) if last > first else 0.5
        return inner[0] + share * (inner[1] - inner[0])

    field.marks(say(first, last, max(2, int(width // 95))), across)
    for number, (name, line) in enumerate(zip(lines, values, strict=True)):
        points = [None if v is None else (across(p), field.y(v)) for p, v in zip(places, line, strict=True)]
        labels = [f"{name}: {number_text(v or 0)} at {text}" for v, text in zip(line, _texts(x), strict=True)]
        _draw(field, points, labels, number)
    if len(lines) > 1:
        _name_lines(field, dict(zip(lines, values, strict=True)), inner[1])
    return Chart(
        title, _described(lines, values, x), width, height, "".join(field.parts), _table(title, x_label, x, lines, values)
    )  # fmt: skip


def _number(value: Any) -> float | None:
    if value is None or value != value:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


Say = Callable[[float, float, int], list[Tick]]


def _places(x: Sequence[Any]) -> tuple[list[float], Say]:
    """Return the positions of the values, and a function that makes the ticks between two ends."""
    if x and all(isinstance(v, dt.datetime) for v in x):
        return [micros(v) for v in x], lambda low, high, most: time_ticks(int(low), int(high), most)
    if x and all(isinstance(v, dt.timedelta) for v in x):
        spans = [v / dt.timedelta(microseconds=1) for v in x]
        # multiples of ten are not round durations: label the given ones
        return spans, lambda low, high, most: [Tick(v, span_text(v)) for v in sorted(set(spans))]
    if x and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in x):
        return [float(v) for v in x], lambda low, high, most: _number_marks(sorted(set(x)), most)
    names = [Tick(i, str(v)) for i, v in enumerate(x)]
    return [float(i) for i in range(len(x))], lambda low, high, most: names


def _number_marks(given: Sequence[float], most: int) -> list[Tick]:
    """Return ticks at the given numbers if they are few, otherwise at round ones."""
    if len(given) <= most:
        return [Tick(v, number_text(v)) for v in given]
    ticks = number_ticks(given[0], given[-1], most)
    return [Tick(v, short_text(v)) for v in ticks if given[0] <= v <= given[-1]]


def _texts(x: Sequence[Any]) -> list[str]:
    return [
        moment_text(micros(v), seconds=True) if isinstance(v, dt.datetime)
        else span_text(v / dt.timedelta(microseconds=1)) if isinstance(v, dt.timedelta)
        else str(v)
        for v in x
    ]  # fmt: skip


def _draw(
    field: Field, points: Sequence[tuple[float, float] | None], labels: Sequence[str], number: int
) -> None:
    colour, dash = (
        number % len(SERIES),
        _DASHES[number // len(SERIES) % len(_DASHES) or number % len(_DASHES)],
    )
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    for run in _runs(points):
        path = "M" + "L".join(f"{short(px)} {short(py)}" for px, py in run)
        field.parts.append(f'<path d="{path}" class="l{colour}"{dashes}/>')
    for point, label in zip(points, labels, strict=True):
        if point is not None:
            at = f'cx="{short(point[0])}" cy="{short(point[1])}"'
            field.parts.append(
                f'<circle {at} r="3.2" class="f{colour}"><title>{said(label)}</title></circle>'
            )


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


def _described(lines: Iterable[str], values: Iterable[Sequence[float | None]], x: Sequence[Any]) -> str:
    texts = _texts(x)
    said_of = []
    for name, line in zip(lines, values, strict=True):
        known = [(v, text) for v, text in zip(line, texts, strict=True) if v is not None]
        if known:
            said_of.append(
                f"{name}: from {number_text(known[0][0])} at {known[0][1]} to {number_text(known[-1][0])} at {known[-1][1]}"
            )
    return "; ".join(said_of) or "nothing"


def _table(
    title: str, x_label: str, x: Sequence[Any], names: Iterable[str], values: Sequence[Sequence[float | None]]
) -> str:
    columns = [[x_label, *_texts(x)]]
    for name, line in zip(names, values, strict=True):
        columns.append([name, *("" if v is None else number_text(v) for v in line)])
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join(
        [title, *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)]
    )
