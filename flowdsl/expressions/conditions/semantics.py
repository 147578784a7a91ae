"""Results of operators on single JSON values; vectorized evaluation gives the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.expressions.conditions.typecheck import division_by_zero, within_64_bits, wrong_type
from flowdsl.values.missing import MISSING

_ORDERED: Final = ("number", "text", "boolean")
ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
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


def equal(left: Any, right: Any) -> bool:
    """Return True if two values have the same type and value; arrays and objects are compared deeply, missing
    never equals.

    >>> equal(1, 1.0), equal(1, True), equal([1, {"a": None}], [1.0, {"a": None}])
    (True, False, True)
    """
    # an explicit stack: documents may be nested deeper than Python's recursion limit
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
    return what in _ORDERED and what == kind(right) and bool(ORDERS[sign](left, right))


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
