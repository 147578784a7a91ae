"""Static type inference for the parts of a template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from flowdsl.expressions.templates.filters import FILTERS
from flowdsl.expressions.templates.nodes import (
    Concat,
    Expr,
    Ident,
    Items,
    Logic,
    Math,
    Membership,
    Output,
    Set,
    TemplateCall,
    TemplateComparison,
    TemplateLiteral,
    Test,
    Value,
)
from flowdsl.expressions.templates.visitors import all_nodes, exprs_of, filter_calls
from flowdsl.findings.views import OBJECTS, TemplateView, is_number, is_text

T = TypeVar("T")


def kind_of(expr: Expr, view: TemplateView) -> str | None:
    """Infer the type: "number", "text", "boolean", "array" or "object"; None if it depends on the event."""
    if expr.filters:
        declared = FILTERS.get(expr.filters[-1].name)
        # production gives an empty array for a missing one
        return declared.result if declared is not None and declared.result in ("number", "text") else None
    if expr.negated:
        return "boolean"
    return _kind_of_value(expr.value, view)


def _kind_of_value(value: Value, view: TemplateView) -> str | None:
    if isinstance(value, TemplateLiteral):
        if isinstance(value.value, bool):
            return "boolean"
        return "text" if isinstance(value.value, str) else "number"
    if isinstance(value, Ident):
        return _kind_of_path(value, view)
    if isinstance(value, (Logic, TemplateComparison, Membership, Test)):
        return "boolean"
    if isinstance(value, Items):
        return "array"
    return {Math: "number", Concat: "text"}.get(type(value))


def _kind_of_path(ident: Ident, view: TemplateView) -> str | None:
    if ident.text in ("loop.index", "loop.index0"):
        return "number"
    if ident.root in own_names(view) or ident.rest:
        return None
    scope, path = view.step.scope, ident.path
    if is_number(scope, path):
        return "number"
    if is_text(scope, path):
        return "text"
    if len(path) == 1 and view.step.known.get(path[0]) in OBJECTS:
        return "object"
    return None


def own_names(view: TemplateView) -> set[str]:
    """Return the names that the template sets itself."""
    found: set[str] = set()
    for node in all_nodes(view.body):
        for name in ("name", "key", "value"):
            given = getattr(node, name, None)
            if isinstance(given, str):
                found.add(given)
        found.update(name for name, _ in getattr(node, "params", ()))
    return found


def printed_expressions(view: TemplateView) -> Iterator[Expr]:
    """Yield the expressions whose values are printed or kept: those of `{{ }}` and `set`"""
    for node in all_nodes(view.body):
        if isinstance(node, (Output, Set)):
            yield node.expr


def outputs(view: TemplateView) -> Iterator[Expr]:
    """Yield the expressions of `{{ }}`"""
    for node in all_nodes(view.body):
        if isinstance(node, Output):
            yield node.expr


def values(view: TemplateView, kind: type[T]) -> Iterator[T]:
    """Yield every value of a kind in the template."""
    for expr in exprs_of(view.body):
        if isinstance(expr.value, kind):
            yield expr.value


def calls(view: TemplateView) -> Iterator[TemplateCall]:
    """Yield every filter call, in expressions and as sections."""
    return filter_calls(view.body)
