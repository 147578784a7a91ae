"""Calls that Python refuses for their arguments, answered as any other mistake: with what is allowed, and a
hint.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from flowdsl.errors import CallError, FlowError, did_you_mean
from flowdsl.text import short_repr

Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)

# what to do where arguments by name are no way out
_WAYS_OUT: Final = {
    "compare": "replay both flows first: compare(replay(before, log), replay(after, log))",
    **dict.fromkeys(("to_yaml", "to_dict", "to_python"), "it returns the export; save(path) writes a file"),
    "picture": "it returns a picture; picture().save(path) writes a file",
    "guess": "read_events and convert take the columns",
}


def answered(function: Function) -> Function:
    """Return a public function that answers calls with too many or too few arguments, or one of another
    name.
    """

    @functools.wraps(function)
    def call(*given: object, **options: object) -> Any:
        try:
            return function(*given, **options)
        except TypeError as error:
            if not is_refused(error):
                raise
            signature = inspect.signature(function)
            method = "self" in signature.parameters
            name = type(given[0]).__name__ if function.__name__ == "__init__" else function.__name__
            raise refusal(name, signature, given[method:], options, CallError, _WAYS_OUT.get(name)) from None

    return cast("Function", call)


def answering(public: Class) -> Class:
    """Return a class whose public methods, also those of its bases, are `answered`."""
    for owner in public.__mro__:
        for name, method in list(vars(owner).items()) if owner.__module__.startswith("flowdsl.") else ():
            own = isinstance(method, FunctionType) and not hasattr(method, "__wrapped__")
            if own and (name == "__init__" or not name.startswith("_")):
                setattr(owner, name, answered(method))
    return public


def is_refused(error: TypeError) -> bool:
    """Return True if Python refused the arguments of the call that is tried here, which then never began."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None


def refusal(
    name: str,
    signature: inspect.Signature,
    given: Sequence[object],
    options: Collection[str],
    error: type[FlowError],
    hint: str | None,
) -> FlowError:
    """Return the error for a call that Python refuses."""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "unknown")]
    first = _names(parameters, (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD))
    known = [*first, *_names(parameters, (inspect.Parameter.KEYWORD_ONLY,))]
    other = next((option for option in options if option not in known), None)
    if len(given) > len(first):
        what = f"{name} takes {_count_text(len(first))}, and here {_here_text(len(given))}"
        filled = {*first, *options}
        hint = hint or _by_name(name, [p for p in parameters if p.name not in filled], given[len(first)])
    elif other is not None:
        what = f"{name} has no option {other!r}"
        hint = did_you_mean(other, known) or hint
    else:
        what = f"{name} {_missing_or_twice(parameters, first[: len(given)], options)}"
    return error(what, allowed=", ".join(known) or "no arguments", hint=hint)


def _names(parameters: Iterable[inspect.Parameter], kinds: Collection[object]) -> list[str]:
    return [p.name for p in parameters if p.kind in kinds]


def _count_text(count: int) -> str:
    shown = {0: "no argument", 1: "one argument"}.get(count, f"{count} arguments")
    return f"{shown} without a name"


def _here_text(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count}"


def _missing_or_twice(parameters: list[inspect.Parameter], given: list[str], options: Collection[str]) -> str:
    filled = {*given, *options}
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind not in optional]
    missing = [repr(p.name) for p in needed if p.name not in filled]
    if missing:
        return f"needs {' and '.join(missing)}"
    return f"is given {next(name for name in given if name in options)!r} twice"


def _by_name(name: str, free: list[inspect.Parameter], value: object) -> str | None:
    """Return a hint with the argument that a value without a name was probably meant for."""
    likely = _likely(free, value)
    shown = short_repr(value)
    return f"give it by name: {name}(…, {likely}={shown if len(shown) < 40 else '…'})" if likely else None


def _likely(free: list[inspect.Parameter], value: object) -> str | None:
    if any(p.kind is p.VAR_KEYWORD for p in free):
        # sweep and with_step take the options of steps
        return "window"
    by_name = [p for p in free if p.kind is p.KEYWORD_ONLY and p.name != "progress"]
    flags = [p for p in by_name if isinstance(value, bool) and isinstance(p.default, bool)]
    return next((p.name for p in (*flags, *by_name)), None)
