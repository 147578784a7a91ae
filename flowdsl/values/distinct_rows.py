"""Rows with the same values in some columns: one row of each group, and the group of every row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.json_types import Index, Tag


def distinct_rows(columns: Sequence[Column], size: int) -> tuple[Index, Index]:
    """Return one row of each group of equal rows, and for every row the number of its group."""
    if len(columns) == 1 and (codes := intern_rows(columns[0])) is not None:
        return distinct_codes(codes)
    keys = {
        f"{count}{name}": key for count, column in enumerate(columns) for name, key in _keys(column).items()
    }
    if not keys or not size:
        return np.zeros(min(size, 1), np.int64), np.zeros(size, np.int64)
    groups = (
        pl.DataFrame(keys).with_row_index("row").group_by(list(keys), maintain_order=True).agg(pl.col("row"))
    )
    rows = groups["row"]
    inverse = np.empty(size, np.int64)
    inverse[rows.explode().to_numpy()] = np.repeat(np.arange(len(rows)), rows.list.len().to_numpy())
    return rows.list.first().to_numpy(), inverse


def intern_rows(column: Column) -> Index | None:
    """Return codes that identify the values of a column, or None if there are none.

    Whole numbers that lie close together are their own codes: counts, ages, numbers of a week.
    """
    if column.tags is Tag.INT:
        return _near_numbers(column)
    texts = column.texts
    if not isinstance(texts, DictionaryColumn):
        return None
    if column.tags is Tag.TEXT:
        return texts.codes
    # rows without text must all be missing or all be null, as they share one code
    for other in (Tag.MISSING, Tag.NULL):
        if column.all_(Tag.TEXT, other) and np.array_equal(texts.codes > 0, column.is_(Tag.TEXT)):
            return texts.codes
    return None


def _near_numbers(column: Column) -> Index | None:
    ints = column.ints
    if ints is None or column.wide is not None or not len(ints):
        return None
    low, high = int(ints.min()), int(ints.max())
    return ints - low if high - low < len(ints) // 4 else None


def distinct_codes(codes: Index) -> tuple[Index, Index]:
    """Group by a table of all codes, without hashing or sorting, if it is not much longer than the column."""
    bound = int(codes.max(initial=0)) + 1
    if bound > 8 * len(codes):
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        return first, inverse
    rows = np.full(bound, -1, np.int64)
    # the last assignment wins, so the rows are written backwards to find the first of each
    rows[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    used = np.flatnonzero(rows >= 0)
    number = np.zeros(bound, np.int64)
    number[used] = np.arange(len(used))
    return rows[used], number.take(codes)


def _keys(column: Column) -> dict[str, pl.Series]:
    if column.tags is Tag.TEXT:
        texts = column.texts
        return {
            "text": pl.Series(texts.codes) if isinstance(texts, DictionaryColumn) else column.text_series()
        }
    storages = column.storages()
    if column.tags is Tag.INT:
        return {"int": pl.Series(storages[Tag.INT])}
    if column.tags is Tag.FLOAT and column.wide is None:
        # by bits, because -0 and 0 are equal and print differently
        return {"float": pl.Series(storages[Tag.FLOAT].view(np.int64))}
    if column.tags is Tag.BOOL:
        return {"bool": pl.Series(storages[Tag.BOOL])}
    if column.tags is Tag.MISSING or column.tags is Tag.NULL:
        return {}
    keys = {"tag": pl.Series(column.tag_array()), "json": column.to_json()}
    if column.floats is not None:
        # JSON has no infinities, and what is no float has any bits
        bits = np.where(column.is_(Tag.FLOAT), column.floats.view(np.int64), 0)
        keys["float"] = pl.Series(bits)
    return keys
