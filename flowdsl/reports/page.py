"""The HTML of a report: data for its templates, with charts drawn and long tables cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowdsl.charts.chart import Chart, chart_style, fit_chart
from flowdsl.charts.columns import class_chart, time_chart
from flowdsl.charts.formats import micros
from flowdsl.reports.insights import notes_of
from flowdsl.reports.metrics import DeliveryMetrics, FanOutMetrics, Figures, StepMetrics
from flowdsl.reports.payload_samples import PayloadSample
from flowdsl.reports.timeline import calendar_edges
from flowdsl.results.error_counts import Cause
from flowdsl.results.manifest_schema import Manifest
from flowdsl.views.templates import render, view_style

if TYPE_CHECKING:
    from flowdsl.diagrams.picture import Picture

_T = TypeVar("_T")
# sinks, fan-outs, steps or causes listed one by one
MOST: Final = 12
# rows of a table before the rest is folded
FOLDED: Final = 6
# most flows that a report draws
MOST_DRAWN: Final = 500
# width of a chart that has a row of its own, in pixels
WIDE: Final = 980.0


def render_page(figures: Figures, manifest: Manifest, picture: Picture | None) -> str:
    """Render the report as one self-contained HTML file."""
    context = _context(figures, manifest, picture, inline=True)
    return render("reports/page.html.j2", **context, chart_style=chart_style(".fd-report.fd-report .chart"))


def render_fragment(figures: Figures, manifest: Manifest, picture: Picture | None) -> str:
    """Render the report with its style for a notebook.

    Charts and the picture are images, because a notebook that is not trusted removes everything but the texts
    from SVG.
    """
    return render("reports/report.html.j2", **_context(figures, manifest, picture, inline=False))


def render_style() -> str:
    """Render the style sheet of a report: that of all views, and its own."""
    return view_style() + render("reports/report.css")


def _context(
    figures: Figures, manifest: Manifest, picture: Picture | None, *, inline: bool
) -> dict[str, Any]:
    return {
        "figures": figures,
        "picture": picture,
        "inline": inline,
        "MOST": MOST,
        "FOLDED": FOLDED,
        "style": render_style(),
        "notes": notes_of(figures, manifest),
        "timelines": _timelines(figures.sinks),
        "sinks": _largest(figures.sinks, lambda sink: sink.deliveries),
        "people_chart": _people_chart(figures) if figures.everyone.count else None,
        "latency_charts": _latency_charts(figures.steps),
        "fan_out_charts": _fan_out_charts(figures.fan_outs),
        "causes": [(cause, _example(cause)) for cause in figures.causes[:MOST]],
        "drops": _largest(figures.drops, lambda drop: drop.count, 2 * MOST),
        "sample_groups": _sample_groups(figures.steps),
    }


def _largest(items: Sequence[_T], size: Callable[[_T], int], most: int = MOST) -> list[_T]:
    """Return the largest items, in their original order."""
    kept = sorted(items, key=size, reverse=True)[:most]
    return [item for item in items if item in kept]


def _timelines(sinks: Sequence[DeliveryMetrics]) -> list[tuple[DeliveryMetrics, Chart]]:
    """Draw the deliveries to each sink over time, all on one axis."""
    drawn = _largest([sink for sink in sinks if sink.timeline is not None], lambda sink: sink.deliveries)
    edges, unit = calendar_edges(sink.timeline for sink in drawn)
    height = 150 if len(drawn) <= 4 else 116

    def chart(sink: DeliveryMetrics, counts: Sequence[int]) -> Chart:
        title = f"deliveries to {sink.sink} over time"
        draw = partial(time_chart, edges, counts, title=title, each=unit, height=height)
        return fit_chart(lambda width: draw(width=width), WIDE)

    return [(s, chart(s, s.timeline.within(edges))) for s in drawn if s.timeline is not None]


def _people_chart(figures: Figures) -> Chart:
    several = len(figures.sinks) > 1
    draw = partial(
        class_chart,
        figures.everyone.deliveries.classes(),
        title="people by the number of deliveries that each gets",
        what="person",
        x_label=f"deliveries to one person{', from all sinks' if several else ''}",
    )
    return fit_chart(lambda width: draw(width=width), WIDE)


def _latency_charts(steps: Sequence[StepMetrics]) -> list[tuple[StepMetrics, Chart]]:
    waiting = [step for step in steps if step.latency.max][:MOST]
    return [
        (
            step,
            class_chart(
                step.latency.span_classes(),
                title=f"deliveries of {step.flow} by latency",
                what="delivery",
                x_label="from the event to its delivery",
                width=480,
                height=170,
            ),
        )
        for step in waiting
        if step.timed and len(step.latency.span_classes()) > 1
    ]


def _fan_out_charts(fan_outs: Sequence[FanOutMetrics]) -> list[tuple[FanOutMetrics, Chart]]:
    used = [fan_out for fan_out in fan_outs if fan_out.sizes.total][:MOST]
    drawn = [fan_out for fan_out in used if len(fan_out.sizes.classes()) > 1]
    return [
        (
            fan_out,
            class_chart(
                fan_out.sizes.classes(),
                title=f"events of {fan_out.flow} by how many they reach",
                what="event",
                x_label="branches of one event",
                width=480,
                height=170,
            ),
        )
        for fan_out in drawn
    ]


def _example(cause: Cause) -> dict[str, Any]:
    """Return the fields of the event that failed first, then the variables that steps added."""
    hidden = ("seq_no", "error", "variables", "flow", "step", "operator")
    fields = {
        name: value if isinstance(value, (str, int, float, bool)) else str(value)
        for name, value in cause.example.items()
        if value is not None and name not in hidden
    }
    variables = json.loads(cause.example["variables"])
    return fields | {f"{k} =": v for k, v in variables.items() if k not in fields and k != "event"}


def _sample_groups(steps: Sequence[StepMetrics]) -> list[tuple[list[StepMetrics], list[tuple[Any, ...]]]]:
    """Group the steps with the same samples, which are those that flows share."""
    sampled = [step for step in steps if step.samples]
    groups = [list(group) for _, group in groupby(sampled, key=lambda step: id(step.samples))]
    return [(group, [_card(sample) for sample in group[0].samples]) for group in groups]


def _card(sample: PayloadSample) -> tuple[PayloadSample, int, dict[str, Any]]:
    """Return a sample, its time (µs), and the fields of its payload that its heading does not show."""
    payload = sample.payload if isinstance(sample.payload, dict) else {"payload": sample.payload}
    fields = {k: v for k, v in payload.items() if k != "recipient_id" or v != sample.recipient}
    return sample, micros(sample.delivered_at), fields
