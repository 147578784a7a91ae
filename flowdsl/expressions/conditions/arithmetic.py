"""Vectorized arithmetic and text functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.expressions.conditions import semantics
from flowdsl.expressions.conditions.comparison import as_mask, inexact, numbers
from flowdsl.expressions.conditions.operands import (
    NUMBERS,
    ConstantOperand,
    Operand,
    Tagged,
    of_type,
    spread,
    tagged,
)
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Mask, Tag
from flowdsl.values.masks import holds_piece

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
    """Accumulator of numeric results: integers and floats side by side, missing where nothing was set."""

    def __init__(self, size: int) -> None:
        self.tags = np.zeros(size, np.uint8)
        self.ints: npt.NDArray[np.int64] | None = None
        self.floats: npt.NDArray[np.float64] | None = None

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
    right_tags = tagged(right)
    with np.errstate(all="ignore"):
        for tag, at_left in tagged(left).items():
            for other, at_right in right_tags.items():
                if tag in NUMBERS and other in NUMBERS:
                    a, b = numbers(left, tag), numbers(right, other)
                    whole = tag is Tag.INT and other is Tag.INT
                    _compute_typed(result, sign, a, b, spread(at_left & at_right, size), whole=whole)
    return result.column()


def _compute_typed(result: _Numbers, sign: str, a: Any, b: Any, mask: Mask, *, whole: bool) -> None:
    # a divisor of 0 fails, and what stands there is never read
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
    for tag, where in tagged(operand).items():
        if tag in NUMBERS:
            turned = numbers(operand, tag)
            with np.errstate(over="ignore"):
                result.put(tag, -turned, spread(where, operand.size))
            if tag is Tag.INT:
                smallest = (turned == -(2**63)) & where
                for row in np.flatnonzero(smallest).tolist():
                    result.put_one(row, 2.0**63)
    return result.column()


def texts_only(operand: Column, texts: pl.Series) -> Column:
    """Keep texts; the other rows are missing."""
    where = of_type(tagged(operand), Tag.TEXT)
    if where is np.True_:
        return Column(operand.size, Tag.TEXT, texts=texts)
    return Column(
        operand.size,
        np.where(spread(where, operand.size), np.uint8(Tag.TEXT), np.uint8(Tag.MISSING)),
        texts=texts,
    )


def letters(function: Literal["lower", "upper"], texts: pl.Series) -> pl.Series:
    """Convert texts to lower or upper case, as Python does.

    Polars has other rules for a final sigma and some more, so it does the ASCII texts, and Python each
    distinct one of the others.
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


def find(function: str, whole: Operand, part: Operand) -> Mask:
    """Test whether texts start with, end with or contain another text; rows that are not text are False."""
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
