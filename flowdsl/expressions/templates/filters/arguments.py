"""Arguments of filters, accepted with Tera's exact types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.values import LEAST_I64, MOST_I64, MOST_U64, kind, number


class Arguments:
    """Arguments of one call of a filter or function."""

    __slots__ = ("name", "values")

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self.values = values

    def __contains__(self, argument: str) -> bool:
        return argument in self.values

    def any(self, argument: str) -> Any:
        """Return an argument of any type, or null if it was not given."""
        return self.values.get(argument)

    def text(self, argument: str, default: str | None = None) -> str:
        """Return an argument that must be text."""
        value = self._get(argument, default)
        if not isinstance(value, str):
            self._wrong(argument, "text", value)
        return value

    def flag(self, argument: str) -> bool:
        """Return an argument that must be a boolean; False if it is not given."""
        value = self._get(argument, False)
        if not isinstance(value, bool):
            self._wrong(argument, "a boolean", value)
        return value

    def whole(self, argument: str, default: int | None, least: int, most: int) -> int:
        """Return an argument that must be an integer within bounds."""
        value = self._get(argument, default)
        found = number(value)
        if isinstance(found, int) and least <= found <= most:
            return found
        self._wrong(argument, f"a whole number from {least} to {most}", value)
        return None

    def size(self, argument: str, default: int | None = None) -> int:
        """Return an argument that must be a non-negative integer."""
        return self.whole(argument, default, 0, MOST_U64)

    def integer(self, argument: str, default: int | None) -> int:
        """Return an argument that must be a 64-bit integer."""
        return self.whole(argument, default, LEAST_I64, MOST_I64)

    def float(self, argument: str, default: float | None) -> float:
        """Return an argument that must be a number."""
        value = self._get(argument, default)
        found = number(value)
        if found is None:
            self._wrong(argument, "a number", value)
        return float(found)

    def _get(self, argument: str, default: Any) -> Any:
        if argument in self.values:
            return self.values[argument]
        if default is None:
            raise RenderError(f"`{self.name}` needs the argument `{argument}`")
        return default

    def _wrong(self, argument: str, wanted: str, value: Any) -> NoReturn:
        raise RenderError(f"the argument `{argument}` of `{self.name}` is {kind(value)}, not {wanted}")


def text_of(name: str, value: Any) -> str:
    """Return the value of a filter that takes text."""
    if isinstance(value, str):
        return value
    raise RenderError(f"`{name}` takes text, not {kind(value)}")


def list_of(name: str, value: Any) -> list[Any]:
    """Return the value of a filter that takes an array."""
    if isinstance(value, list):
        return value
    raise RenderError(f"`{name}` takes an array, not {kind(value)}")


def float_of(name: str, value: Any) -> float:
    """Return the value of a filter or test that takes a number."""
    found = number(value)
    if found is None:
        raise RenderError(f"`{name}` takes a number, not {kind(value)}")
    return float(found)
