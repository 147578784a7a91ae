"""Arithmetic in the column form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.expressions.conditions import semantics
from flowdsl.expressions.conditions.comparison import inexact, numbers
from flowdsl.expressions.conditions.operands import (
    NUMBERS,
    ConstantOperand,
    Operand,
    Tagged,
    masks_by_type,
    spread,
)
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Floats, Ints, Mask, Tag

_COMPUTED: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "%": np.remainder,
}
# results near the edge of 64 bits are computed again, exactly; a float estimate finds them
_EDGE: Final = 9.2e18


class _Numbers:
    """Accumulator of numeric results, integers and floats; rows that were not set are missing."""

    def __init__(self, size: int) -> None:
        self.tags = np.zeros(size, np.uint8)
        self.ints: Ints | None = None
        self.floats: Floats | None = None

    def put(self, tag: Tag, numbers: npt.NDArray[Any], mask: Mask) -> None:
        self.tags[mask] = tag
        if tag is Tag.INT:
            self.ints = numbers if self.ints is None else np.where(mask, numbers, self.ints)
        else:
            self.floats = numbers if self.floats is None else np.where(mask, numbers, self.floats)

    def put_one(self, row: int, number: int | float) -> None:
        tag = Tag.INT if isinstance(number, int) else Tag.FLOAT
        self.tags[row] = tag
        if tag is Tag.INT:
            self.ints = np.zeros(len(self.tags), np.int64) if self.ints is None else self.ints
            self.ints[row] = number
        else:
            self.floats = np.zeros(len(self.tags)) if self.floats is None else self.floats
            self.floats[row] = number

    def column(self) -> Column:
        first = Tag(int(self.tags[0])) if len(self.tags) else Tag.MISSING
        uniform = bool((self.tags == first).all())
        return Column(len(self.tags), first if uniform else self.tags, ints=self.ints, floats=self.floats)


def compute(sign: str, left: Operand, right: Operand, size: int) -> Column:
    """Apply an arithmetic operator where both sides are numbers; the other rows are missing."""
    result = _Numbers(size)
    right_tags = masks_by_type(right)
    with np.errstate(all="ignore"):
        for tag, at_left in masks_by_type(left).items():
            for other, at_right in right_tags.items():
                if tag in NUMBERS and other in NUMBERS:
                    a, b = numbers(left, tag), numbers(right, other)
                    whole = tag is Tag.INT and other is Tag.INT
                    _compute_typed(result, sign, a, b, spread(at_left & at_right, size), whole=whole)
    return result.column()


def _compute_typed(result: _Numbers, sign: str, a: Any, b: Any, mask: Mask, *, whole: bool) -> None:
    # a divisor of 0 fails, and the value there is never read
    if not whole:
        result.put(Tag.FLOAT, _COMPUTED[sign](_as_floats(a), _as_floats(b)), mask)
        return
    computed = _COMPUTED[sign](a, b)
    result.put(Tag.FLOAT if sign == "/" else Tag.INT, computed, mask)
    if sign == "/":
        doubtful = inexact(a) | inexact(b)
    elif sign == "%":
        return
    else:
        doubtful = np.abs(_COMPUTED[sign](_as_floats(a), _as_floats(b))) > _EDGE
    for row in np.flatnonzero(doubtful & mask).tolist():
        x, y = (n[row].item() if isinstance(n, np.ndarray) else n for n in (a, b))
        if y or sign != "/":
            result.put_one(row, semantics.compute(sign, x, y))


def _as_floats(numbers: Any) -> Any:
    return numbers.astype(np.float64) if isinstance(numbers, np.ndarray) else float(numbers)


def zero(operand: Operand, tags: Tagged) -> Any:
    """Return a mask of the rows where a number is 0."""
    if isinstance(operand, ConstantOperand):
        return np.bool_(operand.value == 0 and not isinstance(operand.value, bool))
    result: Any = np.False_
    for tag, where in tags.items():
        if tag in NUMBERS:
            result = result | ((numbers(operand, tag) == 0) & where)
    return result


def negative(operand: Column) -> Column:
    """Negate numbers; the other rows are missing."""
    result = _Numbers(operand.size)
    for tag, where in masks_by_type(operand).items():
        if tag in NUMBERS:
            turned = numbers(operand, tag)
            with np.errstate(over="ignore"):
                result.put(tag, -turned, spread(where, operand.size))
            if tag is Tag.INT:
                smallest = (turned == -(2**63)) & where
                for row in np.flatnonzero(smallest).tolist():
                    result.put_one(row, 2.0**63)
    return result.column()
