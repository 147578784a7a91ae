"""What expressions refuse, in words: operands of the wrong type, and texts that are none."""

from __future__ import annotations

import math
from typing import Final, Protocol

from flowdsl.errors import ConditionError

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
    """An expression that has no value at one event; the text says why."""


class Typed(Protocol):
    """Something whose type may be known before any event is seen."""

    @property
    def kind(self) -> str | None:
        """The type, or None where only the event tells it."""
        ...


def require(what: str, kinds: tuple[str, ...], operand: Typed) -> None:
    """Refuse an operand that can never be of a right type."""
    if operand.kind is None or operand.kind in kinds:
        return
    hint = None
    if kinds == ("boolean",) and operand.kind == "number":
        hint = "with var, put each comparison in parentheses: & | ~ bind tighter than == there"
    raise ConditionError(wrong_type(what, kinds, operand, operand.kind), hint=hint)


def wrong_type(what: str, kinds: tuple[str, ...], operand: object, kind: str) -> str:
    """The sentence that says what an operator or function needs, and what an operand is instead."""
    *rest, last = (_WANTED[kind] for kind in kinds)
    wanted = f"{', '.join(rest)} or {last}" if rest else last
    sentence = f"{what} needs {wanted}, but {clipped(operand)} is {found(kind)}"
    if kind == "missing":
        sentence += f"; exists({clipped(operand)}) asks whether it is there"
    return sentence


def division_by_zero(divisor: object) -> str:
    """The sentence that says which divisor is 0."""
    return f"division by zero: {clipped(divisor)} is 0"


def found(kind: str) -> str:
    """A type as the predicate of a sentence."""
    return _FOUND.get(kind, kind)


def clipped(expression: object, longest: int = 80) -> str:
    """The text of an expression, short enough for a message."""
    text = str(expression)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def constant(value: Scalar) -> Scalar:
    """A constant as flowdsl holds it: integers beyond 64 bits are floats, and no number is infinite."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if isinstance(value, float) and not math.isfinite(value):
        raise ConditionError("a number in a condition is too large, or is none", allowed="finite numbers")
    if isinstance(value, str):
        check_text(value)
    return value


def constant_kind(value: Scalar) -> str:
    """The type of a constant."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def check_text(text: str) -> None:
    """Refuse what no column can hold: text beyond all bounds, or half of a surrogate pair."""
    if len(text) > MAX_TEXT:
        raise ConditionError(f"a text in a condition is longer than {MAX_TEXT:,} characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConditionError(
                f"{clipped(ascii(text))} holds half of a surrogate pair, which is no character",
                hint=r"write the character itself, or \U and its eight digits",
            ) from None
