"""Comparisons as a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from flowdsl.comparison.matches import CHANGES
from flowdsl.errors import one_line
from flowdsl.frames import to_pandas
from flowdsl.pluralize import count_text
from flowdsl.text import clip

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


def table_text(table: pl.DataFrame) -> str:
    """Return a table as text, its columns to the right."""
    text: str = to_pandas(table).to_string(index=False)
    return text


def comparison_text(comparison: Comparison) -> str:
    """Return the totals, then each flow and sink that differs, with its causes if they are known."""
    facts = comparison.to_dict()
    lines = [heading(comparison)]
    if comparison.stopped is not None:
        lines.append(f"! {comparison.stopped}; no later event is processed, by any flow")
    differing = differing_rows(facts["counts"])
    flows = list(dict.fromkeys(row["flow"] for row in differing))
    for flow in flows[:MOST]:
        lines += ["", *map(_row, _of_flow(differing, flow))]
        lines += [_cause(cause, comparison) for cause in _of_flow(facts.get("causes", []), flow)]
    if len(flows) > MOST:
        lines += ["", f"… and {len(flows) - MOST} flows more: comparison.counts"]
    return "\n".join(map(one_line, lines))


def differing_rows(counts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the counts of flows and sinks with a delivery that differs."""
    return [row for row in counts if any(row[change] for change in CHANGES)]


def _of_flow(rows: list[dict[str, Any]], flow: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["flow"] == flow]


def _row(row: dict[str, Any]) -> str:
    counts = f"{row['before']:,} → {row['after']:,}"
    return f"{row['flow']} to {row['sink']}: {counts}   {changes_text(row)}"


def heading(comparison: Comparison) -> str:
    """Return the totals in one line."""
    totals = comparison.totals()
    where = ("as meant", "in production") if comparison.other_rules else ("before", "after")
    before = count_text(totals["before"], "delivery")
    return f"{before} {where[0]}, {totals['after']:,} {where[1]}: {changes_text(totals)}"


def changes_text(counts: dict[str, Any]) -> str:
    """Return the count of each change, and of deliveries without one."""
    changes = [f"{counts[change]:,} {change}" for change in CHANGES if counts[change]]
    return ", ".join([f"{counts['same']:,} the same", *changes]) if changes else "all the same"


def _cause(cause: dict[str, Any], comparison: Comparison) -> str:
    text = cause_text(cause, comparison)
    found = f"  [{cause['finding']}]" if cause.get("finding") else ""
    return f"  {cause['count']:>9,} {cause['change']:<11}  {text}{found}  event {cause['example']}"


def cause_text(cause: dict[str, Any], comparison: Comparison) -> str:
    """Describe the step that makes a difference, and the outcome of its contexts there."""
    step = "" if cause["step"] is None else f"{cause['operator']}, step {cause['step']}"
    why = _recipients(cause, comparison) if cause["outcome"] == "readdressed" else cause["reason"]
    why = _WAITING.get(cause["outcome"], why)
    return ": ".join(part for part in (step, why) if part)


def _recipients(cause: dict[str, Any], comparison: Comparison) -> str:
    """Describe an intended recipient, and the one who gets the delivery instead."""
    mine = (pl.col("flow") == cause["flow"]) & (pl.col("change") == "readdressed")
    example = pl.coalesce("seq_no_after", "seq_no_before") == cause["example"]
    rows = comparison.polars().filter(mine & example)
    before, after = (_recipient(rows[f"recipient_id_{side}"][0]) for side in ("before", "after"))
    return f"to {after} instead of {before}"


def _recipient(name: str | None) -> str:
    return "nobody" if name is None else repr(clip(name, _WIDEST))
