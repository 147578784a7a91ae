"""What one side of a benchmark hands back, and how two of them are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

Rows = pl.DataFrame | pa.Table


@dataclass(frozen=True)
class Outcome:
    """The rows of each sink, materialised and in order, and how many contexts failed and were dropped.

    `counts` gives (failed, dropped), or is absent where a side does not count them; `part` is the time of the step that
    the case is about, where that is told apart.
    """

    sinks: dict[str, Rows]
    counts: Callable[[], tuple[int, int]] | None = None
    part: float | None = None


def counted(failed: int, dropped: int) -> Callable[[], tuple[int, int]]:
    """Wrap counts that are known already."""
    return lambda: (int(failed), int(dropped))


def plain(rows: Rows) -> pl.DataFrame:
    """Give rows as Polars columns of plain types, whatever encoding they came in."""
    frame = pl.from_arrow(rows) if isinstance(rows, pa.Table) else rows
    assert isinstance(frame, pl.DataFrame)
    casts = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime):
            casts.append(pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone(None).alias(name))
        elif dtype.is_integer():
            casts.append(pl.col(name).cast(pl.Int64))
        else:
            casts.append(pl.col(name).cast(pl.String))
    return frame.select(casts)


def difference(left: Outcome, right: Outcome, *, partial: bool = False) -> str | None:
    """Say where two outcomes differ first, or None where they are equal; a partial one may lack sinks."""
    if not partial and set(left.sinks) != set(right.sinks):
        return f"sinks {sorted(left.sinks)} and {sorted(right.sinks)}"
    for sink in set(left.sinks) & set(right.sinks):
        found = _rows_differ(plain(left.sinks[sink]), plain(right.sinks[sink]))
        if found:
            return f"sink {sink}: {found}"
    if not partial and left.counts and right.counts and left.counts() != right.counts():
        return f"(failed, dropped) {left.counts()} and {right.counts()}"
    return None


def _rows_differ(left: pl.DataFrame, right: pl.DataFrame) -> str | None:
    if left.height != right.height:
        return f"{left.height:,} and {right.height:,} rows"
    if left.columns != right.columns:
        return f"columns {left.columns} and {right.columns}"
    for name in left.columns:
        equal = left[name].eq_missing(right[name])
        if not equal.all():
            row = int(equal.arg_min() or 0)
            return f"row {row:,}, {name}: {left[name][row]!r} and {right[name][row]!r}"
    return None


def digest(rows: Rows) -> str:
    """Give a short text that depends on every cell and on the order of the rows, for sides in other processes."""
    frame = plain(rows)
    hashed = frame.hash_rows(seed=7).to_numpy().astype(np.uint64)
    weights = np.arange(1, len(hashed) + 1, dtype=np.uint64)
    return f"{frame.height}:{int(np.dot(hashed, weights)):016x}"
