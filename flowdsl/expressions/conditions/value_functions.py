"""Functions of conditions over single values: choice, numbers, white space, and buckets for splits."""

from __future__ import annotations

import decimal
import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from flowdsl.expressions.conditions.declaration import ANY, Function, Vectorized
from flowdsl.expressions.conditions.typecheck import EvaluationError, Scalar
from flowdsl.registry import lazy_function
from flowdsl.values.missing import MISSING
from flowdsl.values.white_space import WHITE_SPACE

MAX_DIGITS: Final = 15
# floats from here on are whole
WHOLE: Final = 2.0**52
# enough for the digits of a smaller float, before and after the point
_DECIMALS: Final = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_UP)


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not MISSING and value is not None), MISSING)


def _round(number: float, digits: float) -> float:
    if (problem := _digits_problem(digits)) is not None:
        raise EvaluationError(problem)
    if isinstance(number, int):
        return number
    if abs(number) >= WHOLE:
        # an infinite result is refused by `Function.call`
        return number if digits or abs(number) >= 2.0**63 else int(number)
    rounded = _DECIMALS.quantize(decimal.Decimal(number), decimal.Decimal(1).scaleb(-int(digits)))
    # adding 0.0 turns -0.0 into 0.0
    return float(rounded) + 0.0 if digits else int(rounded)


def _digits_problem(digits: Scalar) -> str | None:
    if isinstance(digits, (int, float)) and 0 <= digits <= MAX_DIGITS and int(digits) == digits:
        return None
    return f"round needs a whole number of digits from 0 to {MAX_DIGITS}, not {digits}"


def _choose(choose: Callable[[Iterable[float]], float], numbers: tuple[float, ...]) -> float:
    # all comparisons with NaN are false, so that it would be skipped or not depending on its position
    return choose(numbers) if all(map(math.isfinite, numbers)) else math.nan


def _bucket(value: Any, count: float, salt: str) -> int:
    if (problem := _count_problem(count)) is not None:
        raise EvaluationError(problem)
    digest = hashlib.sha256(f"{salt}\0{_text_of(value)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % int(count)


def _count_problem(count: Scalar) -> str | None:
    if isinstance(count, (int, float)) and 1 <= count < 2**63 and int(count) == count:
        return None
    return f"bucket needs a whole number of buckets from 1 on, not {count}"


def _text_of(value: str | float) -> str:
    # equal numbers, such as 1 and 1.0, belong to the same bucket
    if isinstance(value, float) and abs(value) < 2.0**63 and value == int(value):
        value = int(value)
    return str(value)


def _column(name: str) -> Vectorized:
    return lazy_function("flowdsl.expressions.conditions.value_columns", name)


VALUE_FUNCTIONS: Final = (
    Function(
        "coalesce",
        "Return the first of the values that is neither missing nor null.",
        'coalesce(owner.nick, owner.name, "someone")',
        {"values": ANY},
        "any",
        _coalesce,
        _column("coalesce"),
        several=True,
        with_missing=True,
    ),
    Function(
        "trim",
        "Remove white space at both ends of a text.",
        "trim(owner.name)",
        {"text": ("text",)},
        "text",
        lambda text: text.strip(WHITE_SPACE),
        _column("trim"),
    ),
    Function(
        "abs",
        "Return a number without its sign.",
        "abs(data.change)",
        {"number": ("number",)},
        "number",
        abs,
        _column("absolute"),
        within=lambda number: (0, None),
    ),
    Function(
        "round",
        "Round a number, halves away from zero: to a whole number, or to some digits behind the point.",
        "round(data.price, digits=2)",
        {"number": ("number",), "digits": ("number",)},
        "number",
        _round,
        _column("round_numbers"),
        defaults={"digits": 0},
        constants={"digits": _digits_problem},
    ),
    Function(
        "min",
        "Return the least of some numbers.",
        "min(data.price, data.offer)",
        {"number": ("number",), "numbers": ("number",)},
        "number",
        lambda *numbers: _choose(min, numbers),
        _column("least"),
        several=True,
    ),
    Function(
        "max",
        "Return the greatest of some numbers.",
        "max(data.price, data.offer)",
        {"number": ("number",), "numbers": ("number",)},
        "number",
        lambda *numbers: _choose(max, numbers),
        _column("greatest"),
        several=True,
    ),
    Function(
        "bucket",
        "Return a number from 0 to n - 1 that is always the same for a text or number, as for A/B tests.",
        'bucket(source_id, 10, salt="spring")',
        {"value": ("text", "number"), "n": ("number",), "salt": ("text",)},
        "number",
        _bucket,
        defaults={"salt": ""},
        constants={"n": _count_problem},
        natural=True,
        within=lambda value, n, salt: (0, None if n is None else n - 1),
    ),
)
