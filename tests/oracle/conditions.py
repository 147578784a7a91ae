"""Conditions in one context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flowdsl.expressions.conditions import Condition, EvaluationError
from flowdsl.expressions.conditions.scalar import row_form
from flowdsl.expressions.conditions.semantics import kind
from flowdsl.expressions.conditions.typecheck import wrong_type
from flowdsl.expressions.conditions.udf import evaluate_function
from flowdsl.values.columns import Column
from flowdsl.values.paths import Path


@dataclass(frozen=True)
class OneRow:
    """One context as rows; `lookup` returns the value at a path, or `MISSING`."""

    lookup: Callable[[Path], Any]
    names: Sequence[str] = ()
    size = 1

    def column(self, path: Path) -> Column:
        return Column.of([self.lookup(path)])

    def take(self, index: Any) -> OneRow:
        return self

    def roots(self) -> tuple[str, ...]:
        return tuple(self.names)


def holds(condition: Condition, lookup: Callable[[Path], Any], names: Sequence[str] = ()) -> bool:
    """Evaluate a condition in one context; a function sees the variables `names` when it goes through them.

    Raises `EvaluationError` where the condition fails.
    """
    if condition.expression is not None:
        value = row_form(condition.expression).evaluate_at(lookup)
        if not isinstance(value, bool):
            raise EvaluationError(wrong_type("a condition", ("boolean",), condition.expression, kind(value)))
        return value
    row = OneRow(lookup, names)
    if condition.foreign is not None:
        return bool(condition.foreign.evaluate(row)[0][0])
    assert condition.function is not None
    values, failures = evaluate_function(condition.function, row)
    if failures is not None:
        raise EvaluationError(failures.message(0))
    return bool(values[0])
