"""Filters on columns: by Polars or NumPy if possible, else once for each distinct value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import polars as pl

from flowdsl.expressions.templates.failures import RenderError, check_size
from flowdsl.expressions.templates.filters import Filter, filter_of
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.filters.scalars import power_of_ten
from flowdsl.expressions.templates.filters.text import truncate as truncate_text
from flowdsl.expressions.templates.nodes import TemplateCall
from flowdsl.expressions.templates.vectorized.groups import per_distinct, text_changed, text_measured
from flowdsl.expressions.templates.vectorized.outcomes import RenderOutcome
from flowdsl.expressions.templates.vectorized.printer import format_column, limit_texts
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.masks import as_mask


def filter_column(column: Column, call: TemplateCall, values: Mapping[str, Any]) -> RenderOutcome:
    """Apply a filter with the same arguments in every row; missing rows have failed already."""
    args = Arguments(call.name, values)
    declared = filter_of(call)
    if declared is None or declared.run is None:
        # `default` works on paths only, not in a filter section
        return per_distinct(column, lambda value: _unknown(call.name))
    changed = _apply_columns(declared, column, args)
    if changed is None:
        return per_distinct(column, lambda value: check_size(declared.apply(value, args)))
    if changed.texts is None:
        return RenderOutcome(changed)
    texts, failures = limit_texts(changed.text_series())
    if failures:
        changed = Column(changed.size, changed.tags, texts=texts)
    return RenderOutcome(changed, failures)


def _apply_columns(declared: Filter, column: Column, args: Arguments) -> Column | None:
    """Apply the form for columns; return None if there is none for these values or arguments."""
    if declared.texts is not None and column.all_(Tag.TEXT, Tag.MISSING):
        return text_changed(column, declared.texts)
    if declared.column is None:
        return None
    try:
        return declared.column(column, args)
    except RenderError:
        # wrong arguments: the scalar filter raises the error, row by row
        return None


def _unknown(name: str) -> NoReturn:
    raise RenderError(f"unknown filter `{name}`")


def as_str(column: Column, args: Arguments) -> Column | None:
    """Print the values."""
    if column.all_(Tag.TEXT, Tag.MISSING):
        return column
    texts = format_column(column)
    return Column(column.size, Tag.TEXT, texts=texts) if isinstance(texts, pl.Series) else None


def length(column: Column, args: Arguments) -> Column | None:
    """Count the characters of texts."""
    if not column.all_(Tag.TEXT, Tag.MISSING):
        return None
    lengths = text_measured(column, lambda texts: texts.str.len_chars())
    tags = (
        Tag.INT if column.tags is Tag.TEXT else np.where(column.is_(Tag.TEXT), np.uint8(Tag.INT), np.uint8(0))
    )
    return Column(column.size, tags, ints=lengths.fill_null(0).cast(pl.Int64).to_numpy())


def replace(column: Column, args: Arguments) -> Column | None:
    """Replace a text by another, within texts."""
    if not column.all_(Tag.TEXT, Tag.MISSING):
        return None
    old, new = args.text("from"), args.text("to")
    # a replacement that is longer may exceed the size limit, which only the scalar filter checks in time
    if not old or (len(new) > len(old) and _longest(column) * len(new) > 10_000):
        return None
    return text_changed(column, lambda texts: texts.str.replace_all(old, new, literal=True))


def truncate(column: Column, args: Arguments) -> Column | None:
    """Cut texts to a length."""
    if not column.all_(Tag.TEXT, Tag.MISSING):
        return None
    # the length of any text fits 32 bits
    most, end = min(args.size("length", 255), 2**31), args.text("end", "…")
    return text_changed(column, lambda texts: _truncate(texts, most, end))


def _longest(column: Column) -> int:
    longest = column.text_series().str.len_bytes().max()
    return longest if isinstance(longest, int) else 0


def _truncate(texts: pl.Series, length: int, end: str) -> pl.Series:
    longer = (texts.str.len_chars() > length).fill_null(value=False)
    if not longer.any():
        return texts
    # a letter of several code points counts once, which only the scalar filter does
    plain = (texts.str.len_bytes() == texts.str.len_chars()) & ~texts.str.contains("\r", literal=True)
    frame = pl.DataFrame({"text": texts, "longer": longer, "plain": plain.fill_null(value=False)})
    cut = pl.concat_str(pl.col("text").str.head(length), pl.lit(end))
    result = frame.select(
        pl.when(pl.col("longer") & pl.col("plain")).then(cut).otherwise("text").alias("text")
    ).to_series()
    rest = np.flatnonzero(as_mask(longer & ~plain))
    if not len(rest):
        return result
    args = Arguments("truncate", {"length": length, "end": end})
    return result.scatter(
        rest, pl.Series([truncate_text(text, args) for text in texts.gather(rest).to_list()])
    )


def absolute(column: Column, args: Arguments) -> Column | None:
    """Remove the signs of numbers."""
    if not column.all_(Tag.INT, Tag.FLOAT):
        return None
    ints, floats = column.ints, column.floats
    return Column(
        column.size,
        column.tags,
        ints=None if ints is None else np.abs(ints),
        floats=None if floats is None else np.abs(floats),
    )


def round_column(column: Column, args: Arguments) -> Column | None:
    """Round numbers."""
    if not column.all_(Tag.INT, Tag.FLOAT) or "method" in args:
        return None
    ints, floats = column.ints, column.floats
    if floats is None:
        floats = np.zeros(column.size)
    if ints is not None:
        floats = np.where(column.is_(Tag.INT), ints.astype(np.float64), floats)
    multiplier = power_of_ten(args.whole("precision", 0, -20, 20))
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = floats * multiplier
        whole = np.trunc(scaled)
        up = np.abs(scaled - whole) >= 0.5
        nearest = np.copysign(np.where(up, whole + np.copysign(1.0, scaled), whole), scaled) / multiplier
    # casts that overflow give null; those rows are left to the scalar filter
    return Column(column.size, Tag.FLOAT, floats=nearest) if np.isfinite(nearest).all() else None
