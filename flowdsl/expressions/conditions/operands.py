"""Operands of vectorized evaluation: columns, and constants, which are never broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.expressions.conditions.typecheck import wrong_type
from flowdsl.expressions.row_source import Failures
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Mask, Tag, tag_of

NUMBERS: Final = (Tag.INT, Tag.FLOAT)
KINDS: Final = {
    Tag.MISSING: "missing",
    Tag.NULL: "null",
    Tag.BOOL: "boolean",
    Tag.INT: "number",
    Tag.FLOAT: "number",
    Tag.TEXT: "text",
    Tag.ARRAY: "array",
    Tag.OBJECT: "object",
}
_EVERYWHERE: Final = np.True_


@dataclass(frozen=True, eq=False)
class ConstantOperand:
    """One value for all rows."""

    value: Any


Operand = Column | ConstantOperand
# a mask, or `np.True_` for all rows
Where = Mask | np.bool_
Tagged = dict[Tag, Where]


def masks_by_type(operand: Operand) -> Tagged:
    """Return the types that occur, each with a mask of its rows."""
    if isinstance(operand, ConstantOperand):
        return {tag_of(operand.value): _EVERYWHERE}
    tags = operand.tags
    if not isinstance(tags, np.ndarray):
        return {tags: _EVERYWHERE}
    if not len(tags):
        return {}
    # one bit per tag: finds all that occur in two passes
    present = int(np.bitwise_or.reduce(np.left_shift(np.uint8(1), tags)))
    found = [tag for tag in Tag if present & (1 << tag)]
    return {found[0]: _EVERYWHERE} if len(found) == 1 else {tag: tags == tag for tag in found}


def either(wheres: Sequence[Where]) -> Where:
    """Return the union of masks."""
    result: Where = np.False_
    for where in wheres:
        result = where if result is np.False_ else result | where
    return result


def spread(where: Where, size: int) -> Mask:
    """Expand rows to a mask."""
    return where if isinstance(where, np.ndarray) else np.full(size, bool(where))


def of_type(tags: Tagged, *wanted: Tag) -> Where:
    """Return the rows whose value has one of these types."""
    return either([where for tag, where in tags.items() if tag in wanted])


def boolean(mask: Mask) -> Column:
    """Return a column of booleans."""
    return Column(len(mask), Tag.BOOL, bools=mask)


class OperandErrors:
    """Errors of one operation; each row keeps its first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.codes: npt.NDArray[np.int32] | None = None
        self.messages: list[str] = []

    def add(self, where: Where, message: str) -> None:
        """Set this message for rows that have no error yet."""
        mask = spread(where, self.size)
        if not mask.any():
            return
        self.messages.append(message)
        if self.codes is None:
            self.codes = np.zeros(self.size, np.int32)
        self.codes[(self.codes == 0) & mask] = len(self.messages)

    def wrong_types(
        self, what: str, kinds: tuple[str, ...], operand: object, tags: Tagged, eligible: Where
    ) -> None:
        """Add an error for each eligible row of a wrong type, worded for that type."""
        by_kind: dict[str, list[Where]] = {}
        for tag, where in tags.items():
            by_kind.setdefault(KINDS[tag], []).append(where)
        for kind, wheres in by_kind.items():
            if kind not in kinds:
                self.add(either(wheres) & eligible, wrong_type(what, kinds, operand, kind))

    def failures(self) -> Failures | None:
        """Return all errors, or None if there are none."""
        return None if self.codes is None else Failures(self.codes, tuple(self.messages))
