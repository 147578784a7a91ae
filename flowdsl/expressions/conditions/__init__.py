"""Conditions: syntax tree (`nodes`), parser (`grammar`), scalar and vectorized evaluation.

Importing this package, and making a condition, needs neither NumPy nor Polars; evaluating one does.
"""

from flowdsl.expressions.conditions.condition import Condition, evaluate
from flowdsl.expressions.conditions.grammar import parse_expression
from flowdsl.expressions.conditions.nodes import Expression
from flowdsl.expressions.conditions.typecheck import EvaluationError

__all__ = ["Condition", "EvaluationError", "Expression", "evaluate", "parse_expression"]
