"""Scalar evaluation of expressions in one context, by simpleeval.

The tree goes to simpleeval as Python `ast` nodes that are made here, never as text. Only names, constants,
our own operators and our own functions occur in it: no attribute, no subscript, no method of any value.
"""

from __future__ import annotations

import ast
import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import simpleeval

from flowdsl.expressions.conditions import semantics
from flowdsl.expressions.conditions.functions import FUNCTIONS, MEMBERSHIP
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.nodes import (
    And,
    Arithmetic,
    Compare,
    ConditionLiteral,
    Expression,
    FunctionCall,
    ListOf,
    Negative,
    Not,
    Or,
    Reference,
)
from flowdsl.expressions.conditions.typecheck import EvaluationError, within_64_bits
from flowdsl.values.paths import Path

Leaf = Path | GraphCall
"""What an expression reads of a context: the value at a path, or what a call that asks the graph gives."""
Lookup = Callable[[Any], Any]
"""Returns the value of a leaf, or raises `EvaluationError`."""

_ARITHMETIC: Final[dict[str, type[ast.operator]]] = {
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
    "/": ast.Div,
    "%": ast.Mod,
}
_COMPARISONS: Final[dict[str, type[ast.cmpop]]] = {
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
}


_OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    **{node: functools.partial(semantics.compute, sign) for sign, node in _ARITHMETIC.items()},
    **{node: functools.partial(semantics.compare, sign) for sign, node in _COMPARISONS.items()},
    ast.In: MEMBERSHIP.evaluate,
    ast.USub: semantics.negative,
    ast.Not: lambda value: not semantics.truth("'not'", value),
}
# operands that must be booleans are wrapped in a function that checks this
_CHECKS: Final = {"and": "'and'", "or": "'or'"}


class _Callables(dict[str, Callable[..., Any]]):
    """Functions that a tree may call: the checks for booleans, and the functions of conditions, including
    those of plug-ins.
    """

    def __missing__(self, name: str) -> Callable[..., Any]:
        return FUNCTIONS[name].evaluate


_CALLABLES: Final = _Callables(
    {name: function.evaluate for name, function in FUNCTIONS.own.items()}
    | {name: functools.partial(semantics.truth, what) for name, what in _CHECKS.items()}
)


@dataclass(frozen=True)
class RowForm:
    """Expression in the form simpleeval takes: `names[i]` of the tree stands for `leaves[i]`."""

    tree: ast.expr
    leaves: tuple[Leaf, ...]
    lists: dict[str, list[Any]]

    def evaluate(self, found: Sequence[Any]) -> Any:
        """Return the value, given the values of the leaves; raise `EvaluationError` if there is none."""
        evaluator = _evaluator()
        evaluator.names = self.lists | {_name(i): within_64_bits(value) for i, value in enumerate(found)}
        return evaluator.eval("", self.tree)

    def evaluate_at(self, lookup: Lookup) -> Any:
        """Return the value, given a function that looks up leaves."""
        return self.evaluate([look_up(lookup, leaf) for leaf in self.leaves])


def operands(expression: Expression, lookup: Lookup) -> list[tuple[str, Any]]:
    """Return each comparison, call and path of an expression with its value or error."""
    found: dict[str, Any] = {}
    for part in expression.walk():
        text = str(part) if isinstance(part, (Compare, FunctionCall, Reference)) else None
        if text is None or text in found:
            continue
        try:
            found[text] = row_form(part).evaluate_at(lookup)
        except EvaluationError as failure:
            found[text] = failure
    return list(found.items())


@functools.lru_cache(maxsize=512)
def row_form(expression: Expression) -> RowForm:
    """Return the scalar form of an expression."""
    calls = sorted((leaf for leaf in expression.leaves if isinstance(leaf, GraphCall)), key=str)
    paths = sorted(leaf for leaf in expression.leaves if isinstance(leaf, tuple))
    leaves: tuple[Leaf, ...] = (*paths, *calls)
    builder = _SimpleevalBuilder({leaf: _name(i) for i, leaf in enumerate(leaves)})
    return RowForm(builder.build(expression), leaves, builder.lists)


class _SimpleevalBuilder:
    def __init__(self, names: dict[Leaf, str]) -> None:
        self.names = names
        self.lists: dict[str, list[Any]] = {}

    def build(self, node: Expression) -> ast.expr:
        match node:
            case ConditionLiteral():
                return ast.Constant(node.value)
            case ListOf():
                name = f"list_{len(self.lists)}"
                self.lists[name] = node.values
                return ast.Name(name)
            case Reference():
                return ast.Name(self.names[node.path])
            case GraphCall():
                return ast.Name(self.names[node])
            case And() | Or():
                word = ast.And() if isinstance(node, And) else ast.Or()
                return ast.BoolOp(word, [self.check(node.word, operand) for operand in node.operands])
        built = [self.build(child) for child in node.children]
        return _with_operands(self.operation(node, built), node.children)

    def operation(self, node: Expression, built: list[ast.expr]) -> ast.expr:
        match node:
            case Not():
                return ast.UnaryOp(ast.Not(), built[0])
            case Negative():
                return ast.UnaryOp(ast.USub(), built[0])
            case Arithmetic():
                return ast.BinOp(built[0], _ARITHMETIC[node.operator](), built[1])
            case Compare():
                sign = ast.In() if node.operator == "in" else _COMPARISONS[node.operator]()
                return ast.Compare(built[0], [sign], [built[1]])
            case FunctionCall():
                return ast.Call(ast.Name(node.function), built, [])
        raise AssertionError(f"no row form for {type(node).__name__}")

    def check(self, what: str, node: Expression) -> ast.expr:
        built = self.build(node)
        if node.kind == "boolean":
            return built
        return _with_operands(ast.Call(ast.Name(what), [built], []), (node,))


class _Evaluator(simpleeval.SimpleEval):  # type: ignore[misc]
    """simpleeval without any of its own names; errors name the operand at fault."""

    def __init__(self) -> None:
        super().__init__(operators=_OPERATORS, functions=_CALLABLES, names={})

    def _eval(self, node: ast.expr) -> Any:
        try:
            value = super()._eval(node)
        except (semantics.OperandTypeError, ZeroDivisionError) as problem:
            reason = semantics.reason(problem, node.operands)  # type: ignore[attr-defined]
            raise EvaluationError(reason) from None
        if isinstance(value, EvaluationError):
            raise value
        return value

    def _check_disallowed_items(self, item: Any) -> None:
        # values are JSON, and nothing in our trees could call one or reach into it; simpleeval's own check
        # walks through each document at each step, and runs out of stack on a deeply nested one
        return


_LOCAL = threading.local()
_MAKING = threading.Lock()


def _evaluator() -> _Evaluator:
    """Return this thread's evaluator, which holds the names of the current row."""
    if not hasattr(_LOCAL, "evaluator"):
        # simpleeval's constructor changes the process-wide warning filters
        with _MAKING:
            _LOCAL.evaluator = _Evaluator()
    evaluator: _Evaluator = _LOCAL.evaluator
    return evaluator


def look_up(lookup: Lookup, leaf: Leaf) -> Any:
    """Return the value of a leaf, or its error, which matters only if the leaf is evaluated."""
    try:
        return lookup(leaf)
    except EvaluationError as failure:
        return failure


def _name(position: int) -> str:
    return f"path_{position}"


def _with_operands(tree: ast.expr, operands: tuple[Expression, ...]) -> ast.expr:
    tree.operands = operands  # type: ignore[attr-defined]
    return tree
