"""Semantics of operators and functions on single JSON values; the vectorized forms agree with these."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.expressions.conditions.typecheck import division_by_zero, wrong_type
from flowdsl.values.json_types import MISSING

_ORDERED: Final = ("number", "text", "boolean")
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPUTED: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}


class OperandTypeError(Exception):
    """Raised if an operator or function does not accept an operand; holds its position and type."""

    def __init__(self, what: str, kinds: tuple[str, ...], position: int, kind: str) -> None:
        super().__init__(what, kinds, position, kind)
        self.what = what
        self.kinds = kinds
        self.position = position
        self.kind = kind


def reason(problem: OperandTypeError | ZeroDivisionError, operands: tuple[object, ...]) -> str:
    """Return the reason why an operation on these operands has no value."""
    if isinstance(problem, OperandTypeError):
        return wrong_type(problem.what, problem.kinds, operands[problem.position], problem.kind)
    return division_by_zero(operands[1])


def kind(value: Any) -> str:
    """Return the name of a JSON type; integers and floats are both numbers."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if value is None:
        return "null"
    if value is MISSING:
        return "missing"
    return "object" if isinstance(value, Mapping) else "array"


def within_64_bits(value: Any) -> Any:
    """Return the value; integers beyond 64 bits become floats."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def equal(left: Any, right: Any) -> bool:
    """Return True if two values have the same type and value; arrays and objects are compared deeply, missing
    never equals.

    >>> equal(1, 1.0), equal(1, True), equal([1, {"a": None}], [1.0, {"a": None}])
    (True, False, True)
    """
    # a stack of its own: documents may be nested deeper than Python calls
    todo = [(left, right)]
    while todo:
        a, b = todo.pop()
        what = kind(a)
        if what != kind(b) or what == "missing":
            return False
        if what == "array":
            if len(a) != len(b):
                return False
            todo += zip(a, b, strict=True)
        elif what == "object":
            if a.keys() != b.keys():
                return False
            todo += ((a[key], b[key]) for key in a)
        elif a != b:
            return False
    return True


def compare(sign: str, left: Any, right: Any) -> bool:
    """Return the result of a comparison; `!=` is the opposite of `==`, and values of different types have no
    order.

    >>> compare("<", 1, 2.5), compare("<", "1", 2), compare("!=", MISSING, MISSING)
    (True, False, True)
    """
    if sign in ("==", "!="):
        return equal(left, right) == (sign == "==")
    what = kind(left)
    return what in _ORDERED and what == kind(right) and bool(_ORDERS[sign](left, right))


def within(left: Any, right: Any) -> bool:
    """Return `left in right`, which is `contains(right, left)`."""
    return _holds("'in'", right, left, whole_position=1)


def contains(whole: Any, part: Any) -> bool:
    """Return True if an array has an item equal to `part`, or a text contains it.

    >>> contains([1, "a"], 1.0), contains("abc", "bc"), contains(MISSING, 1)
    (True, True, False)
    """
    return _holds("contains", whole, part, whole_position=0)


def _holds(what: str, whole: Any, part: Any, *, whole_position: int) -> bool:
    if whole is MISSING or part is MISSING:
        return False
    if kind(whole) == "array":
        return any(equal(item, part) for item in whole)
    if kind(whole) != "text":
        kinds = ("array", "text") if what == "'in'" else ("text", "array")
        raise OperandTypeError(what, kinds, whole_position, kind(whole))
    if kind(part) != "text":
        raise OperandTypeError(what, ("text",), 1 - whole_position, kind(part))
    return part in whole


def compute(sign: str, left: Any, right: Any) -> Any:
    """Return a sum, difference, product, quotient or remainder; missing if an operand is missing.

    >>> compute("+", 2**63 - 1, 1), compute("%", -7, 3), compute("+", None, MISSING)
    (9.223372036854776e+18, 2, MISSING)
    """
    if left is MISSING or right is MISSING:
        return MISSING
    for position, value in enumerate((left, right)):
        if kind(value) != "number":
            raise OperandTypeError(f"'{sign}'", ("number",), position, kind(value))
    return within_64_bits(_COMPUTED[sign](left, right))


def negative(value: Any) -> Any:
    """Negate a number."""
    if value is MISSING:
        return MISSING
    if kind(value) != "number":
        raise OperandTypeError("'-'", ("number",), 0, kind(value))
    return within_64_bits(-value)


def truth(what: str, value: Any) -> bool:
    """Return the value; raise an error unless it is a boolean."""
    if not isinstance(value, bool):
        raise OperandTypeError(what, ("boolean",), 0, kind(value))
    return value


def exists(value: Any) -> bool:
    """Return True if there is a value; null is one."""
    return value is not MISSING


def length(value: Any) -> Any:
    """Return the number of characters, items or fields."""
    if value is MISSING:
        return MISSING
    if kind(value) not in ("text", "array", "object"):
        raise OperandTypeError("len", ("text", "array", "object"), 0, kind(value))
    return len(value)


def lower(value: Any) -> Any:
    """Convert text to lower case."""
    return _letters("lower", str.lower, value)


def upper(value: Any) -> Any:
    """Convert text to upper case."""
    return _letters("upper", str.upper, value)


def _letters(what: str, change: Callable[[str], str], value: Any) -> Any:
    if value is MISSING:
        return MISSING
    if not isinstance(value, str):
        raise OperandTypeError(what, ("text",), 0, kind(value))
    return change(value)


def startswith(text: Any, prefix: Any) -> bool:
    """Return True if a text starts with another."""
    return _edge("startswith", str.startswith, text, prefix)


def endswith(text: Any, suffix: Any) -> bool:
    """Return True if a text ends with another."""
    return _edge("endswith", str.endswith, text, suffix)


def _edge(what: str, test: Callable[[str, str], bool], text: Any, part: Any) -> bool:
    if text is MISSING or part is MISSING:
        return False
    for position, value in enumerate((text, part)):
        if not isinstance(value, str):
            raise OperandTypeError(what, ("text",), position, kind(value))
    return test(text, part)


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "exists": exists,
    "len": length,
    "lower": lower,
    "upper": upper,
    "startswith": startswith,
    "endswith": endswith,
    "contains": contains,
}
