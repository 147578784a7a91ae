"""Validation of parts of a document against a JSON Schema declared in code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from flowdsl.errors import did_you_mean
from flowdsl.production.nodes import Item
from flowdsl.text import short_repr

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
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
Refuse = Callable[..., None]
"""Takes the part, what is wrong with it, and what an error has besides."""


def check_shape(
    item: Item,
    declared: Mapping[str, Any],
    what: str,
    refuse: Refuse,
    *,
    parts: bool = True,
    null_says: Collection[str] = (),
) -> None:
    """Report what a JSON Schema does not allow, for the keywords used in our declarations.

    `what` names the part; what is in it is named `what: key`, or with `parts=False` by its key alone. Null
    stands for what is not given, except under the keys of `null_says`.
    """
    value = item.value
    if "enum" in declared:
        if value not in declared["enum"]:
            hint = did_you_mean(value, declared["enum"]) if isinstance(value, str) else None
            shown = repr(value) if not isinstance(value, (dict, list)) else item.kind
            refuse(
                item, f"{what} {shown} is not known", allowed=", ".join(map(str, declared["enum"])), hint=hint
            )
        return
    types = declared.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        such = f", such as {json.dumps(declared['examples'][0])}" if declared.get("examples") else ""
        refuse(item, f"{what} is {item.kind}", allowed=" or ".join(_WORDS[name] for name in types) + such)
    elif isinstance(value, str):
        if len(value) < declared.get("minLength", 0) or not re.search(declared.get("pattern", ""), value):
            such = ", ".join(map(str, declared["examples"]))
            refuse(item, f"{what} is {short_repr(value)}", allowed=f"text such as {such}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < declared.get("minimum", value):
            refuse(item, f"{what} is {value}", allowed=f"at least {declared['minimum']}")
        if value > declared.get("maximum", value):
            refuse(item, f"{what} is {value}", allowed=f"at most {declared['maximum']}")
    elif isinstance(value, list) and "items" in declared:
        if len(value) < declared.get("minItems", 0):
            refuse(item, f"{what} is an empty list", allowed="one or more, or leave it out")
        for one in value:
            check_shape(one, declared["items"], _one_of(what), refuse, null_says=null_says)
    elif isinstance(value, dict):
        _check_mapping(item, declared, what, refuse, parts, null_says)


def _check_mapping(
    item: Item,
    declared: Mapping[str, Any],
    what: str,
    refuse: Refuse,
    parts: bool,
    null_says: Collection[str],
) -> None:
    known, others = declared.get("properties", {}), declared.get("additionalProperties")
    for key, value in item.value.items():
        if key in known:
            if value.value is not None or key in null_says:
                named = f"{what}: {key}" if parts else key
                check_shape(value, known[key], named, refuse, null_says=null_says)
        elif others is False:
            refuse(
                item,
                f"{what} has no key {key!r}",
                place=item.keys[key],
                allowed=", ".join(known),
                hint=did_you_mean(key, known),
            )
        elif others:
            check_shape(value, others, f"{what} {key!r}", refuse, null_says=null_says)
    missing = [
        key for key in declared.get("required", ()) if key not in item.value or item.value[key].value is None
    ]
    if missing:
        refuse(item, f"{what} needs {' and '.join(map(repr, missing))}", allowed=", ".join(known))


def _one_of(what: str) -> str:
    """Return `a delivery` for one of `deliveries`."""
    word = what.rpartition(" ")[2]
    single = word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")
    return f"{'an' if single[0] in 'aeiou' else 'a'} {single}"
