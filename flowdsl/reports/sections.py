"""The sections of a report, each a heading, what it says in charts and tables, and a sentence on how to read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from flowdsl.charts.chart import Chart
from flowdsl.charts.columns import class_chart, time_chart
from flowdsl.charts.formats import moment_text, share_text, span_text
from flowdsl.pluralize import count_text
from flowdsl.reports.elements import (
    Bar,
    Cell,
    Html,
    code,
    definitions,
    details,
    element,
    joined,
    paragraph,
    plain,
    strong,
    table,
)
from flowdsl.reports.metrics import Figures, StepMetrics
from flowdsl.reports.payload_samples import PayloadSample
from flowdsl.reports.recipients import RecipientMetrics
from flowdsl.reports.timeline import shown_edges
from flowdsl.results.error_counts import Cause

Row = Sequence[Cell | Bar]
# puts a chart into the page
Draw = Callable[[Chart], Html]
# sinks, fan-outs, steps or causes that are shown one by one
MOST: Final = 12
# steps of which samples are shown at once
_CARDS: Final = 6


def over_time(figures: Figures, draw: Draw) -> Html:
    """Deliveries over time, a chart for each sink on one axis of time."""
    told = [s for s in figures.sinks if s.timeline is not None]
    if not told:
        return Html("")
    shown = sorted(told, key=lambda s: -s.deliveries)[:MOST]
    edges, unit = shown_edges([s.timeline for s in shown])
    charts: list[object] = []
    for sink in (s for s in told if s in shown):
        assert sink.timeline is not None
        counts = sink.timeline.within(edges)
        height = 150 if len(shown) <= 4 else 116
        chart = time_chart(
            edges, counts, title=f"deliveries to {sink.sink} over time", each=unit, width=980, height=height
        )
        charts += [
            Html(
                f"<h3>{plain(sink.sink, 120)} <span class=none>{count_text(sink.deliveries, 'delivery')}</span></h3>"
            ),
            draw(chart),
        ]
    return _section("Deliveries over time", *charts, _rest(len(told) - len(shown), "sink"))


def recipients(figures: Figures, draw: Draw) -> Html:
    """How many people are told how often: in all, by sink, and who is told most."""
    everyone = figures.everyone
    if not everyone.count:
        return Html("")
    sinks = sorted(figures.sinks, key=lambda s: -s.deliveries)[:MOST]
    rows: list[Row] = [(strong("all sinks"), *_row(everyone))] if len(figures.sinks) > 1 else []
    rows += [(plain(s.sink), *_row(s.recipients)) for s in figures.sinks if s in sinks]
    heads = [
        "",
        "people",
        "deliveries",
        "p50",
        "p95",
        "max",
        "worst day p50",
        "worst day p95",
        "worst day max",
    ]
    classes = everyone.deliveries.classes()
    chart = class_chart(
        classes,
        title="people by the number of deliveries that each gets",
        what="person",
        x_label="deliveries to one person, from all sinks"
        if len(figures.sinks) > 1
        else "deliveries to one person",
        width=980,
    )
    tops = [
        details(joined("Who gets most from ", strong(s.sink)), _top(s.recipients)) for s in sinks if s.recipients.top
    ]  # fmt: skip
    return _section(
        "How often each person is told",
        paragraph(
            "Half of the people get at most p50, all but one in twenty at most p95."
            " The worst day is the day (UTC) on which a person gets most."
        ),
        table(heads, rows),
        _rest(len(figures.sinks) - len(sinks), "sink"),
        draw(chart),
        element("h3", "Who gets most"),
        _top(everyone),
        *(tops if len(figures.sinks) > 1 else []),
    )


def latency(figures: Figures, draw: Draw) -> Html:
    """What batches and queues add between an event and its delivery."""
    told = [s for s in figures.steps if s.latency.total]
    waiting = [s for s in told if s.latency.max]
    if not told:
        return Html("")
    at_once = [s for s in told if not s.latency.max]
    rows: list[Row] = [
        (
            plain(s.flow),
            plain(", ".join(s.sinks)),
            s.latency.total,
            *(Html(span_text(v)) for v in (s.latency.p50, s.latency.p95, s.latency.max)),
        )
        for s in waiting[:MOST]
    ]
    parts: list[object] = [
        paragraph("From the event to its delivery. What does not wait in a batch or a queue is late only by how late its event came."),
    ]  # fmt: skip
    if rows:
        parts.append(table(["flow", "to", "deliveries", "p50", "p95", "max"], rows, left=2))
        parts.append(_rest(len(waiting) - MOST, "step"))
    charts = [_span_chart(s, draw) for s in waiting[:MOST] if s.timed and len(s.latency.span_classes()) > 1]
    parts.append(Html(f'<div class="two">{"".join(charts)}</div>') if charts else "")
    if at_once:
        names = dict.fromkeys(s.flow for s in at_once)
        parts.append(paragraph("Delivered at the moment of the event: ", *_listed(names), "."))
    return _section("Latency", *parts)


def fan_outs(figures: Figures, draw: Draw) -> Html:
    """How many branches events go into."""
    told = [f for f in figures.fan_outs if f.sizes.total]
    if not told:
        return Html("")
    rows = [
        (plain(f.flow), code(f.text), f.sizes.total, f.sizes.p50, f.sizes.p95, f.largest,
         Html(f"event {f.seq_no}"), f.no_links)
        for f in told[:MOST]
    ]  # fmt: skip
    charts = []
    wide = [f for f in told[:MOST] if len(f.sizes.classes()) > 1]
    for f in wide:
        classes = f.sizes.classes()
        chart = class_chart(
            classes, title=f"events of {f.flow} by how many they reach",
            what="event", x_label="branches of one event", width=980 if len(wide) == 1 else 480, height=170,
        )  # fmt: skip
        heading = element("h3", plain(f.flow)) if len(told) > 1 else ""
        charts.append(joined(element("div", heading, draw(chart))))
    heads = ["flow", "step", "events", "p50", "p95", "max", "largest", "without a link"]
    return _section(
        "Fan-out sizes",
        table(heads, rows, left=2),
        _rest(len(told) - MOST, "fan-out"),
        Html(f'<div class="two">{"".join(charts)}</div>') if charts else "",
    )


def not_delivered(figures: Figures) -> Html:
    """What did not become a delivery: failures by cause, drops by reason, late events, open windows."""
    parts: list[object] = []
    if figures.causes:
        parts += [element("h3", f"Failed: {count_text(figures.failed, 'context')}"), _causes(figures.causes)]
    if figures.drops:
        most = max(d.count for d in figures.drops)
        large = sorted(figures.drops, key=lambda d: -d.count)[: 2 * MOST]
        shown_drops = [d for d in figures.drops if d in large]
        rows = [
            (plain(d.flow), joined(f"{d.step} ", code(d.text, 160)), plain(d.reason), d.count,
             Html(share_text(d.count, d.came)), Bar(d.count / most))
            for d in shown_drops
        ]  # fmt: skip
        total = sum(d.count for d in figures.drops)
        heads = ["flow", "step", "reason", "contexts", "of the step", ""]
        parts += [
            element("h3", f"Dropped on purpose: {count_text(total, 'context')}"),
            table(heads, rows, left=3),
            _rest(len(figures.drops) - len(shown_drops), "smaller one"),
        ]
    if figures.refused:
        refused = [(plain(r.flow), str(r.step), plain(r.sink), r.count) for r in figures.refused]
        parts += [
            element("h3", "Refused by recipients’ preferences"),
            table(["flow", "step", "sink", "deliveries"], refused, left=3),
        ]
    if figures.undelivered:
        lost = [(plain(sink), plain(error), count) for sink, error, count in figures.undelivered[:MOST]]
        parts += [element("h3", "Not taken by sinks"), table(["sink", "error", "deliveries"], lost, left=2)]
    parts += [_late(figures), _open(figures)]
    shown = [part for part in parts if part]
    return _section("What was not delivered", *shown) if shown else Html("")


def samples(figures: Figures) -> Html:
    """Payloads as they were rendered."""
    told = [s for s in figures.steps if s.samples]
    if not told:
        return Html("")
    parts: list[object] = [
        paragraph("The first and the last delivery of each step, the longest and the shortest text, and payloads of rare shapes.")
    ]  # fmt: skip
    for same, steps in groupby(told, key=lambda s: id(s.samples)):
        del same
        # steps that flows share give the same to all of them
        step, *others = list(steps)
        more = f" and {count_text(len(others), 'other flow')}" if others else ""
        title = joined(plain(step.flow, 120), more, " → ", Html(", ".join(plain(s, 120) for s in step.sinks)))
        cards = element("div", *map(_card, step.samples), css="cards")
        parts.append(joined(element("h3", title), cards))
    return _section(
        "Samples of payloads", *parts[: _CARDS + 1],
        details(f"{count_text(len(parts) - _CARDS - 1, 'step')} more", *parts[_CARDS + 1 :]) if len(parts) > _CARDS + 1 else "",
    )  # fmt: skip


def _section(title: str, *parts: object) -> Html:
    return element("section", element("h2", title), *parts)


def _rest(count: int, what: str) -> Html:
    return paragraph(f"… and {count_text(count, what)} more") if count > 0 else Html("")


def _listed(names: Iterable[str]) -> list[object]:
    parts: list[object] = []
    for name in names:
        parts += [", " if parts else "", strong(name)]
    return parts


def _row(people: RecipientMetrics) -> tuple[int, ...]:
    often, worst = people.deliveries, people.worst_day
    return (people.count, often.sum, often.p50, often.p95, often.max, worst.p50, worst.p95, worst.max)


def _top(people: RecipientMetrics) -> Html:
    parts: list[object] = []
    if people.top:
        most = people.top[0].deliveries
        rows = [
            (plain(p.recipient, 200), p.deliveries, Bar(p.deliveries / most), share_text(p.deliveries, people.deliveries.sum),
             Html(f"{p.worst_day:,} on {p.day.isoformat()}"))
            for p in people.top
        ]  # fmt: skip
        parts.append(table(["person", "deliveries", "", "of all", "worst day"], rows))
    if people.tied:
        each, count = people.tied
        more = "more " if people.top else ""
        parts.append(
            paragraph(f"{count_text(count, 'person')} {more}get {count_text(each, 'delivery')} each.")
        )
    if people.nobody:
        parts.append(paragraph(f"{count_text(people.nobody, 'delivery')} without a recipient."))
    return joined(*parts)


def _span_chart(step: StepMetrics, draw: Draw) -> Html:
    classes = step.latency.span_classes()
    chart = class_chart(
        classes, title=f"deliveries of {step.flow} by latency",
        what="delivery", x_label="from the event to its delivery", width=480, height=170,
    )  # fmt: skip
    return element("div", element("h3", plain(step.flow)), draw(chart))


def _causes(causes: Sequence[Cause]) -> Html:
    most = causes[0].count
    rows = [
        (joined(strong(cause.error), _example(cause)), plain(cause.flow), f"{cause.step} {cause.operator}", cause.count,
         Bar(cause.count / most))
        for cause in causes[:MOST]
    ]  # fmt: skip
    shown = table(["cause", "flow", "step", "contexts", ""], rows, left=3)
    return joined(shown, _rest(len(causes) - MOST, "cause"))


def _example(cause: Cause) -> Html:
    event = {
        k: v for k, v in cause.example.items() if v is not None and k not in ("seq_no", "error", "variables")
    }
    event = {k: _said(v) for k, v in event.items() if k not in ("flow", "step", "operator")}
    variables = json.loads(cause.example["variables"])
    shown = definitions(
        {
            **event,
            **{f"{name} =": value for name, value in variables.items() if name not in (*event, "event")},
        }
    )
    return details(f"the first: event {cause.example['seq_no']}", shown)


def _said(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _late(figures: Figures) -> Html:
    late = figures.late
    if not late.count:
        return Html("")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in late.kinds)
    how = f"by {span_text(late.lateness.p50)} (p50), {span_text(late.lateness.p95)} (p95), at most {span_text(late.lateness.max)}"
    return joined(
        element("h3", f"Late: {count_text(late.count, 'event')}"),
        paragraph(f"Older than the log’s clock when they came, {how}; processed all the same. {kinds}."),
    )


def _open(figures: Figures) -> Html:
    if not figures.open:
        return Html("")
    rows = [
        (plain(o.flow), f"{o.step} {o.operator}", o.windows, o.held, Html("" if o.due is None else moment_text(o.due, seconds=True)))
        for o in figures.open
    ]  # fmt: skip
    heads = ["flow", "step", "windows or queues", "contexts held", "the first is due (UTC)"]
    return joined(element("h3", "Left open at the end"), table(heads, rows, left=2))


def _card(sample: PayloadSample) -> Html:
    payload = sample.payload
    if isinstance(payload, dict):
        fields = {k: v for k, v in payload.items() if k != "recipient_id" or v != sample.recipient}
        body = definitions(fields)
    else:
        body = definitions({"payload": payload})
    to = plain(sample.recipient, 120) if sample.recipient is not None else Html("nobody")
    at = moment_text(round(sample.delivered_at.timestamp() * 1e6), seconds=True)
    head = element("div", sample.why, css="why")
    of = element("div", "to ", to, f", {at}, event {sample.seq_no}", css="of")
    return element("div", head, of, body, css="card")
