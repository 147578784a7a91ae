"""Results of vectorized evaluation, with the failures of single rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.values import MOST_I64
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING, Mask, Tag


class NotColumnar(Exception):  # noqa: N818 (a way out, not an error)
    """Raised for a value that no column holds exactly; the template is then rendered row by row."""


@dataclass(frozen=True)
class GroupIndex:
    """The same value in every row."""

    value: Any


Operand: TypeAlias = Column | GroupIndex


@dataclass(frozen=True)
class RenderOutcome:
    """Value of each row, and the failures."""

    operand: Operand
    failures: Failures | None = None


def call_each(question: Callable[[Any], Any], items: Iterable[Any]) -> tuple[list[Any], Failures | None]:
    """Call a function for each item; failed ones become `MISSING`."""
    answers: list[Any] = []
    codes: list[int] = []
    # keyed by type too: `throw` can produce the same text as a crash
    messages: dict[tuple[type, str], int] = {}
    for item in items:
        answer, message = MISSING, ""
        try:
            answer = question(item)
        except RenderError as failure:
            message = failure.reason
        except RecursionError:
            message = "the values are nested too deeply"
        answers.append(answer)
        codes.append(messages.setdefault((type(message), message), len(messages) + 1) if message else 0)
    if not messages:
        return answers, None
    return answers, Failures(np.array(codes, np.int32), tuple(message for _, message in messages))


def column_of(values: list[Any]) -> Column:
    """Return a column of values from the scalar form."""
    for value in values:
        if isinstance(value, int) and value > MOST_I64:
            raise NotColumnar
    return Column.of(values)


def as_column(operand: Operand, size: int) -> Column:
    """Return the operand as a column."""
    return (
        operand if isinstance(operand, Column) else column_of([operand.value]).take(np.zeros(size, np.int64))
    )


def either(mask: Mask, yes: Column, no: Column) -> Column:
    """Select the rows of `yes` where the mask is True, and those of `no` elsewhere."""
    if mask.all():
        return yes
    if not mask.any():
        return no
    return Column.concat([yes, no]).take(np.where(mask, 0, len(mask)) + np.arange(len(mask)))


def where(mask: Mask, column: Column) -> Column:
    """Return the values under a mask; the others are missing."""
    return column.having(tags=np.where(mask, column.tag_array(), np.uint8(Tag.MISSING)))


def finite(column: Column) -> Column:
    """Replace NaN and infinities, which JSON lacks, by null."""
    if column.floats is None:
        return column
    odd = column.is_(Tag.FLOAT) & ~np.isfinite(column.floats)
    if not odd.any():
        return column
    tags = np.where(odd, np.uint8(Tag.NULL), column.tag_array())
    return column.having(tags=tags)
