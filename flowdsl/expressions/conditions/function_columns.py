"""The functions of conditions on columns: each takes the number of rows and its operands.

Each returns the results, and a mask of the rows for which the scalar function is called instead ("left
open"); see `declaration.Vectorized`.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import polars as pl

from flowdsl.expressions.conditions.comparison import compare, member
from flowdsl.expressions.conditions.operands import (
    ConstantOperand,
    Operand,
    Where,
    boolean,
    masks_by_type,
    of_type,
    spread,
)
from flowdsl.values.columns import Column
from flowdsl.values.json_lists import JsonLists, join_texts
from flowdsl.values.json_types import Mask, Tag
from flowdsl.values.masks import as_mask, holds_piece


def exists(size: int, path: Column) -> tuple[Column, Where]:
    """Return True for rows that have a value."""
    return boolean(~spread(of_type(masks_by_type(path), Tag.MISSING), size)), np.False_


def length(size: int, value: Column) -> tuple[Column, Where]:
    """Return the number of characters of texts and of items of arrays; objects are left open."""
    tags = masks_by_type(value)
    lengths = value.text_series().str.len_chars().cast(pl.Int64).fill_null(0).to_numpy()
    if Tag.ARRAY in tags:
        lengths = np.where(tags[Tag.ARRAY], JsonLists.of(value).counts, lengths)
    return Column(size, Tag.INT, ints=lengths), of_type(tags, Tag.OBJECT)


def lower(size: int, text: Column) -> tuple[Column, Where]:
    """Convert texts to lower case."""
    return Column(size, Tag.TEXT, texts=_letters("lower", text.text_series())), np.False_


def upper(size: int, text: Column) -> tuple[Column, Where]:
    """Convert texts to upper case."""
    return Column(size, Tag.TEXT, texts=_letters("upper", text.text_series())), np.False_


def startswith(size: int, text: Operand, prefix: Operand) -> tuple[Column, Where]:
    """Return True where a text begins with another; False for values that are not texts."""
    return boolean(_find("startswith", text, prefix)), np.False_


def endswith(size: int, text: Operand, suffix: Operand) -> tuple[Column, Where]:
    """Return True where a text ends with another; False for values that are not texts."""
    return boolean(_find("endswith", text, suffix)), np.False_


def contains(size: int, whole: Operand, part: Operand) -> tuple[Column, Where]:
    """Return True where a text contains another, or a list a value; values of wrong types, and lists of
    floats, lists or objects, are left open.
    """
    if isinstance(whole, ConstantOperand) and isinstance(whole.value, list) and isinstance(part, Column):
        return boolean(member(part, whole.value)), np.False_
    tags = masks_by_type(whole)
    both = of_type(tags, Tag.TEXT) & of_type(masks_by_type(part), Tag.TEXT)
    mask = np.zeros(size, np.bool_)
    if np.any(both):
        mask = _find("contains", whole, part) & both
    if Tag.ARRAY not in tags or not isinstance(whole, Column):
        return boolean(mask), ~both
    lists = JsonLists.of(whole)
    known = tags[Tag.ARRAY] & lists.only(*_SIMPLE)
    return boolean(mask | _among(lists, part)), ~both & ~known


def _among(lists: JsonLists, part: Operand) -> Mask:
    """Return True for the lists that have a value."""
    rows = np.repeat(np.arange(len(lists.counts)), lists.counts)
    asked = part if isinstance(part, ConstantOperand) else part.take(rows)
    same, _ = compare("==", lists.elements, asked, len(rows))
    return np.bincount(rows[same], minlength=len(lists.counts)) > 0


def changed(size: int, now: Operand, before: Operand) -> tuple[Column, Where]:
    """Return True where two values differ; rows with arrays or objects are left open."""
    same, unknown = compare("==", now, before, size)
    return boolean(~same), unknown


def added(size: int, now: Column, before: Column) -> tuple[Column, Where]:
    """Return the elements of lists that were not in the lists before; values that are not lists are left
    open, and so are lists of floats, lists or objects.
    """
    new, old = JsonLists.of(now), JsonLists.of(before)
    plain = new.only(*_SIMPLE) & old.only(*_SIMPLE) & now.is_(Tag.ARRAY, Tag.NULL, Tag.MISSING)
    rows, known = (
        pl.DataFrame({"row": np.repeat(np.arange(size), lists.counts), "item": lists.elements.to_json()})
        for lists in (new, old)
    )
    left = rows.join(known, on=["row", "item"], how="anti", maintain_order="left")
    counts = np.bincount(left["row"].to_numpy(), minlength=size)
    nested = "[" + join_texts(left["item"], counts, ",") + "]"
    return Column(size, Tag.ARRAY, nested=nested), ~plain


# types whose equal values have equal JSON text
_SIMPLE: Final = (Tag.NULL, Tag.BOOL, Tag.INT, Tag.TEXT)


def within(size: int, part: Operand, whole: Operand) -> tuple[Column, Where]:
    """Return `contains` with its arguments swapped."""
    return contains(size, whole, part)


def _letters(function: Literal["lower", "upper"], texts: pl.Series) -> pl.Series:
    """Convert texts to lower or upper case by Python's rules.

    Polars differs from Python, for example at a final sigma, so it converts the ASCII texts only; Python
    converts each distinct one of the others.
    """
    changed = texts.str.to_lowercase() if function == "lower" else texts.str.to_uppercase()
    rows = as_mask(texts.str.len_bytes() != texts.str.len_chars()).nonzero()[0]
    if not len(rows):
        return changed
    others = texts.gather(rows)
    distinct = others.unique()
    change = str.lower if function == "lower" else str.upper
    fixed = others.replace_strict(
        distinct, pl.Series([change(text) for text in distinct.to_list()], dtype=pl.String)
    )
    return changed.scatter(rows, fixed)


def _find(function: str, whole: Operand, part: Operand) -> Mask:
    """Return True where a text begins with, ends with or contains another; False where one is not a text."""
    size = max(len(one.text_series()) for one in (whole, part) if not isinstance(one, ConstantOperand))
    texts = _texts(whole, size)
    if function == "contains":
        return as_mask(
            holds_piece(texts, str(part.value) if isinstance(part, ConstantOperand) else part.text_series())
        )
    piece = pl.lit(part.value, pl.String) if isinstance(part, ConstantOperand) else pl.lit(part.text_series())
    return as_mask(texts.str.starts_with(piece) if function == "startswith" else texts.str.ends_with(piece))


def _texts(operand: Operand, size: int) -> pl.Series:
    if isinstance(operand, ConstantOperand):
        return pl.Series([operand.value], dtype=pl.String).new_from_index(0, size)
    return operand.text_series()
