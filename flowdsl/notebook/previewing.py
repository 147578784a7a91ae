"""What a condition or a template gives in one context, at once: without a replay, from the variables alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowdsl.engines.watcher import value_at
from flowdsl.errors import FlowError
from flowdsl.explaining.text import shown
from flowdsl.language.conditions import Condition, EvaluationFailure
from flowdsl.language.conditions.rows import row_form
from flowdsl.language.templates import Template
from flowdsl.language.templates.failures import RenderFailure
from flowdsl.notebook.template_rows import Row
from flowdsl.operators.map import Constant, Fields, Items, Map, Node
from flowdsl.values.tags import MISSING

Line = dict[str, Any]


def row_preview(row: Row, variables: Mapping[str, Any]) -> Line:
    """What a row of a template gives: `text`, or `error` where it fails or is no template.

    >>> row_preview(Row("title", "{{ fan.name | upper }}"), {"fan": {"name": "Ada"}})
    {'text': 'ADA'}
    """
    try:
        value = _rendered(Map.build({"value": row.content()}).template, variables)["value"]
    except FlowError as error:
        return {"error": error.what}
    except (RenderFailure, EvaluationFailure) as failure:
        return {"error": str(failure)}
    return {"text": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def condition_preview(condition: Condition, variables: Mapping[str, Any]) -> list[Line]:
    """Each comparison, call and path of a condition with its value."""
    found = condition.operands(lambda path: value_at(variables, path))
    return [{"name": name, "text": shown(value)} for name, value in found]


def _rendered(node: Node, variables: Mapping[str, Any]) -> Any:
    if isinstance(node, Fields):
        return {name: _rendered(inner, variables) for name, inner in node.items}
    if isinstance(node, Items):
        return [_rendered(inner, variables) for inner in node.items]
    if isinstance(node, Constant):
        return json.loads(node.json)
    if isinstance(node, Template):
        return node.render_row(lambda path: value_at(variables, path))
    value = row_form(node, whole=False).evaluate_at(lambda path: value_at(variables, path))
    if value is MISSING:
        raise EvaluationFailure(f"{node} is missing")
    return value
