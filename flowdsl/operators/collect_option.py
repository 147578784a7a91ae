"""The type of the option `collect`: names, each with an expression or an aggregate of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flowdsl.errors import BuildError, FlowError
from flowdsl.expressions.aggregates import AGGREGATES, Aggregate, Collected, parse_collected
from flowdsl.expressions.conditions import Expression
from flowdsl.expressions.conditions.graph_calls import GraphCall, graph_calls
from flowdsl.kernels.batch_variable import FIELDS
from flowdsl.operators.options import NAME_SCHEMA, OptionType, text_schema
from flowdsl.operators.scope import ANY, NUMBER, ValueShape, check_name
from flowdsl.text import short_repr
from flowdsl.values.paths import Path

Collect = tuple[tuple[str, Collected], ...]
LIST: Final = ValueShape("a list", scalar=True)
_SHAPES: Final = {"sum": NUMBER, "min": NUMBER, "max": NUMBER, "count": NUMBER, "unique": LIST}
# parts of a line in a form: texts, brackets, and a comma before the next name
_MARKS: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[(\[{]|[)\]}]|,(?=\s*[^\W\d]\w*\s*=[^=])"""
)


def _read(value: Any, what: str) -> Collect:
    if isinstance(value, tuple) and all(map(_is_read, value)):
        return value
    if not isinstance(value, Mapping) or not value:
        raise BuildError(
            f"{what} is {short_repr(value, 200)}",
            allowed="names with expressions: {'names': var.fan.name, 'total': fn.sum(var.data.amount)}",
            hint=_name_paths(value),
        )
    return tuple((_read_name(name, what), _read_one(one, f"{what}: {name}")) for name, one in value.items())


def _is_read(one: object) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], (Expression, Aggregate))


def _name_paths(value: object) -> str | None:
    """Return the mapping that is meant by paths without names."""
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, (list, tuple)) or not paths or not all(isinstance(p, str) for p in paths):
        return None
    names = [re.sub(r"\W+", "_", path).strip("_") for path in paths]
    if not all(name.isidentifier() for name in names):
        return None
    return f"give each a name: {dict(zip(names, paths, strict=True))!r}"


def _read_name(name: object, what: str) -> str:
    if name in FIELDS:
        raise BuildError(f"{what}: every batch has a {name!r} already", hint="choose another name")
    return check_name(name, f"{what}:")


def _read_one(value: object, what: str) -> Collected:
    try:
        return parse_collected(value, what)
    except FlowError as error:
        if not error.what.startswith(what):
            error.what = f"{what}: {error.what}"
        raise


def _paths(collect: Collect) -> frozenset[Path]:
    return frozenset(path for _, one in collect for path in one.paths)


def _asks(collect: Collect) -> frozenset[GraphCall]:
    expressions = (one.expression if isinstance(one, Aggregate) else one for _, one in collect)
    return frozenset(call for expression in expressions for call in graph_calls(expression))


def collect_of_form(text: str) -> dict[str, str]:
    """Return what a line of a form says, as the option takes it. Raises `BuildError`

    >>> collect_of_form("names = fan.name, total = sum(data.amount)")
    {'names': 'fan.name', 'total': 'sum(data.amount)'}
    >>> collect_of_form("fans = count_links(id, 'likes', direction='reverse'), n = count(id)")
    {'fans': "count_links(id, 'likes', direction='reverse')", 'n': 'count(id)'}
    """
    found: dict[str, str] = {}
    for part in _parts(text):
        name, sign, expression = part.partition("=")
        name = name.strip()
        if not sign or not name:
            raise BuildError(
                f"collect: {short_repr(part.strip(), 100)} has no name",
                allowed="names = fan.name, total = sum(data.amount)",
            )
        if name in found:
            raise BuildError(f"collect: {name!r} is there twice")
        found[name] = expression.strip()
    return found


def _parts(text: str) -> list[str]:
    """Return the names with their expressions; arguments may be named too, in brackets."""
    parts: list[str] = []
    start = depth = 0
    for mark in _MARKS.finditer(text):
        sign = mark.group()
        if sign == "," and depth <= 0:
            parts.append(text[start : mark.start()])
            start = mark.end()
        elif sign in "([{)]}":
            depth += 1 if sign in "([{" else -1
    return [*parts, text[start:]]


def form_of_collect(collect: Collect) -> str:
    """Return the option as a form has it, in one line."""
    return ", ".join(f"{name} = {one}" for name, one in collect)


def shapes_of(collect: Collect) -> dict[str, ValueShape]:
    """Return the shape of the value that `batch` has under each name."""
    return {
        name: _SHAPES.get(one.function, ANY) if isinstance(one, Aggregate) else LIST for name, one in collect
    }


COLLECT: Final = OptionType(
    "expressions",
    {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {**NAME_SCHEMA, "not": {"enum": list(FIELDS)}},
        "additionalProperties": text_schema("fan.name", *(f"{name}(data.amount)" for name in AGGREGATES)),
        "examples": [{"names": "fan.name", "total": "sum(data.amount)"}],
    },
    _read,
    lambda collect: {name: str(one) for name, one in collect} or None,
    _paths,
    offers="paths",
    asks=_asks,
)
