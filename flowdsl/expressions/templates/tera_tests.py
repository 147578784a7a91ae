"""Tera's tests: `is defined`, `is odd` and the others, on Python values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.expressions.templates import rust_text
from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.signatures import TESTS
from flowdsl.expressions.templates.values import NOTHING, contains, kind, number


def holds(name: str, value: Any, args: list[Any], text: str) -> bool:
    """Whether the test `name` holds for a value, which is `NOTHING` where the path `text` leads nowhere."""
    if name not in TESTS:
        raise RenderError(f"unknown test `{name}`")
    if name == "containing" and not args and isinstance(value, list):
        raise RenderCrashError("the test `containing` is without its argument")
    if len(args) != TESTS[name]:
        raise RenderError(f"the test `{name}` got {len(args)} arguments, not {TESTS[name]}")
    if name == "defined":
        return value is not NOTHING
    if name == "undefined":
        return value is NOTHING
    if value is NOTHING:
        raise RenderError(f"variable `{text}` is missing, and `is {name}` needs it")
    return PREDICATES[name](value, args)


def _number(name: str, value: Any) -> float:
    found = number(value)
    if found is None:
        raise RenderError(f"`is {name}` takes a number, not {kind(value)}")
    return float(found)


def _odd(value: Any, args: list[Any]) -> bool:
    return math.fmod(_number("odd", value), 2.0) != 0.0


def _even(value: Any, args: list[Any]) -> bool:
    return math.fmod(_number("even", value), 2.0) == 0.0


def _divisible_by(value: Any, args: list[Any]) -> bool:
    found, by = _number("divisibleby", value), _number("divisibleby", args[0])
    return by != 0.0 and math.fmod(found, by) == 0.0


def _two_texts(name: str, value: Any, args: list[Any]) -> tuple[str, str]:
    if not isinstance(value, str):
        raise RenderError(f"`is {name}` takes text, not {kind(value)}")
    return value, _needle(name, args)


def _needle(name: str, args: list[Any]) -> str:
    if not isinstance(args[0], str):
        raise RenderError(f"the argument of `is {name}` is {kind(args[0])}, not text")
    return args[0]


def _starting_with(value: Any, args: list[Any]) -> bool:
    text, start = _two_texts("starting_with", value, args)
    return text.startswith(start)


def _ending_with(value: Any, args: list[Any]) -> bool:
    text, end = _two_texts("ending_with", value, args)
    return text.endswith(end)


def _containing(value: Any, args: list[Any]) -> bool:
    if isinstance(value, list):
        return contains(value, args[0])
    if isinstance(value, (str, dict)):
        return _needle("containing", args) in value
    raise RenderError(f"`is containing` takes text, an array or an object, not {kind(value)}")


def _matching(value: Any, args: list[Any]) -> bool:
    text, pattern = _two_texts("matching", value, args)
    found = rust_text.matches(text, pattern)
    if found is None:
        raise RenderError(f"`is matching` cannot read the pattern {pattern!r}")
    return found


PREDICATES: Final[Mapping[str, Callable[[Any, list[Any]], bool]]] = {
    "containing": _containing,
    "divisibleby": _divisible_by,
    "ending_with": _ending_with,
    "even": _even,
    "iterable": lambda value, args: isinstance(value, (list, dict)),
    "matching": _matching,
    "number": lambda value, args: number(value) is not None,
    "object": lambda value, args: isinstance(value, dict),
    "odd": _odd,
    "starting_with": _starting_with,
    "string": lambda value, args: isinstance(value, str),
}
"""The tests of values that are there."""
