"""Vectorized arithmetic with 64-bit integers and floats, equal to `values.calculate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.expressions.templates.values import Number, calculate
from flowdsl.expressions.templates.vectorized.outcomes import call_each
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Floats, Ints, Mask, Tag

_KINDS = {
    Tag.NULL: "null",
    Tag.BOOL: "a boolean",
    Tag.TEXT: "text",
    Tag.ARRAY: "an array",
    Tag.OBJECT: "an object",
}


@dataclass(frozen=True)
class NumberColumns:
    """Numbers: `ints` where `whole`, else `floats`, in which NaN is Tera's NaN."""

    ints: Ints
    floats: Floats
    whole: Mask

    def as_floats(self) -> Floats:
        """Return all numbers as floats."""
        if self.whole.all():
            return self.ints.astype(np.float64)
        return np.where(self.whole, self.ints.astype(np.float64), self.floats)

    def number(self, row: int) -> Number | None:
        """Return one number as a Python value."""
        if self.whole[row]:
            return int(self.ints[row])
        value = float(self.floats[row])
        return None if np.isnan(value) else value

    def column(self) -> Column:
        """Return the numbers as values; Tera's NaN is the text `NaN`."""
        size = len(self.whole)
        nan = ~self.whole & np.isnan(self.floats)
        if self.whole.all():
            return Column(size, Tag.INT, ints=self.ints)
        tags = np.where(self.whole, np.uint8(Tag.INT), np.where(nan, np.uint8(Tag.TEXT), np.uint8(Tag.FLOAT)))
        same = (tags == tags[0]).all()
        texts = Column.constant("NaN", size).texts if nan.any() else None
        return Column(
            size, Tag(int(tags[0])) if same else tags, ints=self.ints, floats=self.floats, texts=texts
        )


def numbers_of(values: Column, name: str) -> tuple[NumberColumns, Failures | None]:
    """Convert values to numbers; others fail, except missing ones, which have failed before."""
    ints = values.ints if values.ints is not None else np.zeros(values.size, np.int64)
    floats = values.floats if values.floats is not None else np.ones(values.size, np.float64)
    there = values.present()
    failed = [Failures.where(values.is_(tag), wrong_kind(name, tag)) for tag in _KINDS if tag in there]
    return NumberColumns(ints, floats, values.is_(Tag.INT)), first_failures(failed)


def wrong_kind(name: str, tag: Tag) -> str:
    """Return the failure of an operator whose operand is not a number."""
    if not name:
        return "an operator takes numbers, and a filter gave none"
    return f"an operator takes numbers, and `{name}` is {_KINDS[tag]}"


def calculated(op: str, left: NumberColumns, right: NumberColumns) -> tuple[NumberColumns, Failures | None]:
    """Evaluate one arithmetic operator in every row."""
    if op == "/":
        return _divide(left, right), None
    whole = left.whole & right.whole
    ints, suspect = left.ints, np.zeros(len(whole), np.bool_)
    if whole.any():
        ints, suspect = _whole_step(op, left.ints, right.ints)
        suspect &= whole
    floats = left.floats
    if not whole.all():
        a, b = left.as_floats(), right.as_floats()
        floats = _float_step(op, a, b)
        lost = ~np.isfinite(floats)
        if op in "+-":
            # Tera crashes at a result beyond the floats, unless an operand had no value
            suspect |= ~whole & lost & ~np.isnan(a) & ~np.isnan(b)
        floats = np.where(lost, np.nan, floats)
    result = NumberColumns(ints, floats, whole)
    return result, _failures(op, left, right, suspect) if suspect.any() else None


def _whole_step(op: str, a: Ints, b: Ints) -> tuple[Ints, Mask]:
    """Return the results, and the rows that may be out of bounds."""
    with np.errstate(over="ignore"):
        if op == "+":
            added = a + b
            return added, ((a ^ added) & (b ^ added)) < 0
        if op == "-":
            taken = a - b
            return taken, ((a ^ b) & (a ^ taken)) < 0
        if op == "*":
            return a * b, np.abs(a.astype(np.float64) * b.astype(np.float64)) > 9.2e18
    harmless = (b != 0) & (b != -1)
    remainder = np.fmod(a, np.where(harmless, b, 1))
    return remainder, (b == 0) | ((b == -1) & (a == np.iinfo(np.int64).min))


def _float_step(op: str, a: Floats, b: Floats) -> Floats:
    with np.errstate(all="ignore"):
        if op == "+":
            return a + b
        if op == "-":
            return a - b
        if op == "*":
            return a * b
        result: Floats = np.fmod(a, b)
        return result


def _divide(left: NumberColumns, right: NumberColumns) -> NumberColumns:
    """Divide; a result without fraction is an integer, clamped to 64 bits."""
    with np.errstate(all="ignore"):
        floats = left.as_floats() / right.as_floats()
    floats = np.where(np.isfinite(floats), floats, np.nan)
    whole = floats == np.floor(floats)
    beyond = whole & (np.abs(floats) >= 2.0**63)
    ints = np.where(whole & ~beyond, floats, 0.0).astype(np.int64)
    if beyond.any():
        limits = np.iinfo(np.int64)
        ints[beyond] = np.where(floats[beyond] > 0, limits.max, limits.min)
    return NumberColumns(ints, floats, whole)


def _failures(op: str, left: NumberColumns, right: NumberColumns, suspect: Mask) -> Failures | None:
    """Evaluate rows that may be out of bounds one by one."""
    rows = np.flatnonzero(suspect)

    def step(row: int) -> Number | None:
        a, b = left.number(row), right.number(row)
        return None if a is None or b is None else calculate(op, a, b)

    _, failures = call_each(step, rows.tolist())
    return failures.scatter(rows, len(suspect)) if failures else None
