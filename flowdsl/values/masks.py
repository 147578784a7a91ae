"""Boolean masks over series.

Polars answers most questions through a plan of a query, which costs more than the answer where there are few
rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from flowdsl.values.json_types import Mask

# letters of a pattern for which the faster search is fine whatever the text
_SHORT = 64


def where_present(series: pl.Series) -> Mask:
    """Return a mask of the rows that have a value.

    >>> where_present(pl.Series(["a", None])).tolist()
    [True, False]
    """
    absent = series.null_count()
    if absent in (0, len(series)):
        return np.full(len(series), not absent)
    mask: Mask = series.is_not_null().to_numpy()
    return mask


def where_equal(series: pl.Series, other: pl.Series | str) -> Mask:
    """Return a mask of the rows where both have the same value.

    >>> where_equal(pl.Series(["a", "b", None]), "a").tolist()
    [True, False, False]
    """
    return as_mask(series == other)


def as_mask(series: pl.Series) -> Mask:
    """Return booleans as a mask; null is False.

    >>> as_mask(pl.Series([True, None])).tolist()
    [True, False]
    """
    mask: Mask = (series.fill_null(value=False) if series.null_count() else series).to_numpy()
    return mask


def holds_piece(whole: pl.Series, piece: pl.Series | str) -> pl.Series:
    """Return a mask of the texts that contain a substring (one for all, or one per row); null where either is
    null.

    Polars searches for one pattern in a way that takes letters of the text × letters of the pattern at worst,
    and for a column of patterns in one that does not: a long pattern, and the only one of a single row, go
    the second way.
    """
    if isinstance(piece, str):
        if len(piece) <= _SHORT:
            return whole.str.contains(piece, literal=True)
        piece = pl.Series([piece], dtype=pl.String).new_from_index(0, len(whole))
    if len(whole) != 1:
        return whole.str.contains(pl.lit(piece), literal=True)
    return whole.new_from_index(0, 2).str.contains(pl.lit(piece.new_from_index(0, 2)), literal=True).head(1)
