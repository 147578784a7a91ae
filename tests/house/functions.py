"""Complexity of functions, in all and per line of their bodies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house.sources import Function, docstring_lines, sources

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.match_case)


@dataclass(frozen=True)
class Weighed:
    """A function with its complexity and the number of lines of its body."""

    place: str
    name: str
    complexity: int
    lines: int


def weighed_functions() -> list[Weighed]:
    """Return every function of the package, the most complex first."""
    found = [
        Weighed(source.place(node.lineno), node.name, complexity(node), body_lines(node))
        for source in sources()
        for node in source.functions
    ]
    return sorted(found, key=lambda function: (-function.complexity, function.place))


def complexity(function: Function) -> int:
    """Return McCabe's number: 1, and 1 for each branch.

    Unlike ruff's C901, comprehensions, their conditions, `and`, `or` and conditional expressions count as branches:
    whoever reads has to follow them too. A function inside counts for itself.
    """
    return 1 + sum(_branches(node) for node in _own_nodes(function))


def _branches(node: ast.AST) -> int:
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return int(isinstance(node, BRANCHES))


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function):
            waiting.extend(ast.iter_child_nodes(node))


def body_lines(function: Function) -> int:
    """Return the number of lines of a body, from its first statement to its end, its docstring left out."""
    first, last = function.body[0], function.body[-1]
    taken = (last.end_lineno or last.lineno) - first.lineno + 1
    return max(taken - len(docstring_lines(function)), 1)
