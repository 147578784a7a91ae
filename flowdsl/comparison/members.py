"""Match batches of two runs by common members, if neither their first nor their last members are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from flowdsl.comparison.counterparts import Events
from flowdsl.comparison.inputs import FlowResult
from flowdsl.comparison.outcomes import parent_branch
from flowdsl.results.members import single_flow, window_members
from flowdsl.values.interner import Hashes, pair_hash
from flowdsl.values.json_types import Ints

_SCHEMA = {"seq_no": pl.Int64, "branch": pl.String, "member": pl.Int64}


def members_of(side: FlowResult, events: Events) -> pl.DataFrame:
    """Return the members of a flow's windows: `seq_no` and `branch` with which the window goes on, `member`,
    the event's sequence number, and `word`, its hash.

    No result keeps them, so the flow runs once more with tracing on.
    """
    options = side.result.options
    if options is None:
        return pl.DataFrame(schema={**_SCHEMA, "word": pl.Int64})
    found = window_members(*single_flow(options, side.number)).select(
        pl.col("into").alias("seq_no"),
        pl.col("into_branch").alias("branch"),
        pl.col("seq_no").alias("member"),
    )
    return found.with_columns(events.words(found["member"]).alias("word"))


def with_most_in_common(
    before: pl.DataFrame, after: pl.DataFrame, keys: tuple[Hashes, Hashes], members: Sequence[pl.DataFrame]
) -> tuple[Ints, Ints]:
    """Pair the rows of deliveries (`seq_no`, `branch`) whose windows share members, starting with those that
    share most.

    `keys` has a hash for each row, which must be equal too.
    """
    sides = [
        _words(frame, key, known).rename({"row": name})
        for frame, key, known, name in zip((before, after), keys, members, ("left", "right"), strict=True)
    ]
    shared = (
        sides[0]
        .join(sides[1], on="word")
        .group_by("left", "right")
        .len()
        .sort("len", "left", "right", descending=[True, False, False])
    )
    taken: tuple[dict[int, None], dict[int, None]] = ({}, {})
    for one, other, _ in shared.iter_rows():
        if one not in taken[0] and other not in taken[1]:
            taken[0][one], taken[1][other] = None, None
    return np.array(list(taken[0]), np.int64), np.array(list(taken[1]), np.int64)


def _words(deliveries: pl.DataFrame, keys: Hashes, members: pl.DataFrame) -> pl.DataFrame:
    """Return the members behind each delivery: `row`, and `word`, a hash of the member and the row's key."""
    left = deliveries.select("seq_no", "branch").with_row_index("row")
    parts = []
    while left.height:
        # a later fan-out extends the branch of its window
        parts.append(left.join(members, on=["seq_no", "branch"], nulls_equal=True).select("row", "word"))
        left = left.filter(pl.col("branch").is_not_null()).with_columns(parent_branch("branch"))
    found = pl.concat(parts) if parts else pl.DataFrame(schema={"row": pl.UInt32, "word": pl.Int64})
    rows = found["row"].to_numpy()
    words = pair_hash(keys[rows], found["word"].to_numpy().view(np.uint64))
    return pl.DataFrame({"row": rows.astype(np.int64), "word": words}).unique()
