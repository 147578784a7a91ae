"""Tera's tests, such as `is defined` and `is odd`, on Python values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowdsl.expressions.templates import rust_text
from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.filters.arguments import float_of
from flowdsl.expressions.templates.values import NOTHING, contains, kind, number
from flowdsl.registry import lazy_function

if TYPE_CHECKING:
    from flowdsl.values.columns import Column
    from flowdsl.values.json_types import Mask


@dataclass(frozen=True, eq=False)
class TeraTest:
    """Declaration of a test: `{% if x is name(…) %}`.

    Parameters
    ----------
    holds
        the function from a value and the arguments to true or false; None for tests that a value exists
    arguments
        the number of arguments
    types
        for a test of types, those for which it is true, as names of `Tag`
    column
        the form for columns, from a column and the arguments to a mask; it returns None for a column that
        `holds` has to test
    """

    name: str
    holds: Callable[[Any, list[Any]], bool] | None
    arguments: int = 0
    types: tuple[str, ...] = ()
    column: Callable[[Column, list[Any]], Mask | None] | None = None


def holds(name: str, value: Any, args: list[Any], text: str) -> bool:
    """Evaluate a test of a value, which is `NOTHING` if the path `text` leads nowhere."""
    declared = TESTS.get(name)
    if declared is None:
        raise RenderError(f"unknown test `{name}`")
    if name == "containing" and not args and isinstance(value, list):
        raise RenderCrashError("the test `containing` is without its argument")
    if len(args) != declared.arguments:
        raise RenderError(f"the test `{name}` got {len(args)} arguments, not {declared.arguments}")
    if declared.holds is None:
        return (value is NOTHING) == (name == "undefined")
    if value is NOTHING:
        raise RenderError(f"variable `{text}` is missing, and `is {name}` needs it")
    return declared.holds(value, args)


def _odd(value: Any, args: list[Any]) -> bool:
    return math.fmod(float_of("is odd", value), 2.0) != 0.0


def _even(value: Any, args: list[Any]) -> bool:
    return math.fmod(float_of("is even", value), 2.0) == 0.0


def _divisible_by(value: Any, args: list[Any]) -> bool:
    found, by = (float_of("is divisibleby", given) for given in (value, args[0]))
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


def _column(name: str) -> Callable[[Column, list[Any]], Mask | None]:
    return lazy_function("flowdsl.expressions.templates.vectorized.predicates", name)


TESTS: Final[Mapping[str, TeraTest]] = {
    test.name: test
    for test in (
        TeraTest("containing", _containing, 1, column=_column("containing")),
        TeraTest("defined", None),
        TeraTest("divisibleby", _divisible_by, 1),
        TeraTest("ending_with", _ending_with, 1, column=_column("ending_with")),
        TeraTest("even", _even, column=_column("even")),
        TeraTest("iterable", lambda value, args: isinstance(value, (list, dict)), types=("ARRAY", "OBJECT")),
        TeraTest("matching", _matching, 1),
        TeraTest("number", lambda value, args: number(value) is not None, types=("INT", "FLOAT")),
        TeraTest("object", lambda value, args: isinstance(value, dict), types=("OBJECT",)),
        TeraTest("odd", _odd, column=_column("odd")),
        TeraTest("starting_with", _starting_with, 1, column=_column("starting_with")),
        TeraTest("string", lambda value, args: isinstance(value, str), types=("TEXT",)),
        TeraTest("undefined", None),
    )
}
"""Tera's tests by name."""
