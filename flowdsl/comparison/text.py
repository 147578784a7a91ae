"""Comparisons as a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from flowdsl.comparison.matches import CHANGES
from flowdsl.errors import one_line

if TYPE_CHECKING:
    from flowdsl.comparison.comparison import Comparison

MOST = 12
_WIDEST = 40
_WAITING = {
    "held": "waits there at the end of the log",
    "absorbed": "went out with another window",
    "passed": "goes on with another window",
    "moved": "lets it go on at another time",
}


def comparison_text(comparison: Comparison) -> str:
    """Return the totals, then each flow and sink that differs, with its causes if they are known."""
    said = comparison.to_dict()
    causes = said.get("causes", [])
    lines = [heading(comparison)]
    if comparison.stopped is not None:
        lines.append(f"! {comparison.stopped}; no later event is processed, by any flow")
    differing = [row for row in said["counts"] if any(row[change] for change in CHANGES)]
    flows = list(dict.fromkeys(row["flow"] for row in differing))
    for flow in flows[:MOST]:
        lines.append("")
        lines += [
            f"{flow} to {row['sink']}: {row['before']:,} → {row['after']:,}   {changes_text(row)}"
            for row in differing
            if row["flow"] == flow
        ]
        lines += [_cause(cause, comparison) for cause in causes if cause["flow"] == flow]
    if len(flows) > MOST:
        lines += ["", f"… and {len(flows) - MOST} flows more: comparison.counts"]
    return "\n".join(map(one_line, lines))


def heading(comparison: Comparison) -> str:
    """Return the totals in one line."""
    totals = comparison.totals()
    where = ("as meant", "in production") if comparison.other_rules else ("before", "after")
    return (
        f"{totals['before']:,} deliveries {where[0]}, {totals['after']:,} {where[1]}: {changes_text(totals)}"
    )


def changes_text(counts: dict[str, Any]) -> str:
    """Return the count of each change, and of deliveries without one."""
    said = [f"{counts[change]:,} {change}" for change in CHANGES if counts[change]]
    return ", ".join([f"{counts['same']:,} the same", *said]) if said else "all the same"


def _cause(cause: dict[str, Any], comparison: Comparison) -> str:
    step = "" if cause["step"] is None else f"{cause['operator']}, step {cause['step']}"
    why = _recipients(cause, comparison) if cause["outcome"] == "readdressed" else cause["reason"]
    why = _WAITING.get(cause["outcome"], why)
    told = ": ".join(part for part in (step, why) if part)
    found = f"  [{cause['finding']}]" if cause.get("finding") else ""
    return f"  {cause['count']:>9,} {cause['change']:<11}  {told}{found}  event {cause['example']}"


def _recipients(cause: dict[str, Any], comparison: Comparison) -> str:
    """Return an intended recipient, and the one who gets the delivery instead."""
    rows = comparison.polars().filter(
        (pl.col("flow") == cause["flow"]) & (pl.col("change") == "readdressed")
        & (pl.coalesce("seq_no_after", "seq_no_before") == cause["example"])
    )  # fmt: skip
    before, after = (_clipped(rows[f"recipient_id_{side}"][0]) for side in ("before", "after"))
    return f"to {after} instead of {before}"


def _clipped(recipient: str | None) -> str:
    if recipient is None:
        return "nobody"
    return repr(recipient if len(recipient) <= _WIDEST else f"{recipient[: _WIDEST - 1]}…")
