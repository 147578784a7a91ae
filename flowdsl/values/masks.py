"""Which rows of a series: where it has a value, and where that is a given one.

Polars answers most questions through a plan of a query, which costs more than the answer where there are few rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from flowdsl.values.tags import Mask


def where_present(series: pl.Series) -> Mask:
    """Where there is a value.

    >>> where_present(pl.Series(["a", None])).tolist()
    [True, False]
    """
    absent = series.null_count()
    if absent in (0, len(series)):
        return np.full(len(series), not absent)
    mask: Mask = series.is_not_null().to_numpy()
    return mask


def where_equal(series: pl.Series, other: pl.Series | str) -> Mask:
    """Where both have a value and it is the same.

    >>> where_equal(pl.Series(["a", "b", None]), "a").tolist()
    [True, False, False]
    """
    same = series == other
    mask: Mask = (same.fill_null(value=False) if same.null_count() else same).to_numpy()
    return mask
