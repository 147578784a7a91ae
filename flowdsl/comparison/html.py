"""A comparison as a picture and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from flowdsl.comparison.alignment import beside
from flowdsl.comparison.inputs import FlowPair
from flowdsl.comparison.matches import CHANGES
from flowdsl.comparison.text import changes_text, heading
from flowdsl.diagrams.comparisons import comparison_chain, comparison_diagram
from flowdsl.diagrams.picture import Picture
from flowdsl.pluralize import count_text
from flowdsl.reports.elements import Html, element, joined, paragraph, plain, table

if TYPE_CHECKING:
    from flowdsl.comparison.comparison import Comparison

# more flows than these are listed, and not drawn
_DRAWN: Final = 30
_ROWS: Final = 40


def comparison_picture(comparison: Comparison, pairs: Sequence[FlowPair]) -> Picture:
    """The flows that differ; all, where none does."""
    counts = comparison.to_dict()["counts"]
    differing = {row["flow"] for row in counts if any(row[change] for change in CHANGES)}
    drawn = [pair for pair in pairs if pair.name in differing] or list(pairs)
    sinks: dict[str, tuple[int, int]] = {}
    for row in counts:
        if row["flow"] in {pair.name for pair in drawn}:
            before, after = sinks.get(row["sink"], (0, 0))
            sinks[row["sink"]] = before + row["before"], after + row["after"]
    chains = [
        comparison_chain(pair.name, [side.trigger for side in pair.sides], list(beside(pair)))
        for pair in drawn
    ]
    same = len(pairs) - len(drawn)
    notes = [
        changes_text(comparison.totals()),
        *([f"{count_text(same, 'flow')} more, the same on both sides"] if same else []),
    ]
    return Picture(comparison_diagram("Before and after", chains, sinks, notes))


def comparison_html(comparison: Comparison) -> str:
    """The totals, the counts of what differs, the causes where they are known, and the picture."""
    said = comparison.to_dict()
    rows = [row for row in said["counts"] if any(row[change] for change in CHANGES)]
    parts: list[Any] = [paragraph(element("b", heading(comparison)))]
    if rows:
        parts.append(_counts(rows))
    if said.get("causes"):
        parts.append(_causes(said["causes"]))
    if rows and len({row["flow"] for row in rows}) <= _DRAWN:
        parts.append(Html(comparison.picture().html))
    return str(element("div", *parts))


def _counts(rows: Sequence[dict[str, Any]]) -> Html:
    heads = ["flow", "sink", "before", "after", "same", *CHANGES]
    cells = [
        [plain(row["flow"]), plain(row["sink"]), *(f"{row[name]:,}" for name in heads[2:])]
        for row in rows[:_ROWS]
    ]
    return joined(table(heads, cells, left=2), _more(len(rows), "comparison.counts"))


def _causes(causes: Sequence[dict[str, Any]]) -> Html:
    heads = ["flow", "change", "why", "finding", "event", "count"]
    cells = [
        [
            plain(cause["flow"]),
            cause["change"],
            plain(
                ", ".join(
                    str(part) for part in (cause["operator"], cause["outcome"], cause["reason"]) if part
                )
            ),
            plain(cause.get("finding") or ""),
            str(cause["example"]),
            f"{cause['count']:,}",
        ]
        for cause in causes[:_ROWS]
    ]
    return joined(table(heads, cells, left=5), _more(len(causes), "comparison.causes"))


def _more(count: int, where: str) -> Html:
    return paragraph(f"… and {count - _ROWS:,} more: {where}") if count > _ROWS else Html("")
