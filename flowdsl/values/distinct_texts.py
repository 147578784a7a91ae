"""Reading of text columns once for each distinct text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.json_types import Ints, Tag

UNREAD: Final = int(np.iinfo(np.int64).min)
"""What stands for a value that is not text, or a text that cannot be read."""


def read_texts(column: Column, read: Callable[[str], int | None]) -> Ints:
    """Return the number that is read of each text, and `UNREAD` where there is none.

    >>> read_texts(Column.of(["1", None, "x"]), lambda text: int(text) if text.isdigit() else None)[:1]
    array([1])
    """
    found = np.full(column.size, UNREAD, np.int64)
    rows = np.flatnonzero(column.is_(Tag.TEXT))
    if not len(rows):
        return found
    texts = column.text_series()
    if len(rows) < column.size:
        texts = texts[rows]
    distinct = texts.unique().to_list()
    values = [UNREAD if (value := read(text)) is None else value for text in distinct]
    if len(distinct) == 1:
        found[rows] = values[0]
    else:
        found[rows] = texts.replace_strict(distinct, values, return_dtype=pl.Int64).to_numpy()
    return found
