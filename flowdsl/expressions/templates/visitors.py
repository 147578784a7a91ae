"""Walks over the expressions and nodes of a template."""

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
    """The bodies right inside a node."""
    if isinstance(node, If):
        rest = (node.otherwise[1],) if node.otherwise else ()
        return (*(body for _, _, body in node.branches), *rest)
    if isinstance(node, For):
        return (node.body, node.empty) if node.empty is not None else (node.body,)
    if isinstance(node, (Section, BlockTag, Macro)):
        return (node.body,)
    return ()


def own_exprs(node: Node) -> tuple[Expr, ...]:
    """The expressions of a node's own tags, in the order in which they are evaluated."""
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
    """Every node, an outer one before what is inside it."""
    for node in body:
        yield node
        for inner in bodies(node):
            yield from all_nodes(inner)


def parts(value: Value) -> tuple[Expr, ...]:
    """The expressions right inside a value, in the order in which they are evaluated."""
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
    """The expression and every expression inside it, arguments of filters too."""
    yield expr
    inner = [*parts(expr.value), *(arg for call in expr.filters for _, arg in call.args)]
    for part in inner:
        yield from all_exprs(part)


def idents(value: Value) -> tuple[Ident, ...]:
    """The paths right inside a value, those in brackets included."""
    if isinstance(value, Ident):
        return (value, *(found for inner in value.inner for found in idents(inner)))
    return idents(value.ident) if isinstance(value, Test) else ()


def exprs_of(body: Body) -> Iterator[Expr]:
    """Every expression of a body."""
    for node in all_nodes(body):
        for expr in own_exprs(node):
            yield from all_exprs(expr)


def filter_calls(body: Body) -> Iterator[TemplateCall]:
    """Yield every filter that is applied, in expressions and as sections."""
    for expr in exprs_of(body):
        yield from expr.filters
    for node in all_nodes(body):
        call = getattr(node, "call", None)
        if isinstance(call, TemplateCall):
            yield call
