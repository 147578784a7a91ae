"""Filters on columns: by Polars or NumPy where they can be, else once for each distinct value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import numpy as np
import polars as pl

from flowdsl.expressions.templates.failures import RenderError, checked
from flowdsl.expressions.templates.filters import FILTERS, TEXT_CHANGES
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.filters.scalars import power_of_ten
from flowdsl.expressions.templates.vectorized.groups import per_distinct, text_changed, text_measured
from flowdsl.expressions.templates.vectorized.outcomes import RenderOutcome
from flowdsl.expressions.templates.vectorized.printer import limited, printed_column
from flowdsl.expressions.templates.whitespace import WHITE_SPACE
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag

Change = Callable[[pl.Series], pl.Series]


def _replaced(*pairs: tuple[str, str]) -> Change:
    def change(texts: pl.Series) -> pl.Series:
        for old, new in pairs:
            texts = texts.str.replace_all(old, new, literal=True)
        return texts

    return change


def _capitalized(texts: pl.Series) -> pl.Series:
    parts = pl.DataFrame(
        {"head": texts.str.head(1).str.to_uppercase(), "tail": texts.str.slice(1).str.to_lowercase()}
    )
    return parts.select(pl.concat_str("head", "tail").alias("text")).to_series()


_XML: Final = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"))
_CHANGES: Final[Mapping[str, Change]] = {
    "addslashes": _replaced(("\\", "\\\\"), ('"', '\\"'), ("'", "\\'")),
    "capitalize": _capitalized,
    "escape": _replaced(*_XML, ("'", "&#x27;"), ("/", "&#x2F;")),
    "escape_xml": _replaced(*_XML, ("'", "&apos;")),
    "linebreaksbr": _replaced(("\r\n", "<br>"), ("\n", "<br>")),
    "lower": lambda texts: texts.str.to_lowercase(),
    "trim": lambda texts: texts.str.strip_chars(WHITE_SPACE),
    "trim_end": lambda texts: texts.str.strip_chars_end(WHITE_SPACE),
    "trim_start": lambda texts: texts.str.strip_chars_start(WHITE_SPACE),
    "upper": lambda texts: texts.str.to_uppercase(),
}
"""Filters of text that Polars does letter for letter as Tera."""


def filtered_column(column: Column, name: str, values: Mapping[str, Any]) -> RenderOutcome:
    """The column after a filter with the same arguments in every row; missing rows have failed already."""
    args = Arguments(name, values)
    if name not in FILTERS:
        # `default` is a filter of paths only, and none of a section
        return per_distinct(column, lambda value: _unknown(name))
    changed = _vectorised(column, name, args)
    if changed is None:
        return per_distinct(column, lambda value: checked(FILTERS[name](value, args)))
    if changed.texts is None:
        return RenderOutcome(changed)
    texts, failures = limited(changed.text_series())
    if failures:
        changed = Column(changed.size, changed.tags, texts=texts)
    return RenderOutcome(changed, failures)


def _vectorised(column: Column, name: str, args: Arguments) -> Column | None:
    """The column after the filter, or None where it is not done on columns, for these types or arguments."""
    if column.all_(Tag.TEXT, Tag.MISSING):
        return _of_text(column, name, args)
    if name == "abs":
        return _absolute(column)
    if name == "round":
        try:
            return _rounded(column, args)
        except RenderError:
            return None
    if name == "as_str":
        texts = printed_column(column)
        return Column(column.size, Tag.TEXT, texts=texts) if isinstance(texts, pl.Series) else None
    return None


def _of_text(column: Column, name: str, args: Arguments) -> Column | None:
    if name in _CHANGES:
        return text_changed(column, _CHANGES[name])
    if name in TEXT_CHANGES:
        change = TEXT_CHANGES[name]
        return text_changed(
            column,
            lambda texts: pl.Series([text and change(text) for text in texts.to_list()], dtype=pl.String),
        )
    if name == "as_str":
        return column
    if name == "length":
        lengths = text_measured(column, lambda texts: texts.str.len_chars())
        tags = (
            Tag.INT
            if column.tags is Tag.TEXT
            else np.where(column.is_(Tag.TEXT), np.uint8(Tag.INT), np.uint8(0))
        )
        return Column(column.size, tags, ints=lengths.fill_null(0).cast(pl.Int64).to_numpy())
    try:
        return _with_arguments(column, name, args)
    except RenderError:
        # wrong arguments: the filter itself says so, row by row
        return None


def _unknown(name: str) -> NoReturn:
    raise RenderError(f"unknown filter `{name}`")


def _with_arguments(column: Column, name: str, args: Arguments) -> Column | None:
    if name == "replace":
        old, new = args.text("from"), args.text("to")
        # a longer text may go beyond the limit, which only the single filter knows to stop in time
        if not old or (len(new) > len(old) and _longest(column) * len(new) > 10_000):
            return None
        return text_changed(column, _replaced((old, new)))
    if name == "truncate":
        # no text is longer than 32 bits say
        length, end = min(args.size("length", 255), 2**31), args.text("end", "…")
        return text_changed(column, lambda texts: _truncated(texts, length, end))
    return None


def _longest(column: Column) -> int:
    longest = column.text_series().str.len_bytes().max()
    return longest if isinstance(longest, int) else 0


def _truncated(texts: pl.Series, length: int, end: str) -> pl.Series:
    longer = (texts.str.len_chars() > length).fill_null(value=False)
    if not longer.any():
        return texts
    # a letter of several code points counts once, which only the single filter knows
    plain = (texts.str.len_bytes() == texts.str.len_chars()) & ~texts.str.contains("\r", literal=True)
    frame = pl.DataFrame({"text": texts, "longer": longer, "plain": plain.fill_null(value=False)})
    cut = pl.concat_str(pl.col("text").str.head(length), pl.lit(end))
    result = frame.select(
        pl.when(pl.col("longer") & pl.col("plain")).then(cut).otherwise("text").alias("text")
    ).to_series()
    rest = np.flatnonzero((longer & ~plain).fill_null(value=False).to_numpy())
    if not len(rest):
        return result
    args = Arguments("truncate", {"length": length, "end": end})
    return result.scatter(
        rest, pl.Series([FILTERS["truncate"](text, args) for text in texts.gather(rest).to_list()])
    )


def _absolute(column: Column) -> Column | None:
    if not column.all_(Tag.INT, Tag.FLOAT):
        return None
    ints, floats = column.ints, column.floats
    return Column(
        column.size,
        column.tags,
        ints=None if ints is None else np.abs(ints),
        floats=None if floats is None else np.abs(floats),
    )


def _rounded(column: Column, args: Arguments) -> Column | None:
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
    # what overflows is null, which is left to the single filter
    return Column(column.size, Tag.FLOAT, floats=nearest) if np.isfinite(nearest).all() else None
