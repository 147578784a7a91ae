"""Validation of a step's options against the declaration of its operator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from flowdsl.arguments import is_integer
from flowdsl.errors import FlowError, did_you_mean
from flowdsl.operators.base import Operator
from flowdsl.operators.options import Option
from flowdsl.production.nodes import Item
from flowdsl.production.schema_validation import declared_types, expected_type

_LENGTH: Final = re.compile(r"[0-9]+[smhd]")
# options that are often written as their only value, without its key
_WITH_KEY: Final = {
    "filter": "filter: {condition: …}",
    "map": "map: {template: …}",
    "deliver": "deliver: {sink: …}",
    "wait": "wait: {duration: …}",
}


def check_options(operator: type[Operator], item: Item, problems: list[FlowError]) -> dict[str, Any] | None:
    """Return the options as plain values without the rejected ones, or None if too little is left.

    Null stands for an option that is not given, unless the option can be null.
    """
    if not isinstance(item.value, dict):
        problems.append(_not_a_mapping(operator, item))
        return None
    declared = operator.yaml_options()
    options, lost = {}, False
    for key, value in item.value.items():
        if not _is_given(value, declared.get(key)):
            continue
        problem = _problem(operator, key, item)
        if problem is None:
            options[key] = value.plain()
        else:
            problems.append(problem)
            lost = lost or _is_needed(operator, key)
    return None if lost else options


def _not_a_mapping(operator: type[Operator], item: Item) -> FlowError:
    allowed = ", ".join(option.yaml for option in operator.options().values())
    return FlowError(
        f"the options of {operator.name} are {item.kind}",
        place=item.place,
        allowed=f"a mapping with {allowed}",
        hint=_WITH_KEY.get(operator.name),
    )


def _is_needed(operator: type[Operator], key: str) -> bool:
    declared = operator.yaml_options()
    return key in operator.shown or (key in declared and declared[key].required)


def _is_given(value: Item, option: Option | None) -> bool:
    return option is None or value.value is not None or "null" in declared_types(option.schema)


def _problem(operator: type[Operator], key: str, item: Item) -> FlowError | None:
    declared, value = operator.yaml_options(), item.value[key]
    if key not in declared:
        return FlowError(
            f"{operator.name} has no option {key!r}",
            place=item.keys[key],
            allowed=", ".join(declared),
            hint=missing_space_hint(key, declared)
            or operator.guess_option(key, dict(zip(declared, declared, strict=True)))
            or unknown_hint(key, declared),
        )
    schema = declared[key].schema
    expected = expected_type(value, schema)
    if expected is None:
        return None
    such = f", such as {schema['examples'][0]}" if "examples" in schema else ""
    return FlowError(
        f"{operator.name}: {key} is {value.kind}",
        place=value.place,
        allowed=expected + such,
        hint=_guess_value(value.value, schema),
    )


def _guess_value(value: object, schema: Mapping[str, Any]) -> str | None:
    """Return a hint for a value of a wrong type, such as a number in quotes or without its unit."""
    types, number = declared_types(schema), is_integer(value)
    if isinstance(value, str) and "integer" in types and value.strip().isascii() and value.strip().isdigit():
        return f"write {value.strip()} without quotes"
    if number and types == ["string"] and any(map(_LENGTH.fullmatch, schema.get("examples", ()))):
        return f"a bare number has no unit: {value}s is seconds"
    return None


def unknown_hint(key: str, known: Iterable[str]) -> str | None:
    """Return a hint for an unknown key."""
    if key == "<<":
        return "production does not merge mappings: write the keys out"
    return missing_space_hint(key, known) or did_you_mean(key, known)


def missing_space_hint(key: str, known: Iterable[str]) -> str | None:
    """Return a hint for an unknown key that consists of a known one and its value."""
    option, colon, _ = key.partition(":")
    return f"a space follows the colon: {option}: …" if colon and option in known else None
