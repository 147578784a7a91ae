"""Tera's semantics of JSON values: printing, comparison, arithmetic and member access.

Whole numbers are those of JSON in Rust: 64 bits, signed or unsigned; larger ones are floats.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Final

from flowdsl.expressions.templates.failures import (
    MAX_ITEMS,
    RenderAbortError,
    RenderCrashError,
    RenderError,
    check_characters,
)

Number = int | float

LEAST_I64: Final = -(2**63)
MOST_I64: Final = 2**63 - 1
MOST_U64: Final = 2**64 - 1

_STEPS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_EXACT: Final = Context(prec=800)


class Nothing:
    """Sentinel for a failed attribute or item access."""


NOTHING: Final = Nothing()


def number(value: Any) -> Number | None:
    """Return the value as a JSON number of Rust, or None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and not LEAST_I64 <= value <= MOST_U64:
        return float(value)
    return value


def is_i64(value: Number) -> bool:
    """Return True for an integer that fits 64 bits with sign."""
    return isinstance(value, int) and value <= MOST_I64


def is_u64(value: Number) -> bool:
    """Return True for a non-negative integer."""
    return isinstance(value, int) and value >= 0


def kind(value: Any) -> str:
    """Return the type of a value for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an array" if isinstance(value, list) else "an object"


def truthy(value: Any) -> bool:
    """Return True unless the value is null, false, zero, NaN or empty."""
    if isinstance(value, float):
        return value != 0.0 and not math.isnan(value)
    return bool(value)


def plain_float(value: float) -> str:
    """Print a float like `{{ }}`: the shortest digits, no exponent, no `.0`."""
    text = repr(value)
    if "e" in text:
        return format(_half_up(value, Decimal(text)), "f")
    text = text.removesuffix(".0")
    decimals = len(text) - text.find(".") - 1 if "." in text else 0
    if value.as_integer_ratio()[1].bit_length() == decimals + 2:
        # the exact value has one more digit, a 5: two texts are equally close
        return format(_half_up(value, Decimal(text)), "f")
    return text


def _half_up(value: float, shown: Decimal) -> Decimal:
    """Return the larger of two equally short texts of a float, as Rust does.

    Python, and Rust when it writes JSON, choose the one with an even last digit.
    """
    exponent = shown.as_tuple().exponent
    assert isinstance(exponent, int)
    unit = Decimal((0, (1,), exponent)).copy_sign(shown)
    if _EXACT.multiply(_EXACT.subtract(Decimal(value), shown), Decimal(2)) != unit:
        return shown
    larger = _EXACT.add(shown, unit)
    return larger if float(larger) == value else shown


def json_float(value: float) -> str:
    """Print a float like JSON and `~`: `1.0`, `1e21`, `1e-7`, with an exponent from 1e16 and below 1e-5."""
    if not math.isfinite(value):
        return "null"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    if value == 0:
        text, exponent = "0", 0
    point = len(text) + exponent
    if exponent >= 0 and point <= 16:
        body = text + "0" * exponent + ".0"
    elif 0 < point <= 16:
        body = f"{text[:point]}.{text[point:]}"
    elif -5 < point <= 0:
        body = "0." + "0" * -point + text
    else:
        body = (text if len(text) == 1 else f"{text[0]}.{text[1:]}") + f"e{point - 1}"
    return "-" + body if sign else body


def format_value(value: Any) -> str:
    """Print a value like `{{ }}`."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        out: list[str] = []
        _print_into(value, out, 0)
        return "".join(out)
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    found = number(value)
    return plain_float(found) if isinstance(found, float) else str(found)


def _print_into(value: Any, out: list[str], size: int) -> int:
    """Print a value in pieces; return the number of characters so far."""
    if isinstance(value, list):
        out.append("[")
        size += 2
        for count, item in enumerate(value):
            if count:
                out.append(", ")
                size += 2
            size = _print_into(item, out, size)
        out.append("]")
    else:
        text = value if isinstance(value, str) else "[object]" if isinstance(value, dict) else _scalar(value)
        out.append(text)
        size += len(text)
    check_characters(size)
    return size


def join_values(value: Any) -> str | None:
    """Print a value like `~`, or return None if `~` does not accept it."""
    if isinstance(value, str):
        return value
    found = number(value)
    return None if found is None else json_float(found) if isinstance(found, float) else str(found)


def json_text(value: Any, *, pretty: bool = False) -> str:
    """Return a value as JSON with sorted keys."""
    writer = _JsonWriter()
    writer.write(value, "\n" if pretty else None)
    return "".join(writer.out)


class _JsonWriter:
    """Writer of JSON that ends the rendering when the text is too long."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.size = 0

    def write(self, value: Any, line: str | None) -> None:
        """Write a value; `line` is a line break with the indentation, or None if all is on one line."""
        if isinstance(value, dict):
            colon = ":" if line is None else ": "
            ordered = sorted(value)
            keys = [json.dumps(key, ensure_ascii=False) + colon for key in ordered]
            self._write_items("{", "}", keys, [value[key] for key in ordered], line)
        elif isinstance(value, list):
            self._write_items("[", "]", [""] * len(value), value, line)
        elif isinstance(value, str):
            self.out.append(json.dumps(value, ensure_ascii=False))
        else:
            self.out.append(join_values(value) or ("null" if value is None else _scalar(value)))
        self.size += len(self.out[-1]) + 1
        check_characters(self.size)

    def _write_items(
        self, opening: str, closing: str, keys: list[str], items: list[Any], line: str | None
    ) -> None:
        inner = None if line is None else line + "  "
        self.out.append(opening)
        for count, (key, item) in enumerate(zip(keys, items, strict=True)):
            self.out += [("," if count else "") + (inner or ""), key]
            self.write(item, inner)
        self.out.append((line or "") + closing if items else closing)


def equal(left: Any, right: Any) -> bool:
    """Evaluate `==` between values that are not numbers; inside arrays and objects `1` and `1.0` differ."""
    return _Comparison().same(left, right)


class _Comparison:
    """Comparison of values that ends the rendering when there are too many."""

    def __init__(self) -> None:
        self.left_over = MAX_ITEMS

    def same(self, left: Any, right: Any) -> bool:
        self.left_over -= 1
        if self.left_over < 0:
            raise RenderAbortError(f"the template compares more than {MAX_ITEMS:,} values at once")
        if isinstance(left, (list, dict)):
            return type(left) is type(right) and self._same_items(left, right)
        if isinstance(left, bool) or isinstance(right, bool):
            return left is right
        a, b = number(left), number(right)
        if a is None or b is None:
            return a is b and left == right
        return isinstance(a, float) is isinstance(b, float) and a == b

    def _same_items(self, left: Any, right: Any) -> bool:
        if isinstance(left, dict):
            return left.keys() == right.keys() and all(
                self.same(item, right[key]) for key, item in left.items()
            )
        return len(left) == len(right) and all(self.same(a, b) for a, b in zip(left, right, strict=True))


def contains(container: Any, item: Any) -> bool:
    """Return True if an array has the item; as `==`, but `1` and `1.0` differ."""
    comparison = _Comparison()
    return any(comparison.same(item, other) for other in container)


def calculate(op: str, left: Number, right: Number) -> Number | None:
    """Evaluate one arithmetic operator; None is Tera's NaN."""
    if op == "/":
        return _divide(float(left), float(right))
    both_i64 = is_i64(left) and is_i64(right)
    if not (both_i64 or (is_u64(left) and is_u64(right))):
        return _float_step(op, float(left), float(right))
    a, b = int(left), int(right)
    if op == "%":
        return _remainder(a, b)
    result: int = _STEPS[op](a, b)
    if not (LEAST_I64 <= result <= MOST_I64 if both_i64 else 0 <= result <= MOST_U64):
        raise RenderError(f"{a} {op} {b} is out of bounds for 64-bit integers")
    return result


def _remainder(a: int, b: int) -> int:
    if b == 0:
        raise RenderError(f"{a} % 0 has no result")
    if a == LEAST_I64 and b == -1:
        raise RenderCrashError(f"{a} % {b} is out of bounds")
    # the remainder has the sign of the dividend
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


def _float_step(op: str, left: float, right: float) -> float | None:
    if op == "%":
        return None if right == 0 else _finite(math.fmod(left, right))
    result = _STEPS[op](left, right)
    if op != "*" and not math.isfinite(result):
        raise RenderCrashError(f"{left} {op} {right} is out of bounds for floats")
    return _finite(result)


def _divide(left: float, right: float) -> Number | None:
    result = _finite(left / right) if right else None
    if result is None or result != math.floor(result):
        return result
    # a result without a fraction becomes a 64-bit integer, clamped to their range
    return saturate(result)


def saturate(value: float) -> int:
    """Truncate a float to a 64-bit integer, clamped to its range."""
    return int(max(float(LEAST_I64), value)) if value < 2.0**63 else MOST_I64


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def step(value: Any, name: str) -> Any:
    """Return the member or item of that name, or `NOTHING`."""
    if isinstance(value, dict):
        return value.get(name, NOTHING)
    if isinstance(value, list) and name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
        index = int(name) if len(name) < 20 else len(value)
        return value[index] if index < len(value) else NOTHING
    return NOTHING


def steps(value: Any, names: tuple[str, ...]) -> Any:
    """Return the value after several steps, or `NOTHING`."""
    for name in names:
        value = step(value, name)
        if value is NOTHING:
            return NOTHING
    return value
