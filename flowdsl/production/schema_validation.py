"""Validation of parts of a document against a JSON Schema declared in code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowdsl.arguments import is_integer, is_number
from flowdsl.errors import FlowError, did_you_mean
from flowdsl.production.nodes import Item
from flowdsl.text import short_repr

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": is_integer,
    "number": is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_WORDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def expected_type(item: Item, declared: Mapping[str, Any]) -> str | None:
    """Return the type that a JSON Schema expects in words, or None if the value has it."""
    types = declared_types(declared)
    if not types or any(_TYPES[name](item.value) for name in types):
        return None
    return " or ".join(_WORDS[name] for name in types)


def declared_types(declared: Mapping[str, Any]) -> list[str]:
    """Return the types that a JSON Schema allows; none where it allows all."""
    named = declared.get("type", [])
    return [named] if isinstance(named, str) else list(named)


@dataclass(frozen=True)
class ShapeCheck:
    """Check of parts of a document, which adds what is wrong to `problems`.

    Null stands for what is not given, except under the keys of `null_says`.
    """

    problems: list[FlowError]
    null_says: Collection[str] = ()

    def refuse(self, item: Item, what: str, **more: Any) -> None:
        """Add a problem of a part."""
        self.problems.append(FlowError(what, **{"place": item.place, **more}))

    def check(self, item: Item, declared: Mapping[str, Any], what: str, *, parts: bool = True) -> None:
        """Report what a JSON Schema does not allow, for the keywords used in our declarations.

        `what` names the part; what is in it is named `what: key`, or with `parts=False` by its key alone.
        """
        expected = expected_type(item, declared)
        if "enum" in declared:
            self._choice(item, declared["enum"], what)
        elif expected is not None:
            examples = declared.get("examples")
            such = f", such as {json.dumps(examples[0])}" if examples else ""
            self.refuse(item, f"{what} is {item.kind}", allowed=expected + such)
        else:
            checks = {str: self._text, int: self._number, float: self._number, list: self._list}
            if isinstance(item.value, dict):
                self._mapping(item, declared, what, parts)
            elif type(item.value) in checks:
                checks[type(item.value)](item, declared, what)

    def _choice(self, item: Item, allowed: Collection[Any], what: str) -> None:
        if item.value not in allowed:
            hint = did_you_mean(item.value, allowed) if isinstance(item.value, str) else None
            self.refuse(
                item, f"{what} {item.shown} is not known", allowed=", ".join(map(str, allowed)), hint=hint
            )

    def _text(self, item: Item, declared: Mapping[str, Any], what: str) -> None:
        long_enough = len(item.value) >= declared.get("minLength", 0)
        if not long_enough or not re.search(declared.get("pattern", ""), item.value):
            such = ", ".join(map(str, declared["examples"]))
            self.refuse(item, f"{what} is {short_repr(item.value)}", allowed=f"text such as {such}")

    def _number(self, item: Item, declared: Mapping[str, Any], what: str) -> None:
        if item.value < declared.get("minimum", item.value):
            self.refuse(item, f"{what} is {item.value}", allowed=f"at least {declared['minimum']}")
        if item.value > declared.get("maximum", item.value):
            self.refuse(item, f"{what} is {item.value}", allowed=f"at most {declared['maximum']}")

    def _list(self, item: Item, declared: Mapping[str, Any], what: str) -> None:
        if "items" not in declared:
            return
        if len(item.value) < declared.get("minItems", 0):
            self.refuse(item, f"{what} is an empty list", allowed="one or more, or leave it out")
        for one in item.value:
            self.check(one, declared["items"], _one_of(what))

    def _mapping(self, item: Item, declared: Mapping[str, Any], what: str, parts: bool) -> None:
        known, others = declared.get("properties", {}), declared.get("additionalProperties")
        for key, value in item.value.items():
            if key in known:
                if value.value is not None or key in self.null_says:
                    self.check(value, known[key], f"{what}: {key}" if parts else key)
            elif others:
                self.check(value, others, f"{what} {key!r}")
            elif others is False:
                self.refuse(
                    item,
                    f"{what} has no key {key!r}",
                    place=item.keys[key],
                    allowed=", ".join(known),
                    hint=did_you_mean(key, known),
                )
        missing = item.lacking(declared.get("required", ()))
        if missing:
            self.refuse(item, f"{what} needs {' and '.join(map(repr, missing))}", allowed=", ".join(known))


def _one_of(what: str) -> str:
    """Return `a delivery` for one of `deliveries`."""
    word = what.rpartition(" ")[2]
    single = word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")
    return f"{'an' if single[0] in 'aeiou' else 'a'} {single}"
