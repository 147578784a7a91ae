"""The whole report as HTML: a fragment for notebooks, and a page of its own that needs nothing beside itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flowdsl.charts.formats import moment_text
from flowdsl.pluralize import count_text
from flowdsl.reports import sections
from flowdsl.reports.elements import Html, details, element, joined, paragraph, plain
from flowdsl.reports.insights import notes_of
from flowdsl.reports.metrics import Figures
from flowdsl.reports.style import ROOT, page_style, report_style

if TYPE_CHECKING:
    from flowdsl.diagrams.picture import Picture

# flows that a heading names one by one
_NAMED: Final = 3
# flows that are drawn at once, and for those who want to see them
_DRAWN: Final = 8
MOST_DRAWN: Final = 500
# a page may show what it holds, and nothing else: no script, no address
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def fragment(figures: Figures, manifest: dict[str, Any], picture: Picture | None) -> Html:
    """The report with its style, for a notebook.

    What is drawn stands there as images: of a notebook that is not trusted, and on the web, nothing else would be left
    of it than the texts in it, one after the other.
    """
    return _report(
        figures, manifest, None if picture is None else Html(picture.html), lambda chart: Html(chart.html)
    )


def page(figures: Figures, manifest: dict[str, Any], picture: Picture | None) -> str:
    """The report as one HTML file."""
    report = _report(
        figures, manifest, None if picture is None else Html(picture.svg), lambda chart: Html(chart.inline)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title(figures)}</title><style>{page_style()}</style></head>"
        f"<body>{report}</body></html>\n"
    )


def _report(figures: Figures, manifest: dict[str, Any], picture: Html | None, draw: sections.Draw) -> Html:
    parts = [
        Html(f"<style>{report_style()}</style>"),
        element("h1", title(figures)),
        element("p", _lead(figures), css="lead"),
        _tiles(figures),
        _notes(figures, manifest),
        element("section", element("h2", "Flows"), _drawn(figures, picture)),
        sections.over_time(figures, draw),
        sections.recipients(figures, draw),
        sections.latency(figures, draw),
        sections.fan_outs(figures, draw),
        sections.not_delivered(figures),
        sections.samples(figures),
    ]
    return element("div", *parts, css=ROOT)


def _drawn(figures: Figures, drawn: Html | None) -> Html:
    """The picture at once, or where it is long for whoever wants to see it."""
    count = len(figures.flows)
    if drawn is None:
        return paragraph(f"{count:,} flows are too many for one picture here; result.picture() draws them.")
    picture = element("div", drawn, css="wide")
    return picture if count <= _DRAWN else details(f"the picture of {count} flows with their counts", picture)


def title(figures: Figures) -> Html:
    """What was replayed."""
    names = figures.flows
    if len(names) > _NAMED:
        return joined(f"Replay of {len(names)} flows")
    parts: list[object] = ["Replay of "]
    for number, name in enumerate(names):
        parts += ["" if not number else " and " if number == len(names) - 1 else ", ", plain(name, 120)]
    return joined(*parts)


def _lead(figures: Figures) -> str:
    if figures.span is None:
        return "The log has no events."
    first, last = figures.span
    return f"{count_text(figures.events, 'event')}, {moment_text(first)} to {moment_text(last)} (UTC)"


def _tiles(figures: Figures) -> Html:
    everyone = figures.everyone
    often, worst = everyone.deliveries, everyone.worst_day
    dropped = sum(d.count for d in figures.drops)
    tiles = [
        _tile(figures.deliveries, "deliveries to " + count_text(len(figures.sinks), "sink")),
        _tile(everyone.count, "people told"),
        _tile(often.p50, f"deliveries to a person (p50); p95 {often.p95:,}, max {often.max:,}"),
        _tile(worst.max, f"most to one person in a day; p95 {worst.p95:,}"),
        _tile(dropped, "contexts dropped on purpose"),
        _tile(figures.failed, "contexts failed", bad=figures.failed > 0),
    ]
    if figures.late.count:
        tiles.append(_tile(figures.late.count, "events late"))
    return element("div", *tiles, css="tiles")


def _tile(number: int, what: str, *, bad: bool = False) -> Html:
    return element(
        "div", element("b", f"{number:,}"), " ", element("span", what), css="tile bad" if bad else "tile"
    )


def _notes(figures: Figures, manifest: dict[str, Any]) -> Html:
    notes = notes_of(figures, manifest)
    if not notes:
        return Html("")
    return element(
        "ul", *(element("li", plain(n.text, 400), css="bad" if n.bad else "") for n in notes), css="notes"
    )
