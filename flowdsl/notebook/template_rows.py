"""Payload templates as rows of a form: one row per field, whose text is a template, JSON or an expression."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flowdsl.errors import BuildError
from flowdsl.expressions.conditions import Expression, parse_expression
from flowdsl.expressions.templates import Template
from flowdsl.expressions.var import Var, unwrap
from flowdsl.operators.map import ConstantNode, Fields, Map, Node
from flowdsl.values.python_values import with_leaves

TEXT, JSON, EXPRESSION, FIXED = "text", "json", "expression", "fixed"
MODES: Final = (TEXT, JSON, EXPRESSION)


@dataclass(frozen=True)
class Row:
    """Field of a payload: its name, its text, and the mode of the text.

    `mode` is `text` (a template), `json` (any JSON, in which texts are templates), `expression` (the result
    keeps its type) or `fixed` (`value` was made in Python and cannot be typed). The row of a payload that is
    not an object has no name.
    """

    name: str
    text: str = ""
    mode: str = TEXT
    value: Any = None

    def content(self) -> Any:
        """Return the row as an argument of `map`. Raises `BuildError`"""
        if self.mode == FIXED:
            return self.value
        if self.mode == EXPRESSION:
            return parse_expression(self.text)
        if self.mode == JSON:
            try:
                return json.loads(self.text)
            except ValueError as error:
                raise BuildError(f"{self.name or 'the payload'} is not JSON: {error}") from None
        return self.text


def rows_of(node: Node) -> tuple[Row, ...]:
    """Return the rows of a template.

    >>> rows_of(Map.build(title="{{ fan.name }}").template)
    (Row(name='title', text='{{ fan.name }}', mode='text', value=None),)
    """
    if isinstance(node, Fields) and node.items and all(name for name, _ in node.items):
        return tuple(_row(name, value) for name, value in node.items)
    return (_row("", node),)


def template_of(rows: Sequence[Row]) -> Any:
    """Return the rows as an argument of `map`, without empty ones. Raises `BuildError`"""
    given = [row for row in rows if row.name or row.text or row.mode == FIXED]
    if len(given) == 1 and not given[0].name:
        return given[0].content()
    names = [row.name for row in given]
    if "" in names:
        raise BuildError("a field has no name", hint="a payload that is not an object is one row alone")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise BuildError(f"the field {twice[0]!r} is there twice")
    return {row.name: row.content() for row in given}


def _row(name: str, node: Node) -> Row:
    if isinstance(node, Template):
        return Row(name, node.text)
    if isinstance(node, Expression):
        return Row(name, str(node), EXPRESSION)
    plain = Map(node).plain
    if any(isinstance(leaf, Var) for leaf in _leaves(plain)):
        return Row(name, str(plain), FIXED, with_leaves(plain, _unwrap))
    return Row(
        name, node.json if isinstance(node, ConstantNode) else json.dumps(plain, ensure_ascii=False), JSON
    )


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def _unwrap(value: Any) -> Any:
    """Unwrap an expression built with `var`, which cannot be compared."""
    return unwrap(value) if isinstance(value, Var) else value
