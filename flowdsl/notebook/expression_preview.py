"""Preview of a condition or template in one context, from its variables and without a replay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowdsl.engine.event_reading import value_at
from flowdsl.errors import FlowError
from flowdsl.explanation.text import format_value
from flowdsl.expressions.conditions import Condition, EvaluationError
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.scalar import Leaf, row_form
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.notebook.template_rows import Row
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.values.json_types import MISSING

Line = dict[str, Any]


def row_preview(row: Row, variables: Mapping[str, Any]) -> Line:
    """Render a template row: `text`, or `error` if it fails or does not parse.

    >>> row_preview(Row("title", "{{ fan.name | upper }}"), {"fan": {"name": "Ada"}})
    {'text': 'ADA'}
    """
    try:
        value = _rendered(Map.build({"value": row.content()}).template, variables)["value"]
    except FlowError as error:
        return {"error": error.what}
    except (RenderError, EvaluationError) as failure:
        return {"error": str(failure)}
    return {"text": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def condition_preview(condition: Condition, variables: Mapping[str, Any]) -> list[Line]:
    """Return each comparison, call and path of a condition with its value."""
    found = condition.operands(lambda leaf: _at(variables, leaf))
    return [{"name": name, "text": format_value(value)} for name, value in found]


def _at(variables: Mapping[str, Any], leaf: Leaf) -> Any:
    if isinstance(leaf, GraphCall):
        raise EvaluationError("the graph is asked when the flow runs")
    return value_at(variables, leaf)


def _rendered(node: Node, variables: Mapping[str, Any]) -> Any:
    if isinstance(node, Fields):
        return {name: _rendered(inner, variables) for name, inner in node.items}
    if isinstance(node, ListNode):
        return [_rendered(inner, variables) for inner in node.items]
    if isinstance(node, ConstantNode):
        return json.loads(node.json)
    if isinstance(node, Template):
        return node.render_row(lambda path: value_at(variables, path))
    value = row_form(node, whole=False).evaluate_at(lambda leaf: _at(variables, leaf))
    if value is MISSING:
        raise EvaluationError(f"{node} is missing")
    return value
