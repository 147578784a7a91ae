"""Declarations of the functions of the condition language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Function:
    """Function of the language; `arguments` lists the accepted types per argument, empty for any type."""

    name: str
    arguments: tuple[tuple[str, ...], ...]
    result: str
    usage: str


FUNCTIONS: Final[dict[str, Function]] = {
    function.name: function
    for function in (
        Function("exists", ((),), "boolean", "exists(owner.email)"),
        Function("len", (("text", "array", "object"),), "number", "len(data.tags)"),
        Function("lower", (("text",),), "text", "lower(owner.name)"),
        Function("upper", (("text",),), "text", "upper(owner.name)"),
        Function("startswith", (("text",), ("text",)), "boolean", 'startswith(owner.name, "a")'),
        Function("endswith", (("text",), ("text",)), "boolean", 'endswith(owner.name, "z")'),
        Function("contains", (("text", "array"), ()), "boolean", 'contains(data.tags, "new")'),
    )
}
