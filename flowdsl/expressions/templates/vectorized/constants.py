"""Constant expressions, evaluated once for all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.evaluation import Evaluator
from flowdsl.expressions.templates.nodes import Expr, Test
from flowdsl.expressions.templates.vectorized.outcomes import GroupIndex, RenderOutcome, asked
from flowdsl.expressions.templates.visitors import all_exprs, idents
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING, Tag


def is_constant(expr: Expr) -> bool:
    """Return True if an expression reads no variables."""
    return not any(idents(part.value) for part in all_exprs(expr))


def constant_values(exprs: Sequence[Expr]) -> tuple[list[Any], Failures | None]:
    """Return the values of constant expressions."""
    return asked(lambda expr: Evaluator(lambda path: MISSING).value(expr), exprs)


def constant(expr: Expr, size: int) -> RenderOutcome:
    """Return the value of a constant expression, or its failure in every row."""
    values, failures = constant_values([expr])
    if failures:
        return RenderOutcome(Column(size, Tag.MISSING), failures.take(np.zeros(size, np.int64)))
    return RenderOutcome(GroupIndex(values[0]))


def constant_args(test: Test) -> list[Any] | None:
    """Return the arguments of a test, or None if they vary or fail."""
    if not all(is_constant(arg) for arg in test.args):
        return None
    values, failures = constant_values(test.args)
    return None if failures else values
