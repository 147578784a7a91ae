"""Shapes that this-rs expects: mappings, lists, text and numbers as its YAML reader takes them.

It asks for a type and takes what is written for it: a scalar without quotes is text where text is wanted,
nothing at all is an empty mapping or list, and unknown keys are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from flowdsl.errors import FlowError
from flowdsl.production.nodes import ENDLESS, Item
from flowdsl.production.scalars import NULLS, TAG, production_count
from flowdsl.text import short_repr
from flowdsl.values.paths import Path

T = TypeVar("T")
_U32: Final = 2**32


class ShapeError(Exception):
    """Raised for a part with a wrong shape, after its problem was added."""


class Shapes:
    """Converts items to what they should be and collects their problems."""

    def __init__(self, problems: list[FlowError]) -> None:
        self.problems = problems

    def _refused(self, item: Item, what: str, allowed: str | None = None) -> ShapeError:
        self.problems.append(FlowError(what, place=item.place, allowed=allowed))
        return ShapeError()

    def _try(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ShapeError:
            return None

    def _each(self, item: Item | None, what: str, read: Callable[[Item], T]) -> list[T]:
        """Convert every item of a list; all problems are noted."""
        if item is None or is_empty(item):
            return []
        if not isinstance(item.value, list):
            self._refused(item, f"{what} is {item.kind}", "a list")
            return []
        found = []
        for one in item.value:
            before = len(self.problems)
            read_one = self._try(lambda one=one: read(one))  # type: ignore[misc]
            if len(self.problems) == before:
                found.append(read_one)
        return found  # type: ignore[return-value]

    def _struct(
        self, item: Item, what: str, fields: Sequence[str], required: Sequence[str] = ()
    ) -> dict[str, Item]:
        """Return the known keys of a mapping; unknown keys are ignored, known ones must be unique."""
        value = {} if is_empty(item) else item.value
        if not isinstance(value, dict):
            raise self._refused(item, f"{what} is {item.kind}", f"a mapping with {', '.join(fields)}")
        self._keys_are_text(item)
        twice = [_stands_twice(item, key) for key in item.repeated if key in fields]
        self.problems += twice
        missing = [repr(key) for key in required if key not in value]
        if missing:
            raise self._refused(item, f"{what} needs {' and '.join(missing)}", ", ".join(fields))
        if twice:
            raise ShapeError
        return {key: one for key, one in value.items() if key in fields}

    def _keys_are_text(self, item: Item) -> None:
        if item.strange is not None:
            self.problems.append(
                FlowError("a key is a list or a mapping", place=item.strange, allowed="text")
            )
            raise ShapeError

    def _there(self, item: Item | None) -> Item | None:
        """Return an optional item; None for nothing and for unquoted null."""
        if item is None or item.style or isinstance(item.value, (dict, list)):
            return item
        written = str(item.value) if item.written is None else item.written
        if item.tag == f"{TAG}null":
            if written not in NULLS:
                raise self._refused(item, f"{short_repr(written)} is not null")
            return None
        return item if item.tag is not None or (written and written not in NULLS) else None

    def _text(self, item: Item | None, default: str = "") -> str:
        """Return text; a scalar of another type gives its text as written."""
        if item is None:
            return default
        if isinstance(item.value, (dict, list)) or item.value is ENDLESS:
            raise self._refused(item, f"there is {item.kind}", "text")
        return str(item.value) if item.written is None else item.written

    def _optional(self, item: Item | None) -> str | None:
        there = self._there(item)
        return None if there is None else self._text(there)

    def _path(self, item: Item) -> Path:
        return tuple(self._text(item).split("."))

    def _count(self, item: Item) -> int:
        # in a block of lines it is allowed where a tag says that it is one
        plain = not item.style or (item.style == "|" and item.tag == f"{TAG}int")
        number = production_count(item.written) if plain and item.written is not None else None
        if number is None or number >= _U32:
            raise self._refused(
                item,
                f"there is {item.kind}: {short_repr(item.value, 40)}",
                "a whole number from 0 to 4294967295",
            )
        return number

    def _choice(self, item: Item, what: str, allowed: Sequence[str]) -> str:
        tag = item.tag if item.tag is not None and item.tag.startswith("!") else None
        # a tag is the choice, and nothing comes after it
        text = self._text(item) if tag is None else tag[1:] or tag
        if text not in allowed:
            raise self._refused(item, f"{what} {short_repr(text)} is not known", ", ".join(allowed))
        if tag is not None and (item.style or item.written is None or item.written not in ("", *NULLS)):
            raise self._refused(item, f"{what}: there is a value after the tag {tag:.60}", "nothing")
        return text

    def _value(self, item: Item) -> Any:
        """Return any JSON value; of duplicate keys the last one counts."""
        if item.odd is not None:
            raise self._refused(item, item.odd)
        self._keys_are_text(item)
        for one in item.overwritten:
            self._value(one)
        if isinstance(item.value, dict):
            return {key: self._value(one) for key, one in item.value.items()}
        if isinstance(item.value, list):
            return [self._value(one) for one in item.value]
        return self._scalar(item)

    def _scalar(self, item: Item) -> Any:
        if type(item.value) is int and not -(2**63) <= item.value < 2**64:
            raise self._refused(
                item, "there is a whole number beyond 64 bits", "at most 18446744073709551615"
            )
        # JSON has no number that is not finite
        return None if isinstance(item.value, float) and not math.isfinite(item.value) else item.value


def _stands_twice(item: Item, key: str) -> FlowError:
    first = f"the first is at {item.keys[key]}"
    return FlowError(f"the key {key!r} is given twice", place=item.repeated[key], hint=first)


def is_empty(item: Item) -> bool:
    """Return True if there is nothing at all, which counts as an empty mapping or list."""
    return item.written == "" and not item.style
