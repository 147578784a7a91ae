"""Types of payload fields as templates declare them, for columns without values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from flowdsl.expressions.conditions import Expression
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.conditions.nodes import (
    Arithmetic,
    ConditionLiteral,
    FunctionCall,
    Negative,
    Reference,
)
from flowdsl.expressions.templates import Template
from flowdsl.operators.base import Operator
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.operators.scope import NUMBER as COUNT
from flowdsl.operators.scope import TEXT as WORD
from flowdsl.operators.scope import Scope
from flowdsl.values.kinds import (
    BOOLEAN,
    INTEGER,
    NATURAL,
    NOTHING,
    NUMBER,
    TEXT,
    Kind,
    join_all_kinds,
    kind_of,
)
from flowdsl.values.paths import Path

_KINDS: Final = {"boolean": BOOLEAN, "number": NUMBER, "text": TEXT}
_WHOLE: Final = frozenset((NATURAL, INTEGER))


def field_hints(before: Sequence[Operator], scopes: Sequence[Scope]) -> dict[str, Kind]:
    """Return the fields of the payload that these steps make, with the kind of each from the last map.

    A payload that is not an object has the one field `payload`. Without a map, which only production allows,
    there are no fields.
    """
    for step, scope in reversed(list(zip(before, scopes, strict=False))):
        if isinstance(step, Map):
            kind = _kind(step.template, scope)
            return kind if isinstance(step.template, Fields) else {"payload": kind}
    return {}


def _kind(node: Node, scope: Scope) -> Kind:
    if isinstance(node, Template):
        return TEXT
    if isinstance(node, ConstantNode):
        return kind_of(json.loads(node.json))
    if isinstance(node, Fields):
        return {name: _kind(inner, scope) for name, inner in node.items}
    if isinstance(node, ListNode):
        return [join_all_kinds(_kind(inner, scope) for inner in node.items)]
    return _of_expression(node, scope)


def _of_expression(node: Expression, scope: Scope) -> Kind:
    if isinstance(node, ConditionLiteral):
        return kind_of(node.value)
    if isinstance(node, Reference):
        return _of_path(node.path, scope)
    if isinstance(node, FunctionCall) and FUNCTIONS[node.function].natural:
        return NATURAL
    if isinstance(node, (Negative, Arithmetic)) and getattr(node, "operator", None) != "/":
        kind = join_all_kinds(_of_expression(child, scope) for child in node.children)
        return INTEGER if kind in _WHOLE else NUMBER
    return _KINDS.get(node.kind or "", NOTHING)


def _of_path(path: Path, scope: Scope) -> Kind:
    shape = scope.variables.get(path[0])
    for part in path[1:]:
        shape = None if shape is None or shape.fields is None else shape.fields.get(part)
    return {id(WORD): TEXT, id(COUNT): NATURAL}.get(id(shape), NOTHING)
