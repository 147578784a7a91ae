"""Alignment of the steps of two versions of a flow, with the counts of contexts at each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from flowdsl.comparison.inputs import FlowPair

COUNTS: Final = ("entered", "passed", "dropped", "failed", "absorbed", "held")
SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.String,
    "step_before": pl.Int64,
    "step_after": pl.Int64,
    "operator": pl.String,
    "text_before": pl.String,
    "text_after": pl.String,
    **{f"{name}_{side}": pl.Int64 for name in COUNTS for side in ("before", "after")},
}
Step = Mapping[str, Any]


def step_rows(pair: FlowPair) -> list[dict[str, Any]]:
    """Return a row for each step of either side, with its counts before and after."""
    return [_row(pair.name, one, other) for one, other in align_steps(pair)]


def align_steps(pair: FlowPair) -> Iterator[tuple[Step | None, Step | None]]:
    """Pair the steps of both sides: those with the same text, or with the same operator at the same place."""
    before, after = ([] if side is None else side.steps for side in (pair.before, pair.after))
    texts = [[step["text"] for step in steps] for steps in (before, after)]
    matcher = difflib.SequenceMatcher(a=texts[0], b=texts[1], autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(before[i:i_end], after[j:j_end], strict=True)
        else:
            yield from _align_operators(before[i:i_end], after[j:j_end])


def _align_operators(
    left: Sequence[Step], right: Sequence[Step]
) -> Iterator[tuple[Step | None, Step | None]]:
    """Pair steps with different texts by their operators, in order."""
    for step in left:
        operators = [other["operator"] for other in right]
        if step["operator"] not in operators:
            yield step, None
            continue
        same = operators.index(step["operator"])
        yield from ((None, other) for other in right[:same])
        yield step, right[same]
        right = right[same + 1 :]
    yield from ((None, other) for other in right)


def _row(flow: str, before: Step | None, after: Step | None) -> dict[str, Any]:
    row: dict[str, Any] = {"flow": flow, "operator": (before or after or {})["operator"]}
    for side, step in (("before", before), ("after", after)):
        if step is not None:
            row |= {f"{name}_{side}": step[name] for name in ("step", "text", *COUNTS)}
    return row
