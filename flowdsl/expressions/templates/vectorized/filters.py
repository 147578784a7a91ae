"""Filters on columns: by Polars or NumPy if possible, else once for each distinct value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import first_failures
from flowdsl.expressions.templates.failures import RenderError, check_size
from flowdsl.expressions.templates.filters import FILTERS, Filter, filter_of
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.filters.dates import codes_of
from flowdsl.expressions.templates.filters.lists import separator_of
from flowdsl.expressions.templates.filters.scalars import power_of_ten
from flowdsl.expressions.templates.nodes import TemplateCall
from flowdsl.expressions.templates.vectorized.groups import per_distinct, text_changed, text_measured
from flowdsl.expressions.templates.vectorized.outcomes import RenderOutcome, as_column, either, where
from flowdsl.expressions.templates.vectorized.printer import format_column, limit_texts
from flowdsl.expressions.templates.vectorized.steps import exact
from flowdsl.values.columns import Column
from flowdsl.values.json_lists import JsonLists, join_texts
from flowdsl.values.json_types import Tag
from flowdsl.values.masks import where_present


def filter_column(column: Column, call: TemplateCall, values: Mapping[str, Any]) -> RenderOutcome:
    """Apply a filter with the same arguments in every row; missing rows have failed already."""
    args = Arguments(call.name, values)
    declared = filter_of(call)
    if declared is None or declared.run is None:
        # `default` works on paths only, not in a filter section
        return per_distinct(column, lambda value: _unknown(call.name))
    changed = _apply_columns(declared, column, args) or Column(column.size, Tag.MISSING)
    failures = None
    if changed.texts is not None:
        texts, failures = limit_texts(changed.text_series())
        changed = changed.having(texts=texts) if failures else changed
    left = changed.is_(Tag.MISSING) & ~column.is_(Tag.MISSING)
    if not left.any():
        return RenderOutcome(changed, failures)
    others = column if left.all() else where(left, column)
    made = per_distinct(others, lambda value: check_size(declared.apply(value, args)))
    both = either(~left, changed, as_column(made.operand, column.size))
    return RenderOutcome(both, first_failures([failures, made.failures]))


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
    """Count the characters of texts, and the items of arrays."""
    if column.all_(Tag.ARRAY):
        return Column(column.size, Tag.INT, ints=JsonLists.of(column).counts)
    if not column.all_(Tag.TEXT, Tag.MISSING):
        return None
    lengths = text_measured(column, lambda texts: texts.str.len_chars())
    tags = (
        Tag.INT if column.tags is Tag.TEXT else np.where(column.is_(Tag.TEXT), np.uint8(Tag.INT), np.uint8(0))
    )
    return Column(column.size, tags, ints=lengths.fill_null(0).cast(pl.Int64).to_numpy())


def join(column: Column, args: Arguments) -> Column | None:
    """Join the items of arrays."""
    if not column.all_(Tag.ARRAY):
        return None
    lists = JsonLists.of(column)
    texts = as_str(exact(lists.elements), args)
    assert texts is not None
    joined = join_texts(texts.text_series(), lists.counts, separator_of(args))
    return Column(column.size, Tag.TEXT, texts=joined)


def first(column: Column, args: Arguments) -> Column | None:
    """Return the first items of arrays."""
    return _item_of(column, 0)


def last(column: Column, args: Arguments) -> Column | None:
    """Return the last items of arrays."""
    return _item_of(column, 1)


def _item_of(column: Column, end: int) -> Column | None:
    """Return an item of each array, the first or that before its end, and empty text for an empty one."""
    if not column.all_(Tag.ARRAY):
        return None
    lists = JsonLists.of(column)
    ends = np.cumsum(lists.counts)
    place = ends - end if end else ends - lists.counts
    place[lists.counts == 0] = lists.elements.size
    return Column.concat([exact(lists.elements), Column.of([""])]).take(place)


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
    changed = text_changed(column, lambda texts: _truncate(texts, most, end))
    return where(where_present(changed.text_series()), changed)


def date(column: Column, args: Arguments) -> Column | None:
    """Format times: once for all that lie in the same second, minute or hour if the format shows no more."""
    codes = codes_of(args.text("format", "%Y-%m-%d"))
    if not column.all_(Tag.TEXT, Tag.MISSING) or "f" in codes:
        return None
    kept = "$2:00" if "M" in codes or "timezone" in args else ":00:00"
    texts = column.text_series().str.replace(_PLAIN, f"$1{'$2$3' if codes & {'s', 'S'} else kept}$4")
    run = FILTERS["date"].apply
    # what cannot be read is missing, and so is left to the filter with all that it says
    made = per_distinct(Column(column.size, column.tags, texts=texts), lambda text: run(text, args))
    return as_column(made.operand, column.size)


# times of this century, whose zones are whole minutes apart: day and hour, minute, second, offset
_PLAIN: Final = r"^(20[0-9-]{8}T[0-9]{2})(:[0-5][0-9])(:[0-5][0-9])(?:\.[0-9]+)?(Z|[+-][0-9:]{5})$"


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
    kept = pl.when(~pl.col("longer")).then("text").when("plain").then(cut)
    return frame.select(kept.alias("text")).to_series()


def absolute(column: Column, args: Arguments) -> Column | None:
    """Remove the signs of numbers."""
    if not column.all_(Tag.INT, Tag.FLOAT):
        return None
    parts = {"ints": column.ints, "floats": column.floats}
    return column.having(**{name: np.abs(part) for name, part in parts.items() if part is not None})


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
