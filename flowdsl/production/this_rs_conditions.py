"""Conditions of this-rs: one comparison of text.

`X exists`, `X not_exists`, `X != Y` and `X == Y`, looked for in this order, are the whole grammar; whatever
is before the operator is one path, and what is after it is one literal or one path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from flowdsl.errors import ConditionError
from flowdsl.expressions.durations import RUST_SPACES
from flowdsl.expressions.row_source import Failures, Rows
from flowdsl.text import short_repr
from flowdsl.values.canonical_json import spell
from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.float_parser import as_read
from flowdsl.values.json_types import Mask, Tag
from flowdsl.values.masks import where_equal
from flowdsl.values.paths import Path

_FORMS: Final = "X == Y, X != Y, X exists or X not_exists, with a space on each side of the operator"
# what Rust reads as a 64-bit float
_NUMBER: Final = re.compile(
    r"[+-]?(?:inf|infinity|nan|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)", re.ASCII | re.IGNORECASE
)


class CrashingConditionError(ConditionError):
    """Raised for a condition at which production crashes while it reads its flows."""


@dataclass(frozen=True)
class TextCondition:
    """Condition of this-rs: the value at `left` compared with a literal or with the value at `right`.

    >>> condition = TextCondition.parse("owner.age == 1.0")
    >>> condition.left, condition.literal
    (('owner', 'age'), '1.0')
    """

    text: str
    operator: str
    left: Path
    literal: str | None = None
    right: Path | None = None
    function: ClassVar[None] = None

    @classmethod
    def parse(cls, text: str) -> TextCondition:
        """Parse a condition; raise `ConditionError` if this-rs does not compile it."""
        trimmed = text.strip(RUST_SPACES)
        for word in ("not_exists", "exists"):
            if trimmed.endswith(f" {word}"):
                return cls(text, word, _path(trimmed[: -len(word) - 1]))
        for sign in ("!=", "=="):
            left, found, right = trimmed.partition(f" {sign} ")
            if found:
                return cls(text, sign, _path(left), *_right(right.strip(RUST_SPACES)))
        raise ConditionError(f"production cannot read the condition {short_repr(text, 80)}", allowed=_FORMS)

    @property
    def paths(self) -> frozenset[Path]:
        """Paths that the condition reads."""
        return frozenset({self.left} if self.right is None else {self.left, self.right})

    def evaluate(self, rows: Rows) -> tuple[Mask, Failures | None]:
        """Return the mask of the rows where the condition holds; it never fails."""
        left = as_read(rows.column(self.left))
        if self.operator in ("exists", "not_exists"):
            return left.is_(Tag.MISSING) == (self.operator == "not_exists"), None
        other = self.literal if self.right is None else as_read(rows.column(self.right))
        assert other is not None
        return _equal(left, other) == (self.operator == "=="), None

    def operands(self, lookup: Callable[[Path], Any]) -> list[tuple[str, Any]]:
        """Return each path with its value."""
        paths = [self.left, *([self.right] if self.right is not None else [])]
        return [(".".join(path), lookup(path)) for path in dict.fromkeys(paths)]

    def __str__(self) -> str:
        return self.text


def _path(text: str) -> Path:
    return tuple(text.strip(RUST_SPACES).split("."))


def _right(text: str) -> tuple[str | None, Path | None]:
    """Parse a literal or a path."""
    for quote in "\"'":
        if text.startswith(quote) and text.endswith(quote):
            if len(text) == 1:
                raise CrashingConditionError("production stops at a quote that is not closed", allowed=_FORMS)
            return text[1:-1], None
    if text in ("true", "false", "null") or _NUMBER.fullmatch(text):
        return text, None
    return None, _path(text)


def _equal(left: Column, right: Column | str) -> Mask:
    """Return a mask of the rows where both sides have the same text; an array or object on the left equals
    nothing.
    """
    if isinstance(right, str):
        return _equals_literal(left, right)
    if isinstance(left.texts, DictionaryColumn) and isinstance(right.texts, DictionaryColumn):
        same_interner = left.texts.interner is right.texts.interner
        if same_interner and left.all_(Tag.TEXT, Tag.MISSING) and right.all_(Tag.TEXT, Tag.MISSING):
            codes: Mask = left.texts.codes == right.texts.codes
            return codes & left.is_(Tag.TEXT) & right.is_(Tag.TEXT)
    same = where_equal(spell(left), spell(right))
    found: Mask = same & ~left.is_(Tag.MISSING, Tag.ARRAY, Tag.OBJECT) & ~right.is_(Tag.MISSING)
    return found


def _equals_literal(left: Column, literal: str) -> Mask:
    if isinstance(left.texts, DictionaryColumn) and left.all_(Tag.TEXT, Tag.MISSING):
        codes: Mask = left.texts.codes == left.texts.interner.code(literal)
        return codes & left.is_(Tag.TEXT)
    same = where_equal(spell(left), literal)
    found: Mask = same & ~left.is_(Tag.MISSING, Tag.ARRAY, Tag.OBJECT)
    return found
