"""Visitors of expressions and nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from flowdsl.expressions.templates.nodes import (
    BlockTag,
    Body,
    Concat,
    Expr,
    For,
    Ident,
    If,
    Items,
    Logic,
    Macro,
    MacroCall,
    Math,
    Membership,
    Node,
    Output,
    Section,
    Set,
    TemplateCall,
    TemplateComparison,
    Test,
    Value,
)


def bodies(node: Node) -> tuple[Body, ...]:
    """Return the bodies directly inside a node."""
    if isinstance(node, If):
        rest = (node.otherwise[1],) if node.otherwise else ()
        return (*(body for _, _, body in node.branches), *rest)
    if isinstance(node, For):
        return (node.body, node.empty) if node.empty is not None else (node.body,)
    if isinstance(node, (Section, BlockTag, Macro)):
        return (node.body,)
    return ()


def own_exprs(node: Node) -> tuple[Expr, ...]:
    """Return the expressions of a node's own tags, in evaluation order."""
    if isinstance(node, (Output, Set)):
        return (node.expr,)
    if isinstance(node, If):
        return tuple(expr for _, expr, _ in node.branches)
    if isinstance(node, For):
        return (node.container,)
    if isinstance(node, Section):
        return tuple(expr for _, expr in node.call.args)
    return ()


def all_nodes(body: Body) -> Iterator[Node]:
    """Yield every node, outer ones first."""
    for node in body:
        yield node
        for inner in bodies(node):
            yield from all_nodes(inner)


_PARTS: Final[dict[type[Any], Callable[[Any], tuple[Expr, ...]]]] = {
    Items: lambda items: items.items,
    Math: lambda math: (math.first, *(expr for _, expr in math.rest)),
    TemplateComparison: lambda comparison: (comparison.left, comparison.right),
    Membership: lambda membership: (membership.left, membership.right),
    Logic: lambda logic: logic.operands,
    Test: lambda test: test.args,
    TemplateCall: lambda call: tuple(expr for _, expr in call.args),
    MacroCall: lambda call: tuple(expr for _, expr in call.args),
    Concat: lambda concat: tuple(map(Expr, concat.parts)),
}


def parts(value: Value) -> tuple[Expr, ...]:
    """Return the expressions directly inside a value, in evaluation order."""
    return _PARTS[type(value)](value) if type(value) in _PARTS else ()


def all_exprs(expr: Expr) -> Iterator[Expr]:
    """Yield an expression and every expression inside it, including arguments of filters."""
    yield expr
    inner = [*parts(expr.value), *(arg for call in expr.filters for _, arg in call.args)]
    for part in inner:
        yield from all_exprs(part)


def idents(value: Value) -> tuple[Ident, ...]:
    """Return the paths directly inside a value, including those in brackets."""
    if isinstance(value, Ident):
        return (value, *(found for inner in value.inner for found in idents(inner)))
    return idents(value.ident) if isinstance(value, Test) else ()


def exprs_of(body: Body) -> Iterator[Expr]:
    """Yield every expression of a body."""
    for node in all_nodes(body):
        for expr in own_exprs(node):
            yield from all_exprs(expr)


def filter_calls(body: Body) -> Iterator[TemplateCall]:
    """Yield every applied filter, in expressions and as sections."""
    for expr in exprs_of(body):
        yield from expr.filters
    for node in all_nodes(body):
        call = getattr(node, "call", None)
        if isinstance(call, TemplateCall):
            yield call
