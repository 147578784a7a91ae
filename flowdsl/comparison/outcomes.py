"""Endings of undelivered contexts of some events in a replay, found by running it once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from flowdsl.engine.trace import DELIVERED, ENTERED, PASSED, Trace
from flowdsl.errors import without_warnings
from flowdsl.flow.plan import CompiledStep
from flowdsl.progress import track
from flowdsl.results.options import Options
from flowdsl.results.run import run
from flowdsl.results.store import NoStore
from flowdsl.values.json_types import Ints
from flowdsl.values.orders import distinct

OUTCOMES: Final = pl.Enum(["dropped", "failed", "absorbed", "held", "passed"])
SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.Int64,
    "seq_no": pl.Int64,
    "branch": pl.String,
    "step": pl.Int64,
    "operator": pl.String,
    "outcome": OUTCOMES,
    "reason": pl.String,
    "into": pl.Int64,
    "into_branch": pl.String,
}
_KEY: Final = ("flow", "seq_no", "branch", "step")


def endings(options: Options, flows: Sequence[int], seqs: Ints) -> pl.DataFrame:
    """Return a row for each step at which a context of these events ends undelivered in one of these flows,
    which are given by number.

    For this the replay of these options runs once more with tracing on; its tables are discarded.
    """
    # all flows must run if a state or caps are shared between them
    kept = list(range(len(options.flows))) if options.together else sorted(set(flows))
    trace = Trace(_keeps, seqs=distinct(seqs))
    with without_warnings():
        # the replay itself has already warned
        chosen = dataclasses.replace(options, flows=tuple(options.flows[number] for number in kept))
        with track(None, chosen.source.count(), "causes") as follower:
            run(chosen, NoStore(), progress=follower.advance_to, outcomes=trace)
    found = _endings_of(trace.frame())
    numbers = pl.DataFrame(
        {"flow": range(len(kept)), "number": kept}, schema={"flow": pl.Int64, "number": pl.Int64}
    )
    renumbered = found.join(numbers, on="flow", maintain_order="left").with_columns(
        pl.col("number").alias("flow")
    )
    return renumbered.select(list(SCHEMA)).filter(pl.col("flow").is_in(list(flows)))


def _keeps(step: CompiledStep, outcome: str) -> bool:
    # contexts that entered a window or a queue, and have no other outcome there, are held
    return step.timed if outcome in (ENTERED, PASSED) else outcome != DELIVERED


def _endings_of(found: pl.DataFrame) -> pl.DataFrame:
    """Return all endings; contexts that entered a window or a queue and did not come out are `held` there.

    Contexts that came out of one and were delivered, but not as the delivery in question, have `passed`.
    """
    is_entry, is_exit = pl.col("outcome") == ENTERED, pl.col("outcome") == PASSED
    # one member of a window continues as the batch
    goes_on = (pl.col("into") == pl.col("seq_no")) & pl.col("into_branch").eq_missing(pl.col("branch"))
    ended = found.filter(~is_entry & ~is_exit & ~goes_on.fill_null(value=False))
    waiting, released = found.filter(is_entry), found.filter(is_exit)
    gone = pl.concat([released, ended]).select(_KEY)
    held = waiting.join(gone, on=_KEY, how="anti", nulls_equal=True, maintain_order="left")
    parts = [ended, held.with_columns(pl.lit("held").alias("outcome")), released]
    return pl.concat([part.with_columns(pl.col("outcome").cast(pl.String).cast(OUTCOMES)) for part in parts])


def ending_of(wanted: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return how the context of each row of `wanted` (`row, seq_no, branch`) ended: `row, step, operator,
    outcome, reason`.

    The ending of the same branch takes precedence, then that of one of its own branches, then that of its
    parents. Members of a window end as the window does. Rows without an ending are left out.
    """
    pending = wanted.select("row", "seq_no", "branch", pl.lit(-1, pl.Int64).alias("after"))
    parts = [found.head(0).with_columns(pl.lit(0, pl.UInt32).alias("row"))]
    while pending.height:
        groups = pending.partition_by("after", as_dict=True).items()
        hits = [_first_endings(group, found.filter(pl.col("step") > after)) for (after,), group in groups]
        parts += [hit.select(parts[0].columns) for hit in hits]
        absorbed = pl.concat(hits).filter(pl.col("into").is_not_null())
        pending = absorbed.select(
            "row",
            pl.col("into").alias("seq_no"),
            pl.col("into_branch").alias("branch"),
            pl.col("step").alias("after"),
        )
    last = pl.concat(parts).unique("row", keep="last", maintain_order=True)
    return last.select("row", "step", "operator", "outcome", "reason")


def _first_endings(wanted: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return the ending of each branch, or else of its nearest parent branch."""
    known = _with_ancestors(found)
    left, parts = wanted.select("row", "seq_no", pl.col("branch").alias("at")), []
    while True:
        hit = left.join(
            known, left_on=["seq_no", "at"], right_on=["seq_no", "branch"], nulls_equal=True, coalesce=False
        )
        parts.append(hit.select("row", *SCHEMA))
        left = (
            left.join(hit, on="row", how="anti")
            .filter(pl.col("at").is_not_null())
            .with_columns(parent_branch("at"))
        )
        if not left.height:
            return pl.concat(parts)


def _with_ancestors(found: pl.DataFrame) -> pl.DataFrame:
    """Return one ending for each `seq_no` and `branch`, parents included: the branch's own, or else one of
    its branches.
    """
    levels, level, depth = [], found, 0
    while level.height:
        levels.append(level.with_columns(pl.lit(depth).alias("depth")))
        level = level.filter(pl.col("branch").is_not_null()).with_columns(parent_branch("branch"))
        depth += 1
    if not levels:
        return found
    ranked = pl.concat(levels).sort("depth", "outcome", "step", maintain_order=True)
    return ranked.unique(["seq_no", "branch"], keep="first", maintain_order=True)


def parent_branch(name: str) -> pl.Expr:
    """Return the expression for a branch without its last position; null for one of the first fan-out."""
    return pl.col(name).str.extract(r"^(.*)\.[0-9]+$").alias(name)
