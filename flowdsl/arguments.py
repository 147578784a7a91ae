"""Validation of arguments that many public functions share; each error names the argument and what is
allowed.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard, TypeVar

from flowdsl.errors import DataError, FlowError, did_you_mean
from flowdsl.text import short_repr

T = TypeVar("T")
# what files count numbers in, and the next one as well
MOST: Final = (1 << 63) - 2


def whole_number(
    value: object, name: str, least: int = 0, most: int = MOST, *, error: type[FlowError] = DataError
) -> int:
    """Return a whole number within bounds; NumPy's are taken too.

    >>> whole_number(5, "size", 1)
    5
    """
    number = None
    if not isinstance(value, (bool, type)) and hasattr(value, "__index__"):
        # an array has it, and raises unless it is a single number
        with contextlib.suppress(TypeError):
            number = int(value.__index__())  # pyright: ignore[reportAttributeAccessIssue]
    if number is None or not least <= number <= most:
        bound = "up, of 63 bits" if most == MOST else f"to {most}"
        raise error(f"{name} is {short_repr(value)}", allowed=f"a whole number from {least} {bound}")
    return number


def is_integer(value: object) -> TypeGuard[int]:
    """Return True for an integer, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for an integer or a float, which True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_text_in(value: object, known: Container[str]) -> TypeGuard[str]:
    """Return True for a text that is among the known ones; other values may not even be comparable."""
    return isinstance(value, str) and value in known


def whole_numbers(value: object, name: str) -> list[int]:
    """Return whole numbers from 0 up, as a list.

    >>> whole_numbers((1, 2), "seq_nos")
    [1, 2]
    """
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        raise DataError(f"{name} is {short_repr(value)}", allowed="a list of whole numbers")
    return [whole_number(one, name) for one in value]


# no float holds more
_MOST_SECONDS: Final = sys.float_info.max


def seconds_of(value: object, name: str, *, error: type[FlowError] = DataError) -> float:
    """Return a number of seconds that a lock can wait.

    >>> seconds_of(5, "timeout")
    5.0
    """
    if not is_number(value) or not 0 <= value <= _MOST_SECONDS:
        raise error(f"{name} is {short_repr(value)}", allowed="seconds, from 0 up")
    return float(min(value, threading.TIMEOUT_MAX))


def flag_of(value: object, name: str, *, error: type[FlowError] = DataError) -> bool:
    """Return True or False; NumPy's are taken too, and nothing else is asked whether it is true.

    >>> flag_of(True, "overwrite")
    True
    """
    # conditions need this module, and NumPy is not imported for them
    numpy = sys.modules.get("numpy")
    if not isinstance(value, bool) and (numpy is None or not isinstance(value, numpy.bool_)):
        raise error(f"{name} is {short_repr(value)}", allowed="True or False")
    return bool(value)


def choice_of(value: object, name: str, allowed: Sequence[str], *, error: type[FlowError] = DataError) -> str:
    """Return one of some words.

    >>> choice_of("drop", "duplicates", ("keep", "drop"))
    'drop'
    """
    if not is_text_in(value, allowed):
        raise error(
            f"{name}={short_repr(value, 200)} is not known",
            allowed=" or ".join(map(repr, allowed)),
            hint=did_you_mean(value, allowed),
        )
    return value


def text_of(value: object, name: str, *, error: type[FlowError] = DataError) -> str:
    """Return a text, which may be empty.

    >>> text_of("likes", "kind")
    'likes'
    """
    if not isinstance(value, str):
        raise error(f"{name} is {short_repr(value)}", allowed="text")
    return value


def texts_of(value: object, name: str, *, error: type[FlowError] = DataError) -> list[str]:
    """Return one text or several, as a list.

    >>> texts_of("a", "ids"), texts_of(("a", "b"), "ids")
    (['a'], ['a', 'b'])
    """
    given = [value] if isinstance(value, str) else value
    return all_of(given, name, str, "text, or a list of texts", error=error)


def mapping_of(
    value: object, name: str, allowed: str, *, error: type[FlowError] = DataError
) -> Mapping[Any, Any]:
    """Return a mapping.

    >>> mapping_of({"a": "b"}, "columns", "a mapping from fields to columns")
    {'a': 'b'}
    """
    if not isinstance(value, Mapping):
        raise error(f"{name} is {short_repr(value)}", allowed=allowed)
    return value


def all_of(
    value: object, name: str, kind: type[T], allowed: str, *, error: type[FlowError] = DataError
) -> list[T]:
    """Return objects of one class, as a list.

    >>> all_of((1, 2), "numbers", int, "a list of numbers")
    [1, 2]
    """
    several = list(value) if isinstance(value, Iterable) else None
    if several is None or not all(isinstance(one, kind) for one in several):
        raise error(f"{name} is {short_repr(value)}", allowed=allowed)
    return several


def one_of(value: T, name: str, kind: type, allowed: str, *, error: type[FlowError] = DataError) -> T:
    """Return an object of a class.

    >>> one_of(1, "number", int, "a number")
    1
    """
    if not isinstance(value, kind):
        raise error(f"{name} is {short_repr(value)}", allowed=allowed)
    return value
