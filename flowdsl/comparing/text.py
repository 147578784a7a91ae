"""A comparison in a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowdsl.comparing.matching import CHANGES

if TYPE_CHECKING:
    from flowdsl.comparing.comparison import Comparison

MOST = 12


def comparison_text(comparison: Comparison) -> str:
    """The totals, then each flow and sink that differs."""
    totals = comparison.totals()
    lines = [f"{totals['before']:,} deliveries before, {totals['after']:,} after: {changes_text(totals)}"]
    rows = [row for row in comparison.to_dict()["counts"] if any(row[change] for change in CHANGES)]
    lines += [
        f"  {row['flow']} to {row['sink']}: {row['before']:,} → {row['after']:,}   {changes_text(row)}"
        for row in rows[:MOST]
    ]
    if len(rows) > MOST:
        lines.append(f"  … and {len(rows) - MOST} more: comparison.counts")
    return "\n".join(lines)


def changes_text(counts: dict[str, Any]) -> str:
    """How many of each change, the word alone where there is none."""
    said = [f"{counts[change]:,} {change}" for change in CHANGES if counts[change]]
    return ", ".join([f"{counts['same']:,} the same", *said]) if said else "all the same"
