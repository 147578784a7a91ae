"""Validation of a step's options against the declaration of its operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flowdsl.errors import FlowError, did_you_mean
from flowdsl.operators.base import Operator
from flowdsl.production.nodes import Item

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


# what is often written without its one key
_WITH_KEY: Final = {
    "filter": "filter: {condition: …}",
    "map": "map: {template: …}",
    "deliver": "deliver: {sink: …}",
}


def check_options(operator: type[Operator], item: Item, problems: list[FlowError]) -> dict[str, Any] | None:
    """Return the options as plain values without the rejected ones, or None if too little is left.

    Null stands for an option that is not given, unless the option can be null.
    """
    if not isinstance(item.value, dict):
        allowed = ", ".join(option.yaml for option in operator.options().values())
        problems.append(
            FlowError(
                f"the options of {operator.name} are {item.kind}",
                place=item.place,
                allowed=f"a mapping with {allowed}",
                hint=_WITH_KEY.get(operator.name),
            )
        )
        return None
    declared = operator.yaml_options()
    options, complete = {}, True
    for key, value in item.value.items():
        if key not in declared:
            hint = unknown_hint(key, declared)
            problems.append(
                FlowError(
                    f"{operator.name} has no option {key!r}",
                    place=item.keys[key],
                    allowed=", ".join(declared),
                    hint=hint,
                )
            )
        elif value.value is not None or "null" in _types(declared[key].schema):
            wrong = _wrong_type(value, declared[key].schema)
            if wrong is None:
                options[key] = value.plain()
            else:
                problems.append(
                    FlowError(f"{operator.name}: {key} is {value.kind}", place=value.place, allowed=wrong)
                )
                complete = complete and not declared[key].required and key not in operator.shown
    return options if complete else None


def unknown_hint(key: str, known: Iterable[str]) -> str | None:
    """Return what may be meant by an unknown key."""
    if key == "<<":
        return "production does not merge mappings: write the keys out"
    option, colon, _ = key.partition(":")
    if colon and option in known:
        return f"a space follows the colon: {option}: …"
    return did_you_mean(key, known)


def _types(schema: Mapping[str, Any]) -> list[str]:
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def _wrong_type(item: Item, schema: Mapping[str, Any]) -> str | None:
    """Return the type that is expected, or None if the value has it."""
    types = _types(schema)
    if not types or any(
        isinstance(item.value, _TYPES[name]) and (isinstance(item.value, bool) == (name == "boolean"))
        for name in types
    ):
        return None
    such = f", such as {schema['examples'][0]}" if "examples" in schema else ""
    return " or ".join(_WORDS[name] for name in types) + such
