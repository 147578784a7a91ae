"""Base class of the nodes of conditions; their depth is bounded, so that recursion over a tree never
overflows the stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

from flowdsl.errors import ConditionError
from flowdsl.values.paths import Path

MAX_DEPTH: Final = 64


class Expression:
    """Node of an expression; `str()` returns canonical text that parses back to an equal expression.

    >>> from flowdsl.expressions.conditions import parse_expression
    >>> str(parse_expression("not (a in ['x'])  and (b + 1)>2"))
    'a not in ["x"] and b + 1 > 2'
    """

    depth: int

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields without cached values, which may refer to the expression itself."""
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), cached_property)
        }

    # the type of all its values (unless missing), if it is known without an event
    kind: str | None = None

    @property
    def children(self) -> tuple[Expression, ...]:
        """Sub-expressions in reading order."""
        return ()

    @cached_property
    def paths(self) -> frozenset[Path]:
        """All paths that the expression reads."""
        return frozenset().union(*(child.paths for child in self.children))

    @cached_property
    def leaves(self) -> frozenset[Path | Expression]:
        """Everything in a context that its value depends on: paths, and calls that query the graph."""
        return frozenset().union(*(child.leaves for child in self.children))

    @cached_property
    def graph_calls(self) -> frozenset[Expression]:
        """All calls that query the graph, including those in the arguments of other calls."""
        return frozenset().union(*(child.graph_calls for child in self.children))

    @property
    def locates(self) -> bool:
        """Return True if it names a place whose value may be missing or of any type, such as a path."""
        return False

    def walk(self) -> Iterator[Expression]:
        """Yield the expression and all its sub-expressions in reading order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def _binding(self) -> int:
        """Precedence of the node; nodes of lower precedence need parentheses inside those of higher."""
        return 9

    def _within(self, binding: int) -> str:
        return str(self) if self._binding() >= binding else f"({self})"

    def _measure(self) -> None:
        depth = 1 + max((child.depth for child in self.children), default=0)
        if depth > MAX_DEPTH:
            raise ConditionError(
                f"a condition is nested deeper than {MAX_DEPTH} levels",
                allowed=f"at most {MAX_DEPTH} levels",
                hint="split it into several where steps, or write a Python function",
            )
        object.__setattr__(self, "depth", depth)
