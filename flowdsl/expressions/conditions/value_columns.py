"""The functions over values on columns; see `declaration.Vectorized`."""

from __future__ import annotations

import numpy as np

from flowdsl.expressions.conditions.comparison import compare
from flowdsl.expressions.conditions.operands import ConstantOperand, Operand, Where, masks_by_type, of_type
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING, Index, Mask, Tag, Tags
from flowdsl.values.white_space import WHITE_SPACE

_SMALLEST = -(2**63)


def coalesce(size: int, *values: Operand) -> tuple[Column, Where]:
    """Return the first values that are neither missing nor null."""
    columns = [_spread(value, size) for value in values]
    columns.append(Column.constant(MISSING, size))
    chosen = np.full(size, len(columns) - 1)
    for position in range(len(columns) - 2, -1, -1):
        chosen[~columns[position].is_(Tag.MISSING, Tag.NULL)] = position
    return _choose(columns, chosen), np.False_


def trim(size: int, text: Column) -> tuple[Column, Where]:
    """Return the texts without white space at their ends."""
    return Column(size, Tag.TEXT, texts=text.text_series().str.strip_chars(WHITE_SPACE)), np.False_


def absolute(size: int, number: Column) -> tuple[Column, Where]:
    """Return the numbers without their signs; the smallest integer, which has no opposite, is left open."""
    ints = number.ints
    floats = None if number.floats is None else np.abs(number.floats)
    if ints is None:
        return Column(size, _tags(number), floats=floats), _odd(number)
    with np.errstate(over="ignore"):
        return Column(size, _tags(number), ints=np.abs(ints), floats=floats), _odd(number) | (
            ints == _SMALLEST
        )


def round_numbers(size: int, number: Operand, digits: Operand) -> tuple[Column, Where]:
    """Round to whole numbers; rows that are rounded to more digits are left open."""
    column = _spread(number, size)
    floats = column.floats
    if not isinstance(digits, ConstantOperand) or digits.value != 0:
        return column, np.True_
    if floats is None:
        return column, np.False_
    with np.errstate(invalid="ignore"):
        whole = np.trunc(floats)
        whole += np.where(np.abs(floats - whole) >= 0.5, np.copysign(1.0, floats), 0.0)
        fits = np.abs(whole) < 2.0**63
        ints = np.where(fits, whole, 0.0).astype(np.int64)
    ints = ints if column.ints is None else np.where(column.is_(Tag.INT), column.ints, ints)
    tags = _tags(column)
    tags[(tags == Tag.FLOAT) & fits] = Tag.INT
    return Column(size, tags, ints=ints, floats=floats), _odd(column)


def least(size: int, *numbers: Operand) -> tuple[Column, Where]:
    """Return the smallest numbers."""
    return _extreme("<", size, numbers)


def greatest(size: int, *numbers: Operand) -> tuple[Column, Where]:
    """Return the greatest numbers."""
    return _extreme(">", size, numbers)


def _extreme(sign: str, size: int, numbers: tuple[Operand, ...]) -> tuple[Column, Where]:
    """Return the smallest or greatest of the numbers in each row; of equal ones the first."""
    best = _spread(numbers[0], size)
    left_open = _odd(best)
    for number in numbers[1:]:
        column = _spread(number, size)
        left_open = left_open | _odd(column)
        better, _ = compare(sign, column, best, size)
        best = _choose([best, column], better.astype(np.int64))
    return best, left_open


def _choose(columns: list[Column], chosen: Index) -> Column:
    """Return for each row the value of the column whose index is in `chosen`."""
    size = len(chosen)
    if size and (chosen == chosen[0]).all():
        return columns[int(chosen[0])]
    return Column.concat(columns).take(chosen * size + np.arange(size)) if size else columns[0]


def _tags(column: Column) -> Tags:
    """Return the type tags of numbers; other values, whose rows fail, become null as they are not kept."""
    return np.where(column.is_(Tag.INT, Tag.FLOAT), column.tag_array(), np.uint8(Tag.NULL))


def _spread(operand: Operand, size: int) -> Column:
    return Column.constant(operand.value, size) if isinstance(operand, ConstantOperand) else operand


def _odd(number: Column) -> Mask | np.bool_:
    """Return a mask of NaN and infinity, which JSON lacks; the scalar function refuses them."""
    if number.floats is None:
        return np.False_
    odd = ~np.isfinite(number.floats) & of_type(masks_by_type(number), Tag.FLOAT)
    return odd if odd.any() else np.False_
