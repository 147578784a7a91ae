"""Members of the windows of a replay: which contexts went into which batch, and its deliveries.

No run keeps them, as there may be as many as events. They are found by running the flows again with a trace.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.engine.trace import ABSORBED, Trace
from flowdsl.errors import ReplayError, without_warnings
from flowdsl.progress import Progress, track
from flowdsl.results.run import run
from flowdsl.results.store import NoStore

if TYPE_CHECKING:
    from flowdsl.results.options import Options
    from flowdsl.results.result_data import ResultData

_LAST_PART: Final = r"^(.*)\.[0-9]+$"


def window_members(options: Options, flow: int | None = None, progress: Progress = None) -> pl.DataFrame:
    """Return a row for each member of a window, of one flow or of all: `flow` (its number), `step`, `seq_no`,
    `branch`, and `into`, `into_branch`, the event and branch that the window went on with.
    """
    trace = Trace(lambda step, outcome: outcome == ABSORBED and (flow is None or flow in step.flows))
    # the replay itself has already warned
    with without_warnings(), track(progress, options.source.count(), "members") as follower:
        run(options, NoStore(), progress=follower.advance_to, outcomes=trace)
    found = trace.frame().select("flow", "step", "seq_no", "branch", "into", "into_branch")
    return found if flow is None else found.filter(pl.col("flow") == flow)


def members_of(result: ResultData) -> pl.DataFrame:
    """Return the members of all windows of a result, with the deliveries of the batch that each went into."""
    if result.options is None:
        raise ReplayError(
            "a result that was read back has no members: it has no log and no flows", hint="replay again"
        )
    found = window_members(result.options).with_columns(
        pl.col("flow").replace_strict(dict(enumerate(result.flows)), return_dtype=pl.String)
    )
    batches = found.select("flow", "step", "into", "into_branch").unique()
    delivered = _deliveries(batches, result)
    return (
        found.join(delivered, on=["flow", "step", "into", "into_branch"], how="left", nulls_equal=True)
        .with_columns(pl.col("deliveries").fill_null(0))
        .rename({"into": "batch_seq_no", "into_branch": "batch_branch"})
        .sort("flow", "step", "batch_seq_no", "batch_branch", "seq_no", "branch", maintain_order=True)
    )


def _deliveries(batches: pl.DataFrame, result: ResultData) -> pl.DataFrame:
    """Return for each batch the number of its deliveries, and the time of the first."""
    left = result.to_polars(columns=["flow", "step", "seq_no", "branch", "delivered_at"]).rename(
        {"step": "deliver"}
    )
    parts = []
    on = ["flow", "seq_no", "branch"]
    asked = batches.rename({"into": "seq_no", "into_branch": "branch"})
    while left.height:
        # a later fan-out extends the branch of its batch
        parts.append(left.join(asked, on=on, nulls_equal=True).filter(pl.col("step") < pl.col("deliver")))
        left = left.filter(pl.col("branch").is_not_null()).with_columns(
            pl.col("branch").str.extract(_LAST_PART)
        )
    times = pl.Datetime("us", "UTC")
    schema: dict[str, Any] = {
        "flow": pl.String,
        "step": pl.Int64,
        "seq_no": pl.Int64,
        "branch": pl.String,
        "delivered_at": times,
    }
    whole = pl.concat([pl.DataFrame(schema=schema), *(part.select(list(schema)) for part in parts)])
    return (
        whole.group_by("flow", "step", "seq_no", "branch")
        .agg(pl.len().cast(pl.Int64).alias("deliveries"), pl.col("delivered_at").min())
        .rename({"seq_no": "into", "branch": "into_branch"})
    )


def single_flow(options: Options, number: int) -> tuple[Options, int]:
    """Return options that run only this flow of a replay, and its number there; all flows stay if they cannot
    run separately.
    """
    if options.together:
        return options, number
    return dataclasses.replace(options, flows=(options.flows[number],)), 0
