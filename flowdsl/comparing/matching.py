"""Which delivery of one run is which of another.

A delivery is known by what it is about: the event it comes from (of a window the event that opened it, since runs
may close the window at different events), its place among the deliver steps of the flow, its recipient and its payload.
Deliveries that have all of these in common are paired first, then those that differ in more and more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

CHANGES: Final = ("added", "removed", "readdressed", "changed", "moved")
"""What may have become of a delivery: it is new, it is gone, it goes to another recipient, it has another payload, or it
comes at another time. The first that applies is said."""
SAME: Final = "same"
CHANGE: Final = pl.Enum([*CHANGES, SAME])
# what pairs of deliveries have in common, in the order in which they are looked for
_COMMON: Final = (
    ("origin", "place", "recipient_id", "payload"),
    ("origin", "place", "recipient_id"),
    ("origin", "place", "branch"),
)
# only where windows and queues move deliveries: elsewhere it is another event that says the same
_COMMON_IN_TIME: Final = ("place", "recipient_id", "payload")
SIDE: Final = ("seq_no", "delivered_at", "branch", "recipient_id", "payload")


def matched(before: pl.DataFrame, after: pl.DataFrame, *, timed: bool) -> pl.DataFrame:
    """A row for each delivery or pair of them: `change`, then `SIDE` with `_before` and `_after`.

    Both frames have the columns of `SIDE`, `origin` and `place`, in the order of delivery; rows are in the order of
    `after`, with those that are gone where they were. `timed` says whether both flows have windows or queues.
    """
    pairs = []
    left, right = before.with_row_index("row_before"), after.with_row_index("row_after")
    for keys in (*_COMMON, *([_COMMON_IN_TIME] if timed else [])):
        if not left.height or not right.height:
            break
        found = _pairs(left, right, keys)
        pairs.append(found)
        left = left.join(found, on="row_before", how="anti", maintain_order="left")
        right = right.join(found, on="row_after", how="anti", maintain_order="left")
    pairs += [left.select("row_before"), right.select("row_after")]
    rows = pl.concat([*pairs, _NO_PAIRS], how="diagonal")
    both = rows.with_columns(
        *(before[name].gather(rows["row_before"]).alias(f"{name}_before") for name in SIDE),
        *(after[name].gather(rows["row_after"]).alias(f"{name}_after") for name in SIDE),
    )
    moment = pl.coalesce("delivered_at_after", "delivered_at_before")
    ordered = both.sort(moment, "row_after", "row_before", nulls_last=True, maintain_order=True)
    return ordered.select(
        _change().alias("change"), *(f"{name}{side}" for name in SIDE for side in ("_before", "_after"))
    )


_NO_PAIRS: Final = pl.DataFrame(schema={"row_before": pl.UInt32, "row_after": pl.UInt32})


def _pairs(left: pl.DataFrame, right: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Rows that have these columns in common; of several the first with the first, and so on."""
    nth = pl.int_range(pl.len(), dtype=pl.UInt32).over(*keys).alias("nth")
    wanted = [*keys, "nth"]
    return (
        left.with_columns(nth)
        .join(right.with_columns(nth), on=wanted, how="inner", nulls_equal=True)
        .select("row_before", "row_after")
    )


def _change() -> pl.Expr:
    differ = {name: pl.col(f"{name}_before").ne_missing(pl.col(f"{name}_after")) for name in SIDE}
    return (
        pl.when(pl.col("row_before").is_null()).then(pl.lit("added"))
        .when(pl.col("row_after").is_null()).then(pl.lit("removed"))
        .when(differ["recipient_id"]).then(pl.lit("readdressed"))
        .when(differ["payload"]).then(pl.lit("changed"))
        .when(differ["delivered_at"]).then(pl.lit("moved"))
        .otherwise(pl.lit(SAME))
        .cast(CHANGE)
    )  # fmt: skip
