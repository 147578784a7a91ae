"""Vectorized printing like `{{ }}` and `~`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.failures import MAX_TEXT, too_long
from flowdsl.expressions.templates.values import format_value, json_float, plain_float
from flowdsl.expressions.templates.vectorized.groups import text_measured
from flowdsl.expressions.templates.vectorized.outcomes import GroupIndex, Operand
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Floats, Ints, Mask, Tag
from flowdsl.values.masks import as_mask
from flowdsl.values.orders import distinct


def format_column(operand: Operand) -> str | pl.Series:
    """Print values like `{{ }}`; missing rows hold arbitrary text."""
    if isinstance(operand, GroupIndex):
        return format_value(operand.value)
    return _by_tag(operand, _format_as)


def join_column(column: Column) -> pl.Series:
    """Print texts and numbers like `~`."""
    return _by_tag(column, _join_as)


def _by_tag(column: Column, printer: Callable[[Column, Tag], pl.Series]) -> pl.Series:
    same = column.one_tag()
    if same is not None:
        return printer(column, same)
    tags = column.tag_array()
    present = [Tag(int(tag)) for tag in distinct(tags)]
    frame: dict[str, pl.Series] = {"tag": pl.Series(tags)}
    cases: list[pl.Expr] = []
    for tag in present:
        if tag is Tag.MISSING:
            continue
        name = tag.name
        frame[name] = printer(column, tag)
        cases.append(pl.when(pl.col("tag") == int(tag)).then(pl.col(name)))
    if not cases:
        return repeat_text("", column.size)
    return pl.DataFrame(frame).select(pl.coalesce([*cases, pl.lit("")]).alias("text")).to_series()


def _format_as(column: Column, tag: Tag) -> pl.Series:
    match tag:
        case Tag.TEXT:
            return column.text_series()
        case Tag.INT if column.ints is not None:
            return pl.Series(column.ints).cast(pl.String)
        case Tag.FLOAT if column.floats is not None:
            return float_texts(column.floats)
        case Tag.BOOL if column.bools is not None:
            named = pl.when(pl.Series(column.bools)).then(pl.lit("true")).otherwise(pl.lit("false"))
            return pl.select(named).to_series()
        case Tag.ARRAY if column.nested is not None:
            return _map(column.nested, lambda text: format_value(json.loads(text)) if text[:1] == "[" else "")
        case Tag.OBJECT:
            return repeat_text("[object]", column.size)
    return repeat_text("", column.size)


def _join_as(column: Column, tag: Tag) -> pl.Series:
    if tag is Tag.FLOAT and column.floats is not None:
        return _map(pl.Series(column.floats), json_float)
    return _format_as(column, tag) if tag in (Tag.TEXT, Tag.INT) else repeat_text("", column.size)


def repeat_text(text: str, size: int) -> pl.Series:
    """Repeat a text in every row."""
    return pl.Series([text], dtype=pl.String).new_from_index(0, size)


def float_texts(floats: Floats) -> pl.Series:
    """Print floats without exponent and without `.0`."""
    texts = pl.Series(floats).cast(pl.String)
    texts = texts.str.strip_suffix(".0")
    # exponents, and floats right between two texts, are left to the single function
    point = texts.str.find(".", literal=True)
    decimals = (texts.str.len_bytes() - point - 1).fill_null(0).to_numpy()
    odd = texts.str.contains("e", literal=True).to_numpy() | (_binary_places(floats) == decimals + 1)
    rows = np.flatnonzero(odd)
    if len(rows):
        texts = texts.scatter(rows, _map(pl.Series(floats.take(rows)), plain_float))
    return texts


def _binary_places(floats: Floats) -> Ints:
    """Return the number of binary digits after a float's point; its decimal digits are as many."""
    mantissa, exponent = np.frexp(np.where(np.isfinite(floats), floats, 0.0))
    bits = np.abs(mantissa * 2.0**53).astype(np.int64)
    _, trailing = np.frexp((bits & -bits).astype(np.float64))
    places: Ints = 54 - exponent - trailing
    return np.where(bits == 0, 0, places)


def _map(series: pl.Series, change: Callable[[Any], str]) -> pl.Series:
    """Map each distinct value once."""
    unique = series.unique().drop_nulls()
    changed = pl.Series([change(value) for value in unique.to_list()], dtype=pl.String)
    if series.dtype.is_float():
        # 0 and -0 are one value to Polars; the sign is read from the bits
        bits = pl.Series(series.to_numpy().view(np.int64))
        unique = bits.unique()
        changed = pl.Series(
            [change(value) for value in unique.to_numpy().view(np.float64).tolist()], dtype=pl.String
        )
        series = bits
    return series.replace_strict(unique, changed, default=None, return_dtype=pl.String)


def limit_texts(texts: pl.Series) -> tuple[pl.Series, Failures | None]:
    """Limit the length of texts; longer ones fail and are dropped, so that they cannot grow."""
    if texts.estimated_size() <= MAX_TEXT:
        return texts, None
    longest = texts.str.len_bytes().max()
    if not isinstance(longest, int) or longest <= MAX_TEXT:
        return texts, None
    long = (texts.str.len_chars() > MAX_TEXT).fill_null(value=False)
    kept = pl.select(pl.when(long).then(pl.lit("")).otherwise(texts).alias("text")).to_series()
    return kept, Failures.where(long.to_numpy(), too_long())


def truthy_column(column: Column) -> Mask:
    """Return a mask of the truthy values; missing ones are not."""
    result = np.zeros(column.size, np.bool_)
    for tag, mask in by_tag(column):
        truths = _truths(column, tag)
        if truths is None:
            continue
        if mask is None:
            return truths
        result |= mask & truths
    return result


def _truths(column: Column, tag: Tag) -> Mask | None:
    truths: Mask
    if tag is Tag.BOOL and column.bools is not None:
        return column.bools
    if tag is Tag.INT and column.ints is not None:
        truths = column.ints != 0
    elif tag is Tag.FLOAT and column.floats is not None:
        truths = (column.floats != 0) & ~np.isnan(column.floats)
    elif tag is Tag.TEXT:
        truths = as_mask(text_measured(column, lambda texts: texts.str.len_bytes() > 0))
    elif tag in (Tag.ARRAY, Tag.OBJECT) and column.nested is not None:
        truths = as_mask(column.nested.str.len_bytes() > 2)
    else:
        return None
    return truths


def by_tag(column: Column) -> list[tuple[Tag, Mask | None]]:
    """Return the types that occur, each with its rows, or None for all rows."""
    if not isinstance(column.tags, np.ndarray):
        return [(column.tags, None)]
    return [(Tag(int(tag)), column.tags == tag) for tag in distinct(column.tags)]
