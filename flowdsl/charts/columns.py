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
    edges: Sequence[int], counts: Sequence[int], *, title: str, what: str = "delivery", each: str = "",
    series: int = 0, width: float = WIDTH, height: float = HEIGHT,
) -> Chart:  # fmt: skip
    """Draw counts over time: `edges` in µs (UTC), one more than `counts`; `each` names an interval.

    >>> day = 86_400_000_000
    >>> print(time_chart([0, day, 2 * day], [3, 1], title="visits", what="visit", each="day"))
    visits
    1970-01-01 00:00  3 visits
    1970-01-02 00:00  1 visit
    """
    several = count_text(0, what)[2:]
    field = Field(
        (width, height), (0, max(counts, default=0)), lines=2, y_label=f"{several} in each {each or span_text(edges[1] - edges[0])}"
    )  # fmt: skip
    low, high = edges[0], edges[-1]

    def place(at: float) -> float:
        return field.left + (at - low) / max(high - low, 1) * (field.right - field.left)

    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        gap = 1.0 if place(end) - place(start) > 3 else 0.0
        field.column(
            place(start), place(end) - gap, count, f"from {moment_text(start)}: {count_text(count, what)}", f"f{series}"
        )  # fmt: skip
    field.marks(time_ticks(low, high, max(2, int(width // 95))), place)
    said = [(moment_text(s), count_text(c, what)) for s, c in zip(edges, counts, strict=False) if c]
    return Chart(title, _most(said, counts), width, height, "".join(field.parts), _table(title, said))


def class_chart(
    classes: Sequence[tuple[str, int]], *, title: str, what: str, x_label: str,
    series: int = 0, width: float = WIDTH, height: float = HEIGHT,
) -> Chart:  # fmt: skip
    """Draw the count of each class, in the order given.

    >>> print(class_chart([("1", 7), ("2", 2), ("3–5", 1)], title="likes", what="person", x_label="likes of one person"))
    likes
    1    7 people
    2    2 people
    3–5  1 person
    """
    labels, counts = [label for label, _ in classes], [count for _, count in classes]
    several = count_text(0, what)[2:]
    field = Field((width, height), (0, max(counts, default=0)), y_label=several, x_label=x_label)
    room = (field.right - field.left) / max(len(labels), 1)
    wide = min(room * 0.82, 64)

    def place(at: float) -> float:
        return field.left + (at + 0.5) * room

    shown = [short_text(count) for count in counts]
    fits = all(text_width(text, FONT) < room - 2 for text in shown)
    for number, (label, count) in enumerate(zip(labels, counts, strict=True)):
        field.column(
            place(number) - wide / 2, place(number) + wide / 2, count, f"{label}: {count_text(count, what)}", f"f{series}"
        )  # fmt: skip
        if fits and count:
            field.text(place(number), field.y(count) - 4, shown[number], anchor="middle", css="halo")
    field.marks([Tick(number, label) for number, label in enumerate(labels)], place)
    said = [(label, count_text(count, what)) for label, count in zip(labels, counts, strict=True)]
    return Chart(title, _most(said, counts), width, height, "".join(field.parts), _table(title, said))


def _most(said: Sequence[tuple[str, str]], counts: Sequence[int]) -> str:
    if not any(counts):
        return "nothing"
    most = max(range(len(said)), key=lambda i: [c for c in counts if c][i]) if len(said) < len(counts) else max(
        range(len(said)), key=lambda i: counts[i]
    )  # fmt: skip
    return f"{len(said)} columns, the highest at {said[most][0]}: {said[most][1]}"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    wide = max((len(label) for label, _ in rows), default=0)
    return "\n".join([title, *(f"{label:<{wide}}  {text}" for label, text in rows)])
