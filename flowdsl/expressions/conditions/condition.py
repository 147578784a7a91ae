"""Conditions as values, made from text, from `var` expressions, or from Python functions."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flowdsl.errors import BuildError, ConditionError
from flowdsl.expressions.conditions.grammar import parse_expression
from flowdsl.expressions.conditions.graph_calls import GraphCall, graph_calls
from flowdsl.expressions.conditions.nodes import Expression
from flowdsl.expressions.conditions.typecheck import EvaluationError, clip_text, phrase
from flowdsl.text import short_repr
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    from flowdsl.expressions.row_source import Failures, Rows
    from flowdsl.values.columns import Column
    from flowdsl.values.json_types import Mask

Function = Callable[[Mapping[str, Any]], bool]
Lookup = Callable[[Any], Any]
"""Returns the value of a leaf of an expression: at a path, or of a call that asks the graph."""


class CustomCondition(Protocol):
    """Condition in another language than flowdsl's; it evaluates itself."""

    @property
    def text(self) -> str: ...

    @property
    def paths(self) -> frozenset[Path]: ...

    def evaluate(self, rows: Rows) -> tuple[Mask, Failures | None]: ...

    def operands(self, lookup: Lookup) -> list[tuple[str, Any]]: ...


@dataclass(frozen=True)
class Condition:
    """Test that decides whether a context goes on. Conditions are equal if their expression or function is.

    >>> condition = Condition.of("owner.id != source_id")
    >>> condition.text, sorted(condition.paths)
    ('owner.id != source_id', [('owner', 'id'), ('source_id',)])
    """

    expression: Expression | None = None
    function: Function | None = None
    foreign: CustomCondition | None = None

    @classmethod
    def of(cls, source: object) -> Condition:
        """Build a condition from text, a `var` expression, or a function that gets the context.

        >>> Condition.of("a==1  and  not b").text
        'a == 1 and not b'
        """
        if isinstance(source, Condition):
            return source
        if isinstance(source, str):
            source = parse_expression(source)
        # `var` expressions have `__expression__`; their class cannot be imported here
        unwrap = getattr(type(source), "__expression__", None)
        if unwrap is not None:
            source = unwrap(source)
        if isinstance(source, Expression):
            if source.kind not in (None, "boolean"):
                raise ConditionError(
                    f"{clip_text(source)} is {phrase(source.kind)}, and a condition must be true or false",
                    allowed="a comparison, such as owner.id != source_id",
                )
            if isinstance(source, GraphCall) and source.kind is None and not source.below:
                raise ConditionError(
                    f"{clip_text(source)} is what a link says, and a condition must be true or false",
                    allowed=f"a part of it in a comparison, or exists({clip_text(source)})",
                )
            return cls(expression=source)
        if callable(source):
            return cls(function=_check(source))
        raise BuildError(
            f"a condition cannot be {short_repr(source, 80)}",
            allowed="text, an expression built with var, or a function of one argument",
            hint="compare with var on one side at least" if isinstance(source, bool) else None,
        )

    @functools.cached_property
    def text(self) -> str:
        """The condition as it was written; for a function, its name and location."""
        if self.foreign is not None:
            return self.foreign.text
        return str(self.expression) if self.function is None else _function_text(self.function)

    @property
    def paths(self) -> frozenset[Path] | None:
        """Paths that the condition reads; None for a function, which may read anything."""
        if self.foreign is not None:
            return self.foreign.paths
        return self.expression.paths if self.expression is not None else None

    @property
    def graph_calls(self) -> frozenset[GraphCall]:
        """The calls in the condition that query the graph."""
        return graph_calls(self.expression)

    def evaluate(self, rows: Rows) -> tuple[Mask, Failures | None]:
        """Return the mask of the rows where the condition holds, and the failures; failed rows hold arbitrary
        values.
        """
        if self.foreign is not None:
            return self.foreign.evaluate(rows)
        if self.expression is not None:
            from flowdsl.expressions.conditions.vectorized import evaluate_condition

            return evaluate_condition(self.expression, rows)
        from flowdsl.expressions.conditions.udf import evaluate_function

        assert self.function is not None
        return evaluate_function(self.function, rows)

    def operands(self, lookup: Lookup) -> list[tuple[str, Any]]:
        """Return each comparison, call and path with its value, once each, in reading order.

        A missing value is `MISSING`, a part that fails has the `EvaluationError` as its value; a function
        has no parts.
        """
        if self.foreign is not None:
            return self.foreign.operands(lookup)
        if self.expression is None:
            return []
        from flowdsl.expressions.conditions.scalar import operands

        return operands(self.expression, lookup)

    def __str__(self) -> str:
        return self.text


def evaluate(expression: Expression, rows: Rows) -> tuple[Column, Failures | None]:
    """Return the values of an expression in each row, and the failures; failed rows hold arbitrary values."""
    from flowdsl.expressions.conditions.vectorized import evaluate_values

    return evaluate_values(expression, rows)


def list_values(expression: Expression, rows: Rows) -> list[Any]:
    """Return the value of an expression in each row, or the `EvaluationError` of why it has none."""
    column, failures = evaluate(expression, rows)
    values: list[Any] = column.values()
    if failures is not None:
        for row in failures.mask.nonzero()[0].tolist():
            values[row] = EvaluationError(failures.message(row))
    return values


def _check(function: Callable[..., Any]) -> Function:
    if inspect.iscoroutinefunction(function):
        raise BuildError(
            f"{function_name(function)} is async, and a condition is called without waiting",
            allowed="a plain function",
        )
    if inspect.isclass(function):
        raise BuildError(
            f"the class {function.__name__} is not a condition",
            allowed="a function of one argument, the context",
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # some built-in functions have no signature
        return function
    try:
        signature.bind({})
    except TypeError:
        raise BuildError(
            f"{function_name(function)}{signature} cannot be called with one argument",
            allowed="a function of one argument, the context as a mapping",
        ) from None
    return function


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the type of a callable object."""
    if isinstance(function, functools.partial):
        return function_name(function.func)
    return getattr(function, "__qualname__", type(function).__qualname__).rpartition("<locals>.")[2]


def _function_text(function: Callable[..., Any]) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    code = getattr(inspect.unwrap(inner), "__code__", None)
    if code is None:
        return f"<function {function_name(function)}>"
    # the name of the file only: a path would differ from machine to machine
    return (
        f"<function {function_name(function)} at {os.path.basename(code.co_filename)}:{code.co_firstlineno}>"
    )
