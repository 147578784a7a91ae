"""Calls that Python refuses for their arguments, answered as any other mistake: with what is allowed, and a
hint.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
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
    first = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    by_name = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    known = (*first, *(p.name for p in by_name))
    filled = {*first[: len(given)], *options}
    needed = [p.name for p in parameters if p.default is p.empty and p.name in {*known} - filled]
    other = [option for option in options if option not in known]
    if len(given) > len(first):
        count = {0: "no argument", 1: "one argument"}.get(len(first), f"{len(first)} arguments")
        are = "is" if len(given) == 1 else "are"
        what = f"{name} takes {count} without a name, and here {are} {len(given)}"
        hint = hint or _by_name(name, [p for p in parameters if p.name not in filled], given[len(first)])
    elif other:
        what = f"{name} has no option {other[0]!r}"
        hint = did_you_mean(other[0], known) or hint
    elif needed:
        what = f"{name} needs {' and '.join(map(repr, needed))}"
    else:
        what = f"{name} is given {next(n for n in first[: len(given)] if n in options)!r} twice"
    return error(what, allowed=", ".join(known) or "no arguments", hint=hint)


def _by_name(name: str, free: list[inspect.Parameter], value: object) -> str | None:
    """Return a hint with the argument that a value without a name was probably meant for."""
    # sweep and with_step take the options of steps
    likely = ["window"] if any(p.kind is p.VAR_KEYWORD for p in free) else []
    likely += [p.name for p in free if isinstance(p.default, bool) and isinstance(value, bool)]
    likely += [p.name for p in free if p.kind is p.KEYWORD_ONLY and p.name != "progress"]
    shown = short_repr(value)
    return f"give it by name: {name}(…, {likely[0]}={shown if len(shown) < 40 else '…'})" if likely else None
