"""Alignment of the steps of two versions of a flow, with the counts of contexts at each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from flowdsl.comparison.inputs import FlowPair

COUNTS: Final = ("entered", "passed", "dropped", "failed", "absorbed", "held")
SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.String, "step_before": pl.Int64, "step_after": pl.Int64, "operator": pl.String, "text_before": pl.String,
    "text_after": pl.String, **{f"{name}_{side}": pl.Int64 for name in COUNTS for side in ("before", "after")},
}  # fmt: skip


def aligned(pair: FlowPair) -> list[dict[str, Any]]:
    """Return a row for each step of either side, with its counts before and after."""
    return [_row(pair.name, one, other) for one, other in beside(pair)]


def beside(pair: FlowPair) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Pair the steps of both sides: those with the same text, or with the same operator at the same place."""
    before, after = ([] if side is None else side.steps for side in (pair.before, pair.after))
    texts = [[step["text"] for step in steps] for steps in (before, after)]
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(
        a=texts[0], b=texts[1], autojunk=False
    ).get_opcodes():
        left, right = list(before[i:i_end]), list(after[j:j_end])
        if tag == "equal":
            yield from zip(left, right, strict=True)
            continue
        for step in left:
            same = next((k for k, other in enumerate(right) if other["operator"] == step["operator"]), None)
            if same is None:
                yield step, None
                continue
            yield from ((None, other) for other in right[:same])
            yield step, right[same]
            right = right[same + 1 :]
        yield from ((None, other) for other in right)


def _row(flow: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"flow": flow, "operator": (before or after or {})["operator"]}
    for side, step in (("before", before), ("after", after)):
        row |= {f"step_{side}": step and step["step"], f"text_{side}": step and step["text"]}
        row |= {f"{name}_{side}": step and step[name] for name in COUNTS}
    return {name: row[name] for name in SCHEMA}
