"""Ids in contexts as codes of the interner."""

from __future__ import annotations

import numpy as np
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.log.uuids import one_spelling
from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Tag


def id_codes(column: Column, chunk: Chunk) -> Codes:
    """Return a column's ids as codes; integers count as their decimal text, other values and "" as no id."""
    if (
        isinstance(column.texts, DictionaryColumn)
        and column.texts.interner is chunk.interner
        and column.all_(Tag.TEXT)
    ):
        return _without_empty_text(column.texts.codes, chunk)
    codes = np.zeros(column.size, np.int32)
    is_text = column.is_(Tag.TEXT)
    if is_text.any():
        rows = np.flatnonzero(is_text)
        codes[rows] = chunk.interner.intern(column.text_series()[rows])
    is_int = column.is_(Tag.INT)
    if is_int.any() and column.ints is not None:
        rows = np.flatnonzero(is_int)
        codes[rows] = chunk.interner.intern(pl.Series(column.ints[rows]).cast(pl.String))
    return _without_empty_text(codes, chunk)


def uuid_codes(column: Column, chunk: Chunk) -> Codes:
    """Return a column's ids as codes of normalized UUIDs; other types and "" are not ids."""
    codes = np.zeros(column.size, np.int32)
    rows = np.flatnonzero(column.is_(Tag.TEXT))
    if len(rows):
        codes[rows] = chunk.interner.intern(one_spelling(column.text_series()[rows]))
    return _without_empty_text(codes, chunk)


def _without_empty_text(codes: Codes, chunk: Chunk) -> Codes:
    empty = chunk.interner.find(pl.Series([""]))[0]
    return np.where(codes == empty, np.int32(0), codes) if empty > 0 else codes
