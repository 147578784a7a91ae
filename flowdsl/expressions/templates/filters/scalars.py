"""Filters of numbers, and of values of any type."""

from __future__ import annotations

import math
import re
from typing import Any

from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.filters.arguments import Arguments, float_of
from flowdsl.expressions.templates.filters.declaration import column_form, value_filter
from flowdsl.expressions.templates.values import (
    LEAST_I64,
    MOST_I64,
    MOST_U64,
    format_value,
    json_text,
    kind,
    number,
    saturate,
)
from flowdsl.values.white_space import WHITE_SPACE

_FLOAT = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
_PREFIXES = {2: "0b", 8: "0o", 16: "0x"}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


@value_filter("abs", result="number", column=column_form("absolute"))
def absolute(value: Any, args: Arguments) -> int | float:
    """Return the absolute value."""
    found = number(value)
    if found is None:
        raise RenderError(f"`abs` takes a number, not {kind(value)}")
    # the least 64-bit integer has no positive counterpart, and stays as it is
    return found if isinstance(found, int) and found == LEAST_I64 else abs(found)


@value_filter("pluralize", optional=("singular", "plural"))
def pluralize(value: Any, args: Arguments) -> str:
    """Return `singular` for 1 and -1, else `plural`."""
    found = float_of("pluralize", value)
    plural, singular = args.text("plural", "s"), args.text("singular", "")
    return plural if abs(abs(found) - 1.0) > 2.220446049250313e-16 else singular


@value_filter("round", optional=("method", "precision"), result="number", column=column_form("round_column"))
def round_value(value: Any, args: Arguments) -> float | None:
    """Round to `precision` places by `method`: `common` (halves away from zero), `ceil` or `floor`."""
    found = float_of("round", value)
    method, precision = args.text("method", "common"), args.whole("precision", 0, -(2**31), 2**31 - 1)
    multiplier = power_of_ten(precision)
    scaled = multiplier * found
    if method not in ("common", "ceil", "floor"):
        raise RenderError(f"`round` knows the methods common, ceil and floor, not {method!r}")
    if math.isfinite(scaled):
        scaled = _half_away(scaled) if method == "common" else _round_to_side(scaled, method)
    result = scaled / multiplier if multiplier else math.nan
    return result if math.isfinite(result) else None


def _half_away(value: float) -> float:
    whole = float(math.trunc(value))
    whole = whole + math.copysign(1.0, value) if abs(value - whole) >= 0.5 else whole
    return math.copysign(whole, value)


def _round_to_side(value: float, method: str) -> float:
    # the sign of zero is kept, as in Rust
    return math.copysign(float(math.ceil(value) if method == "ceil" else math.floor(value)), value)


def power_of_ten(exponent: int) -> float:
    """Return a power of ten, multiplied in the order of Rust's `powi`."""
    result, base, left = 1.0, 10.0, abs(exponent)
    while True:
        if left & 1:
            result *= base
        left >>= 1
        if not left:
            break
        base *= base
    return 1.0 / result if exponent < 0 else result


@value_filter("filesizeformat", optional=("binary",))
def filesizeformat(value: Any, args: Arguments) -> str:
    """Format a number of bytes in units of 1,024, with two places."""
    found = number(value)
    if not isinstance(found, int) or not 0 <= found <= MOST_U64:
        raise RenderError(
            f"`filesizeformat` takes a whole number from 0 up, not {format_value(value) or kind(value)}"
        )
    units = _BINARY_UNITS if args.flag("binary") else _UNITS
    size, unit = float(found), 0
    while size >= 1024 and unit < len(units) - 1:
        size /= 1024
        unit += 1
    if size == int(size):
        return f"{int(size)} {units[unit]}"
    return f"{size:.2f} {units[unit]}"


@value_filter("int", optional=("default", "base"), result="number")
def to_int(value: Any, args: Arguments) -> int:
    """Convert to an integer: text in a `base`, truncated fractions, or `default`."""
    default, base = args.integer("default", 0), args.whole("base", 10, 0, 2**32 - 1)
    if isinstance(value, str):
        return _int_of_text(value.strip(WHITE_SPACE), default, base)
    found = number(value)
    if found is None:
        raise RenderError(f"`int` takes text or a number, not {kind(value)}")
    return saturate(float(found))


def _check_base(base: int) -> None:
    if not 2 <= base <= 36:
        raise RenderCrashError(f"`int` knows bases from 2 to 36, not {base}")


def _int_of_text(text: str, default: int, base: int) -> int:
    prefix = _PREFIXES.get(base)
    if prefix:
        text = re.sub(f"^(?:{prefix})+", "", text)
    _check_base(base)
    found = _whole(text, base)
    if found is not None:
        return found
    return saturate(float(text)) if "." in text and _FLOAT.fullmatch(text) else default


def _whole(text: str, base: int) -> int | None:
    """Return the 64-bit integer that a text is, or None."""
    digits = text.removeprefix("-" if text.startswith("-") else "+")
    if not digits or not digits.isascii() or not set(digits.lower()) <= set(_DIGITS[:base]):
        return None
    # without leading zeros, a 64-bit integer has at most 64 digits in any base
    found = int(digits.lstrip("0")[:65] or "0", base) * (-1 if text[0] == "-" else 1)
    return found if LEAST_I64 <= found <= MOST_I64 else None


@value_filter("float", optional=("default",), result="number")
def to_float(value: Any, args: Arguments) -> float | None:
    """Convert to a float, or return `default` for text that is not a number."""
    default = args.float("default", 0.0)
    if isinstance(value, str):
        text = value.strip(WHITE_SPACE)
        found = float(text) if _FLOAT.fullmatch(text) else default
        return found if math.isfinite(found) else None
    given = number(value)
    if given is None:
        raise RenderError(f"`float` takes text or a number, not {kind(value)}")
    return float(given)


@value_filter("length", result="number", column=column_form("length"))
def length(value: Any, args: Arguments) -> int:
    """Return the number of characters, items or members."""
    if isinstance(value, (str, list, dict)):
        return len(value)
    raise RenderError(f"`length` takes text, an array or an object, not {kind(value)}")


@value_filter("reverse", result=None)
def reverse(value: Any, args: Arguments) -> Any:
    """Reverse items or characters."""
    if isinstance(value, (str, list)):
        return value[::-1]
    raise RenderError(f"`reverse` takes text or an array, not {kind(value)}")


@value_filter("json_encode", optional=("pretty",))
def json_encode(value: Any, args: Arguments) -> str:
    """Encode as JSON, on several lines with `pretty=true`."""
    return json_text(value, pretty=args.any("pretty") is True)


@value_filter("as_str", column=column_form("as_str"))
def as_str(value: Any, args: Arguments) -> str:
    """Convert to the text that is printed."""
    return format_value(value)
