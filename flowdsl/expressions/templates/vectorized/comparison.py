"""Vectorized `==`, `!=` and orderings."""

from __future__ import annotations

import json

import numpy as np

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.values import equal, number
from flowdsl.expressions.templates.vectorized.outcomes import GroupIndex, Operand, call_each
from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.json_types import Floats, Mask, Tag
from flowdsl.values.masks import as_mask, where_equal


def equality_column(
    op: str, left: Operand, right: Operand, size: int, *, negated: bool = False
) -> tuple[Mask, Failures | None]:
    """Evaluate `==` or `!=`, possibly negated; a number never equals anything else."""
    if isinstance(left, GroupIndex):
        left, right = right, left
    assert isinstance(left, Column)
    left_numeric = left.is_(Tag.INT, Tag.FLOAT)
    failures: Failures | None = None
    if isinstance(right, GroupIndex):
        right_numeric: Mask = np.full(size, number(right.value) is not None)
        same = _same_as(left, right.value)
    else:
        right_numeric = right.is_(Tag.INT, Tag.FLOAT)
        same, failures = _same(left, right)
    comparable = left_numeric == right_numeric
    return (same if (op == "==") is not negated else ~same) & comparable, failures


def _same_as(column: Column, value: object) -> Mask:
    """Return a mask of the rows with that value."""
    if value is None:
        return column.is_(Tag.NULL)
    if isinstance(value, bool):
        found = column.is_(Tag.BOOL)
        return found if column.bools is None else found & (column.bools == value)
    if isinstance(value, str):
        return column.is_(Tag.TEXT) & _text_is(column, value)
    given = number(value)
    if given is None:
        return _same(column, Column.constant(value, column.size))[0]
    result = np.zeros(column.size, np.bool_)
    if column.ints is not None:
        result |= column.is_(Tag.INT) & (column.ints.astype(np.float64) == float(given))
    if column.floats is not None:
        result |= column.is_(Tag.FLOAT) & (column.floats == float(given))
    return result


def _text_is(column: Column, value: str) -> Mask:
    if isinstance(column.texts, DictionaryColumn):
        # a text that was never interned gets a code that no row has
        mask: Mask = column.texts.codes == column.texts.interner.code(value)
        return mask
    return where_equal(column.text_series(), value)


def _same(left: Column, right: Column) -> tuple[Mask, Failures | None]:
    """Return a mask of the rows where two columns are equal, numbers as floats."""
    result = np.zeros(left.size, np.bool_)
    numeric = left.is_(Tag.INT, Tag.FLOAT) & right.is_(Tag.INT, Tag.FLOAT)
    if numeric.any():
        result |= numeric & (_floats(left) == _floats(right))
    both = left.is_(Tag.TEXT) & right.is_(Tag.TEXT)
    if both.any():
        result |= both & _texts_equal(left, right)
    both = left.is_(Tag.BOOL) & right.is_(Tag.BOOL)
    if both.any() and left.bools is not None and right.bools is not None:
        result |= both & (left.bools == right.bools)
    result |= left.is_(Tag.NULL) & right.is_(Tag.NULL)
    both = left.is_(Tag.ARRAY, Tag.OBJECT) & right.is_(Tag.ARRAY, Tag.OBJECT)
    failures = _compare_nested(left, right, both, result) if both.any() else None
    return result, failures


def _floats(column: Column) -> Floats:
    zeros = np.zeros(column.size)
    ints = zeros if column.ints is None else column.ints.astype(np.float64)
    return np.where(column.is_(Tag.INT), ints, zeros if column.floats is None else column.floats)


def _texts_equal(left: Column, right: Column) -> Mask:
    a, b = left.texts, right.texts
    if isinstance(a, DictionaryColumn) and isinstance(b, DictionaryColumn) and a.interner is b.interner:
        mask: Mask = a.codes == b.codes
        return mask
    return where_equal(left.text_series(), right.text_series())


def _compare_nested(left: Column, right: Column, both: Mask, result: Mask) -> Failures | None:
    """Compare arrays and objects pair by pair, since equal JSON can be written in several ways."""
    rows = np.flatnonzero(both)
    assert left.nested is not None
    assert right.nested is not None
    pairs = zip(left.nested.gather(rows).to_list(), right.nested.gather(rows).to_list(), strict=True)
    answers, failures = call_each(lambda pair: equal(json.loads(pair[0]), json.loads(pair[1])), pairs)
    result[rows] = [answer is True for answer in answers]
    return failures.scatter(rows, left.size) if failures else None


def is_one_of(column: Column, texts: list[str]) -> Mask:
    """Return a mask of the rows with one of the texts."""
    if isinstance(column.texts, DictionaryColumn):
        codes = [column.texts.interner.code(text) for text in texts]
        return column.is_(Tag.TEXT) & np.isin(column.texts.codes, [code for code in codes if code > 0])
    found = as_mask(column.text_series().is_in(texts))
    return column.is_(Tag.TEXT) & found
