"""The report in short, as text for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from flowdsl.charts.formats import moment_text, share_text, span_text
from flowdsl.diagrams.text_width import printable
from flowdsl.pluralize import count_text
from flowdsl.reports.insights import notes_of
from flowdsl.reports.metrics import Figures
from flowdsl.results.manifest_schema import Manifest
from flowdsl.text import clip

_NAME: Final = 36
_LINE: Final = 160
_AT_MOST: Final = ("half up to", "95 of 100 up to")


def report_text(figures: Figures, manifest: Manifest) -> str:
    """Return the head of the report, its insights, and its tables in a few lines each."""
    blocks = [[_head(figures)], [_note(n.text, bad=n.bad) for n in notes_of(figures, manifest)]]
    blocks += [*map(list, (_people(figures), _latency(figures), _fan_outs(figures), _drops(figures)))]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _head(figures: Figures) -> str:
    span = (
        ""
        if figures.span is None
        else f", {moment_text(figures.span[0])} to {moment_text(figures.span[1])} UTC"
    )
    deliveries = (
        f"{count_text(figures.deliveries, 'delivery')} to {count_text(figures.everyone.count, 'person')}"
    )
    return f"{count_text(figures.events, 'event')}{span}: {deliveries}"


def _note(text: str, *, bad: bool) -> str:
    return f"{'!' if bad else '-'} {clip(printable(text), _LINE)}"


def _people(figures: Figures) -> Iterator[str]:
    if not figures.everyone.count:
        return
    rows = [(s.sink, s.recipients) for s in figures.sinks]
    if len(rows) > 1:
        rows.insert(0, ("all sinks", figures.everyone))
    table = [
        (name, people.count, often.sum, often.p50, often.p95, often.max, people.worst_day.max)
        for name, people in rows
        for often in (people.deliveries,)
    ]
    yield from _table(("sink", "people", "deliveries", *_AT_MOST, "most", "worst day"), table)


def _latency(figures: Figures) -> Iterator[str]:
    waiting = [s for s in figures.steps if s.latency.max]
    if waiting:
        rows = [(s.flow, *map(span_text, (s.latency.p50, s.latency.p95, s.latency.max))) for s in waiting]
        yield from _table(("latency", "half within", "95 of 100 within", "longest"), rows)


def _fan_outs(figures: Figures) -> Iterator[str]:
    used = [f for f in figures.fan_outs if f.sizes.total]
    if used:
        rows = [
            (f"{f.flow}, step {f.step}", f.sizes.p50, f.sizes.p95, f.largest, f"event {f.seq_no}")
            for f in used
        ]
        yield from _table(("fan-out", *_AT_MOST, "most", "largest"), rows)


def _drops(figures: Figures) -> Iterator[str]:
    if figures.drops:
        rows = [
            (f"{d.flow}, step {d.step}", d.count, share_text(d.count, d.came), d.reason)
            for d in figures.drops
        ]
        yield from _table(("dropped", "contexts", "of the step", "reason"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table: the first column to the left, numbers to the right."""
    cells = [[printable(_cell(cell)) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        yield "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()


def _cell(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else clip(str(cell), _NAME)
