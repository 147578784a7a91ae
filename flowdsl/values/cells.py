"""Cells of a frame's column as JSON values: what type each is, times as text, structs and lists as JSON."""

from __future__ import annotations

from typing import Any

import polars as pl

from flowdsl.values.tags import Tag


def tag_of_dtype(dtype: pl.DataType) -> Tag | None:
    """What the cells of a column are; None where it takes looking at each."""
    if dtype.is_integer():
        return Tag.INT
    if dtype.is_numeric():
        return Tag.FLOAT
    if dtype == pl.Boolean:
        return Tag.BOOL
    if dtype == pl.Null:
        return Tag.NULL
    if dtype == pl.Struct:
        return Tag.OBJECT
    if dtype in (pl.List, pl.Array):
        return Tag.ARRAY
    if dtype in (pl.String, pl.Categorical, pl.Enum) or dtype.is_temporal():
        return Tag.TEXT
    return None


def as_text(series: pl.Series) -> pl.Series:
    """Cells as text, times in UTC as RFC 3339 writes them."""
    if series.dtype == pl.String:
        return series
    return pl.DataFrame({"t": series}).select(_text_of(pl.col("t"), series.dtype)).to_series()


def nested_json(series: pl.Series) -> pl.Series:
    """Structs and lists as compact JSON texts, null where the cell is null; times as they are by themselves."""
    cells = _with_times_as_text(pl.col("t"), series.dtype)
    wrapped = (
        pl.DataFrame({"t": series})
        .select(pl.struct(cells.alias("t")).struct.json_encode().alias("j"))
        .to_series()
    )
    body = wrapped.str.slice(5).str.head(-1)
    return pl.select(pl.when(series.is_not_null()).then(body)).to_series()


def _text_of(cells: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        zone = dtype.time_zone
        moments = cells.dt.convert_time_zone("UTC") if zone else cells
        return moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.f").str.replace(r"\.0+$", "") + ("Z" if zone else "")
    return cells.cast(pl.String)


def _with_times_as_text(cells: pl.Expr, dtype: Any) -> pl.Expr:
    """Nested cells with every time in them as the text that it is in a column of its own."""
    if not _holds_times(dtype):
        return cells
    if isinstance(dtype, pl.Struct):
        timed = [f for f in dtype.fields if _holds_times(f.dtype)]
        return cells.struct.with_fields(
            *(_with_times_as_text(pl.field(f.name), f.dtype).alias(f.name) for f in timed)
        )
    if isinstance(dtype, pl.List):
        return cells.list.eval(_with_times_as_text(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Array):
        return _with_times_as_text(cells.arr.to_list(), pl.List(dtype.inner))
    return _text_of(cells, dtype)


def _holds_times(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_holds_times(f.dtype) for f in dtype.fields)
    if isinstance(dtype, (pl.List, pl.Array)):
        return _holds_times(dtype.inner)
    return bool(dtype.is_temporal())
