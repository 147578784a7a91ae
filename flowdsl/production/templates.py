"""Lowering of payload templates to production's: every text is Tera, everything else a constant."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flowdsl.errors import TemplateError
from flowdsl.expressions.conditions import Expression
from flowdsl.expressions.conditions.graph_calls import graph_calls
from flowdsl.expressions.conditions.nodes import (
    Arithmetic,
    ConditionLiteral,
    FunctionCall,
    ListOf,
    Negative,
    Reference,
)
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.filters import FILTERS
from flowdsl.expressions.templates.grammar import parse_template
from flowdsl.expressions.templates.nodes import Body, For, Ident, Macro, Set
from flowdsl.expressions.templates.visitors import all_nodes, exprs_of, filter_calls, idents
from flowdsl.operators.batch import BATCH
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Node
from flowdsl.operators.scope import TEXT
from flowdsl.production.export_errors import StepExportScope

_FILTERS = {"len": "length", "lower": "lower", "upper": "upper", "trim": "trim", "abs": "abs"}


def lower_template(node: Node, names: StepExportScope) -> Node:
    """Return the template with every text as Tera and nothing typed; errors name the part of the payload."""
    if isinstance(node, Fields):
        return Fields(tuple((key, lower_template(value, _inside(names, key))) for key, value in node.items))
    if isinstance(node, ListNode):
        return ListNode(tuple(lower_template(v, _inside(names, f"[{i}]")) for i, v in enumerate(node.items)))
    if isinstance(node, ConstantNode):
        return _lower_constant(node)
    return _lower_text(node, names) if isinstance(node, Template) else _lower_value(node, names)


def _inside(names: StepExportScope, key: str) -> StepExportScope:
    return names.within(f"{names.part}{key}" if key.startswith("[") else f"{names.part}.{key}".lstrip("."))


def _lower_constant(node: ConstantNode) -> ConstantNode:
    value = json.loads(node.json)
    if isinstance(value, bool) or not isinstance(value, int) or -(2**63) <= value < 2**63:
        return node
    # beyond 64 bits a whole number is a float, in a replay too
    return ConstantNode(json.dumps(float(value)))


def _lower_value(node: Expression, names: StepExportScope) -> Node:
    if isinstance(node, ListOf):
        return ListNode(tuple(_lower_value(item, names) for item in node.items))
    if isinstance(node, ConditionLiteral) and _stands_for_itself(node.value):
        return (
            Template.parse(node.value)
            if isinstance(node.value, str)
            else ConstantNode(json.dumps(node.value))
        )
    nearest = _as_template(node)
    if nearest and _is_text(node, names):
        # an id or a type is text at every event that has it, so rendering it changes nothing
        return nearest
    what, hint = (
        f"{node} keeps its type, and production renders text only",
        "write a template, which gives text",
    )
    if graph_calls(node):
        what = f"{node} asks the graph, and production's templates ask none"
        hint = min(graph_calls(node), key=str).asks.nearest
    elif nearest:
        hint = f'write the template "{_lower_text(nearest, names).text}", which gives text'
    names.refuse(
        what, allowed="templates, numbers, true, false, null, and objects and arrays of them", hint=hint
    )
    return node


def _is_text(node: Expression, names: StepExportScope) -> bool:
    if not isinstance(node, Reference) or len(node.path) != 1:
        return False
    return names.scope.variables[node.path[0]] is TEXT


def _stands_for_itself(constant: object) -> bool:
    """Return True unless production would render a constant to something else."""
    try:
        return not isinstance(constant, str) or Template.parse(constant).constant == constant
    except TemplateError:
        return False


def _as_template(node: Expression) -> Template | None:
    inner = _tera(node)
    if inner is None:
        return None
    try:
        template = Template.parse(f"{{{{ {inner} }}}}")
    except TemplateError:
        return None
    return template if template.paths == node.paths else None


def _tera(node: Expression) -> str | None:
    """Return the expression in Tera, for a hint."""
    if isinstance(node, FunctionCall) and node.function in _FILTERS:
        inner = _tera(node.arguments[0])
        return inner and f"{inner} | {_FILTERS[node.function]}"
    if isinstance(node, (Reference, ConditionLiteral)) or all(
        isinstance(part, (Reference, ConditionLiteral, Arithmetic, Negative)) for part in node.walk()
    ):
        return str(node)
    return None


def _lower_text(node: Template, names: StepExportScope) -> Template:
    """Return the template with the batch under production's name; the rest is production's language
    already.
    """
    text = node.text
    names.check(node.paths)
    _check_filters(node, names)
    if names.scope.variables.get("batch") is not BATCH:
        return node
    body = parse_template(text)
    places = [ident.at for ident in _idents(body) if ident.root == "batch"]
    if not places:
        return node
    if any(name in ("batch", "_batch") for name in _own_names(body)):
        names.refuse(
            "the template sets a name that hides production's _batch",
            hint="give what the template sets another name",
        )
        return node
    for at in reversed(places):
        text = f"{text[:at]}_{text[at:]}"
    return Template.parse(text)


def _check_filters(node: Template, names: StepExportScope) -> None:
    for call in filter_calls(parse_template(node.text)):
        declared = FILTERS.get(call.name)
        if declared is not None and not declared.portable:
            names.refuse(
                f"production's Tera has no filter `{call.name}`",
                allowed=", ".join(name for name, own in FILTERS.own.items() if own.portable),
                hint="let the events carry the filtered text, and print that",
            )


def _idents(body: Body) -> list[Ident]:
    """Return every path of a template in the order of the text."""
    found = {ident.at: ident for expr in exprs_of(body) for ident in idents(expr.value)}
    return [found[at] for at in sorted(found)]


def _own_names(body: Body) -> Iterator[str]:
    """Return the names that a template sets itself."""
    for node in all_nodes(body):
        if isinstance(node, Set):
            yield node.name
        elif isinstance(node, For):
            yield from (name for name in (node.key, node.value) if name)
        elif isinstance(node, Macro):
            yield from (name for name, _ in node.params)
