"""Vectorized comparisons: one array operation for each pair of types that occurs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.arguments import is_number
from flowdsl.expressions.conditions.operands import (
    NUMBERS,
    ConstantOperand,
    Operand,
    Where,
    masks_by_type,
    spread,
)
from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.interner import UNKNOWN
from flowdsl.values.json_types import Mask, Tag
from flowdsl.values.masks import as_mask

_SIGNS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TURNED: Final = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NESTED: Final = (Tag.ARRAY, Tag.OBJECT)
# beyond this a float no longer tells neighbouring integers apart
_EXACT: Final = 2**53


def compare(sign: str, left: Operand, right: Operand, size: int) -> tuple[Mask, Where]:
    """Evaluate `left sign right` for any sign but `!=`; return the mask and the rows only the scalar form can
    decide.
    """
    if isinstance(left, ConstantOperand):
        left, right, sign = right, left, _TURNED[sign]
    assert isinstance(left, Column)
    held: Mask | None = None
    unknown: Where = np.False_
    right_tags = masks_by_type(right)
    for tag, at_left in masks_by_type(left).items():
        for other, at_right in right_tags.items():
            if not _comparable(sign, tag, other):
                continue
            where = _both(at_left, at_right)
            if tag in _NESTED:
                unknown = unknown | where
                continue
            part = _compare_typed(sign, left, tag, right, other)
            if isinstance(where, np.ndarray):
                part = part & where
            held = part if held is None else held | part
    return (np.zeros(size, np.bool_) if held is None else spread(held, size)), unknown


def member(value: Column, items: Sequence[Any]) -> Mask:
    """Test whether values are among these constants."""
    held = np.zeros(value.size, np.bool_)
    for tag, where in masks_by_type(value).items():
        if tag in _MEMBERS:
            held |= _MEMBERS[tag](value, items) & where
    return held


def _null_member(value: Column, items: Sequence[Any]) -> Any:
    return np.bool_(None in items)


def _bool_member(value: Column, items: Sequence[Any]) -> Any:
    assert value.bools is not None
    return np.isin(value.bools, [item for item in items if isinstance(item, bool)])


def _int_member(value: Column, items: Sequence[Any]) -> Any:
    assert value.ints is not None
    # an integer equals a float if the float is whole and equals it as an integer
    whole = [int(number) for number in _numbers(items) if number == int(number)]
    return np.isin(value.ints, np.array([n for n in whole if -(2**63) <= n < 2**63], np.int64))


def _float_member(value: Column, items: Sequence[Any]) -> Any:
    assert value.floats is not None
    floats = [float(number) for number in _numbers(items) if float(number) == number]
    return np.isin(value.floats, np.array(floats, np.float64))


def _numbers(items: Sequence[Any]) -> list[int | float]:
    return [item for item in items if is_number(item)]


def _comparable(sign: str, left: Tag, right: Tag) -> bool:
    if left in NUMBERS and right in NUMBERS:
        return True
    if left is not right or left is Tag.MISSING:
        return False
    return sign == "==" or left in (Tag.BOOL, Tag.TEXT)


def _both(left: Where, right: Where) -> Where:
    if not isinstance(left, np.ndarray):
        return right
    return left & right if isinstance(right, np.ndarray) else left


def _compare_typed(sign: str, left: Column, tag: Tag, right: Operand, other: Tag) -> Any:
    if tag is Tag.NULL:
        return np.True_
    if tag is Tag.BOOL:
        return _SIGNS[sign](left.bools, right.value if isinstance(right, ConstantOperand) else right.bools)
    if tag is Tag.TEXT:
        return _compare_texts(sign, left, right)
    return _compare_numbers(sign, numbers(left, tag), numbers(right, other))


def numbers(operand: Operand, tag: Tag) -> Any:
    """Return the numbers of one type as an array or a constant."""
    if isinstance(operand, ConstantOperand):
        return operand.value
    array = operand.ints if tag is Tag.INT else operand.floats
    assert array is not None
    return array


def inexact(numbers: Any) -> Any:
    """Return a mask of the integers that a float may not represent exactly."""
    return (numbers > _EXACT) | (numbers < -_EXACT)


def _compare_numbers(sign: str, left: npt.NDArray[Any], right: Any) -> Any:
    compare = _SIGNS[sign]
    result = compare(left, right)
    whole, other = (left, right) if left.dtype == np.int64 else (right, left)
    if _is_whole(whole) and not _is_whole(other):
        # NumPy compares the two as floats; where that may round, Python compares them exactly
        for row in np.flatnonzero(np.broadcast_to(inexact(whole), result.shape)).tolist():
            result[row] = compare(left[row].item(), _value_at(right, row))
    return result


def _is_whole(numbers: Any) -> bool:
    return numbers.dtype == np.int64 if isinstance(numbers, np.ndarray) else isinstance(numbers, int)


def _value_at(numbers: Any, row: int) -> Any:
    return numbers[row].item() if isinstance(numbers, np.ndarray) else numbers


def _compare_texts(sign: str, left: Column, right: Operand) -> Any:
    texts = left.texts
    if sign == "==" and isinstance(texts, DictionaryColumn):
        if isinstance(right, ConstantOperand):
            code = texts.interner.code(right.value)
            return texts.codes == code if code != UNKNOWN else np.False_
        if isinstance(right.texts, DictionaryColumn) and right.texts.interner is texts.interner:
            return texts.codes == right.texts.codes
    other = right.value if isinstance(right, ConstantOperand) else right.text_series()
    # UTF-8, by which Polars compares, orders as code points do
    return as_mask(_SIGNS[sign](left.text_series(), other))


def _text_member(value: Column, items: Sequence[Any]) -> Any:
    wanted = pl.Series([item for item in items if isinstance(item, str)], dtype=pl.String)
    if isinstance(value.texts, DictionaryColumn):
        codes = value.texts.interner.find(wanted)
        return np.isin(value.texts.codes, codes[codes != UNKNOWN])
    return as_mask(value.text_series().is_in(wanted.implode()))


_MEMBERS: Final[dict[Tag, Callable[[Column, Sequence[Any]], Any]]] = {
    Tag.NULL: _null_member,
    Tag.BOOL: _bool_member,
    Tag.INT: _int_member,
    Tag.FLOAT: _float_member,
    Tag.TEXT: _text_member,
}
