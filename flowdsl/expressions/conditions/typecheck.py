"""Type checks and error messages of expressions."""

from __future__ import annotations

import math
from typing import Any, Final, Protocol

from flowdsl.errors import ConditionError
from flowdsl.text import clip

MAX_TEXT: Final = 100_000
Scalar = None | bool | int | float | str
_WANTED: Final = {
    "boolean": "true or false",
    "number": "numbers",
    "text": "text",
    "array": "an array",
    "object": "an object",
}
_FOUND: Final = {"boolean": "a boolean", "number": "a number", "array": "an array", "object": "an object"}


class EvaluationError(Exception):
    """Raised if an expression has no value for an event; the text gives the reason."""


class Typed(Protocol):
    """Object whose type may be known before any event is seen."""

    @property
    def kind(self) -> str | None:
        """The type, or None if it depends on the event."""
        ...


def require(what: str, kinds: tuple[str, ...], operand: Typed, allowed: str | None = None) -> None:
    """Reject an operand that can never have a right type; `allowed` shows what would be right."""
    if operand.kind is None or operand.kind in kinds:
        return
    hint = None
    if kinds == ("boolean",) and operand.kind == "number":
        hint = "with var, put each comparison in parentheses: & | ~ bind tighter than == there"
    raise ConditionError(wrong_type(what, kinds, operand, operand.kind), allowed=allowed, hint=hint)


def wrong_type(what: str, kinds: tuple[str, ...], operand: object, kind: str) -> str:
    """Return the sentence that names the type an operator needs and the type of its operand."""
    *rest, last = (_WANTED[kind] for kind in kinds)
    wanted = f"{', '.join(rest)} or {last}" if rest else last
    sentence = f"{what} needs {wanted}, but {clip_text(operand)} is {phrase(kind)}"
    if kind == "missing":
        sentence += f"; exists({clip_text(operand)}) asks whether it is there"
    return sentence


def division_by_zero(divisor: object) -> str:
    """Return the sentence that names the divisor that is 0."""
    return f"division by zero: {clip_text(divisor)} is 0"


def phrase(kind: str) -> str:
    """Return a type as the predicate of a sentence."""
    return _FOUND.get(kind, kind)


def clip_text(expression: object, longest: int = 80) -> str:
    """Return the text of an expression, shortened for a message."""
    return clip(str(expression), longest)


def constant(value: Scalar) -> Scalar:
    """Normalize a constant: integers beyond 64 bits become floats; infinite numbers are rejected."""
    value = within_64_bits(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConditionError("a number in a condition is too large, or is none", allowed="finite numbers")
    if isinstance(value, str):
        check_text(value)
    return value


def within_64_bits(value: Any) -> Any:
    """Return the value; integers beyond 64 bits become floats."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def check_text(text: str) -> None:
    """Reject text that no column can hold: too long, or with half a surrogate pair."""
    if len(text) > MAX_TEXT:
        raise ConditionError(f"a text in a condition is longer than {MAX_TEXT:,} characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConditionError(
                f"{clip_text(ascii(text))} holds half of a surrogate pair, which is not a character",
                hint=r"write the character itself, or \U and its eight digits",
            ) from None
