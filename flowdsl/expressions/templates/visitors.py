"""Visitors of expressions and nodes."""

from __future__ import annotations

from collections.abc import Iterator

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
    """Yield the bodies directly inside a node."""
    if isinstance(node, If):
        rest = (node.otherwise[1],) if node.otherwise else ()
        return (*(body for _, _, body in node.branches), *rest)
    if isinstance(node, For):
        return (node.body, node.empty) if node.empty is not None else (node.body,)
    if isinstance(node, (Section, BlockTag, Macro)):
        return (node.body,)
    return ()


def own_exprs(node: Node) -> tuple[Expr, ...]:
    """Yield the expressions of a node's own tags, in evaluation order."""
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


def parts(value: Value) -> tuple[Expr, ...]:
    """Yield the expressions directly inside a value, in evaluation order."""
    if isinstance(value, Items):
        return value.items
    if isinstance(value, Math):
        return (value.first, *(expr for _, expr in value.rest))
    if isinstance(value, (TemplateComparison, Membership)):
        return (value.left, value.right)
    if isinstance(value, Logic):
        return value.operands
    if isinstance(value, Test):
        return value.args
    if isinstance(value, (TemplateCall, MacroCall)):
        return tuple(expr for _, expr in value.args)
    if isinstance(value, Concat):
        return tuple(Expr(part) for part in value.parts)
    return ()


def all_exprs(expr: Expr) -> Iterator[Expr]:
    """Yield an expression and every expression inside it, including arguments of filters."""
    yield expr
    inner = [*parts(expr.value), *(arg for call in expr.filters for _, arg in call.args)]
    for part in inner:
        yield from all_exprs(part)


def idents(value: Value) -> tuple[Ident, ...]:
    """Yield the paths directly inside a value, including those in brackets."""
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
