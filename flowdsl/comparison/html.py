"""The picture and the HTML of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from flowdsl.comparison.alignment import align_steps
from flowdsl.comparison.inputs import FlowPair
from flowdsl.comparison.matches import CHANGES
from flowdsl.comparison.text import cause_text, changes_text, differing_rows, heading
from flowdsl.diagrams.comparisons import comparison_chain, comparison_diagram
from flowdsl.diagrams.picture import Picture
from flowdsl.pluralize import count_text
from flowdsl.views.templates import render

if TYPE_CHECKING:
    from flowdsl.comparison.comparison import Comparison

# with more flows there is no picture
_DRAWN: Final = 30
_ROWS: Final = 40


def comparison_picture(comparison: Comparison, pairs: Sequence[FlowPair]) -> Picture:
    """Draw the flows that differ, or all if none does."""
    counts = comparison.to_dict()["counts"]
    differing = {row["flow"] for row in differing_rows(counts)}
    drawn = [pair for pair in pairs if pair.name in differing] or list(pairs)
    chains = [
        comparison_chain(pair.name, [side.trigger for side in pair.sides], list(align_steps(pair)))
        for pair in drawn
    ]
    notes = [changes_text(comparison.totals())]
    if len(drawn) < len(pairs):
        notes.append(f"{count_text(len(pairs) - len(drawn), 'flow')} more, the same on both sides")
    sinks = _sink_totals(counts, {pair.name for pair in drawn})
    return Picture(comparison_diagram("Before and after", chains, sinks, notes))


def _sink_totals(counts: Sequence[dict[str, Any]], flows: set[str]) -> dict[str, tuple[int, int]]:
    """Return the deliveries before and after to each sink of these flows."""
    totals: dict[str, tuple[int, int]] = {}
    for row in counts:
        if row["flow"] in flows:
            before, after = totals.get(row["sink"], (0, 0))
            totals[row["sink"]] = before + row["before"], after + row["after"]
    return totals


def comparison_html(comparison: Comparison) -> str:
    """Render the totals, the counts of what differs, the causes if they are known, and the picture."""
    facts = comparison.to_dict()
    differing, causes = differing_rows(facts["counts"]), facts.get("causes", [])
    drawn = 0 < len({row["flow"] for row in differing}) <= _DRAWN
    return render(
        "comparison/comparison.html.j2",
        heading=heading(comparison),
        # kinds of change that do not occur get no column
        changes=[change for change in CHANGES if any(row[change] for row in differing)],
        counts=differing,
        causes=[(cause, cause_text(cause, comparison)) for cause in causes],
        found=any(cause.get("finding") for cause in causes),
        most=_ROWS,
        picture=comparison.picture() if drawn else None,
    )
