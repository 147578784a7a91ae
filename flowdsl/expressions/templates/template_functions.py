"""Template functions: `range` and `throw`, and those that are rejected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowdsl.expressions.templates.failures import RenderCrashError, RenderError, check_items
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.values import MOST_U64


@dataclass(frozen=True, eq=False)
class TemplateFunction:
    """Declaration of a function: its name, its implementation, and the names of its arguments.

    `refused` is the reason why flowdsl rejects a function of Tera; it is set only for functions that exist in
    templates of production alone, and they have no names of arguments.
    """

    name: str
    run: Callable[[Arguments], Any]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    refused: str | None = None


def _range(args: Arguments) -> list[int]:
    start, step, end = args.size("start", 0), args.size("step_by", 1), args.size("end")
    if start > end:
        raise RenderError(f"`range` starts at {start}, beyond its end {end}")
    if start < end and (step == 0 or start - (start - end) // step * step > MOST_U64):
        raise RenderCrashError("a `range` without end")
    if start < end:
        check_items(math.ceil((end - start) / step))
    return list(range(start, end, step or 1))


def _throw(args: Arguments) -> Any:
    raise RenderError(args.text("message"))


def _absent(args: Arguments) -> Any:
    raise RenderError(f"the function `{args.name}` is not there in a replay")


def _random(args: Arguments) -> Any:
    if args.integer("start", 0) >= args.integer("end", None):
        raise RenderCrashError("a random number out of nothing")
    return _absent(args)


_DIFFERS: Final = "a replay would differ from run to run"
_DECLARED: Final = (
    TemplateFunction("range", _range, ("end",), ("start", "step_by")),
    TemplateFunction("throw", _throw, ("message",)),
    TemplateFunction(
        "get_env", _absent, refused="it would put the environment of the machine into a message"
    ),
    TemplateFunction("get_random", _random, refused=_DIFFERS),
    TemplateFunction("now", _absent, refused=_DIFFERS),
)
FUNCTIONS: Final[Mapping[str, TemplateFunction]] = {
    function.name: function for function in _DECLARED if function.refused is None
}
REFUSED: Final[Mapping[str, str]] = {
    function.name: function.refused for function in _DECLARED if function.refused is not None
}
"""Functions of Tera that flowdsl refuses, and why."""


def call_function(args: Arguments) -> Any:
    """Call a function with these arguments.

    Raises
    ------
    RenderError
        if there is no such function, or it fails
    """
    found = next((function for function in _DECLARED if function.name == args.name), None)
    return _absent(args) if found is None else found.run(args)


CONTEXT_DUMP: Final = "__tera_context"
"""The path by which Tera prints all variables, which flowdsl refuses."""
