"""Column charts: counts over time, and counts of classes such as `3–5`."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.charts.axes import FONT, Field
from flowdsl.charts.chart import Chart
from flowdsl.charts.formats import moment_text, short_text, span_text
from flowdsl.charts.ticks import Tick, time_ticks
from flowdsl.diagrams.text_width import width as text_width
from flowdsl.pluralize import count_text

WIDTH, HEIGHT = 760.0, 180.0


def time_chart(
    edges: Sequence[int],
    counts: Sequence[int],
    *,
    title: str,
    what: str = "delivery",
    each: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Chart:
    """Draw counts over time: `edges` in µs (UTC), one more than `counts`; `each` names an interval.

    >>> day = 86_400_000_000
    >>> print(time_chart([0, day, 2 * day], [3, 1], title="visits", what="visit", each="day"))
    visits
    1970-01-01 00:00  3 visits
    1970-01-02 00:00  1 visit
    """
    each = each or span_text(edges[1] - edges[0])
    y_label = f"{count_text(0, what)[2:]} in each {each}"
    field = Field((width, height), (0, max(counts, default=0)), lines=2, y_label=y_label)
    low, high = edges[0], edges[-1]

    def place(at: float) -> float:
        return field.left + (at - low) / max(high - low, 1) * (field.right - field.left)

    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        gap = 1.0 if place(end) - place(start) > 3 else 0.0
        tooltip = f"from {moment_text(start)}: {count_text(count, what)}"
        field.column(place(start), place(end) - gap, count, tooltip, "f0")
    field.tick_labels(time_ticks(low, high, max(2, int(width // 95))), place)
    rows = [(moment_text(s), c) for s, c in zip(edges, counts, strict=False) if c]
    return _chart(field, title, rows, what)


def class_chart(
    classes: Sequence[tuple[str, int]],
    *,
    title: str,
    what: str,
    x_label: str,
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Chart:
    """Draw the count of each class, in the order given.

    >>> classes = [("1", 7), ("2", 2), ("3–5", 1)]
    >>> print(class_chart(classes, title="likes", what="person", x_label="likes of one person"))
    likes
    1    7 people
    2    2 people
    3–5  1 person
    """
    most = max((count for _, count in classes), default=0)
    field = Field((width, height), (0, most), y_label=count_text(0, what)[2:], x_label=x_label)
    room = (field.right - field.left) / max(len(classes), 1)
    half = min(room * 0.82, 64) / 2

    def place(at: float) -> float:
        return field.left + (at + 0.5) * room

    fits = all(text_width(short_text(count), FONT) < room - 2 for _, count in classes)
    for number, (label, count) in enumerate(classes):
        middle = place(number)
        tooltip = f"{label}: {count_text(count, what)}"
        field.column(middle - half, middle + half, count, tooltip, "f0")
        if fits and count:
            field.text(middle, field.y(count) - 4, short_text(count), anchor="middle", css="halo")
    field.tick_labels([Tick(number, label) for number, (label, _) in enumerate(classes)], place)
    return _chart(field, title, classes, what)


def _chart(field: Field, title: str, rows: Sequence[tuple[str, int]], what: str) -> Chart:
    texts = [(label, count_text(count, what)) for label, count in rows]
    description = "nothing"
    if any(count for _, count in rows):
        label, text = texts[max(range(len(rows)), key=lambda i: rows[i][1])]
        description = f"{len(rows)} columns, the highest at {label}: {text}"
    widest = max((len(label) for label, _ in texts), default=0)
    lines = [title, *(f"{label:<{widest}}  {text}" for label, text in texts)]
    return Chart(title, description, field.width, field.height, "".join(field.parts), "\n".join(lines))
