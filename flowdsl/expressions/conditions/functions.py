"""The functions of the language, as data: what each takes, gives, and how it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Function:
    """A function by name; `arguments` holds for each argument the types it accepts, empty for any."""

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
