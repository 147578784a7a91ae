"""Conditions: what they say (nodes), how they are written (grammar), and what they give (values, rows, columns).

Importing this package, and making a condition, needs neither NumPy nor Polars; evaluating one does.
"""

from flowdsl.language.conditions.checks import EvaluationFailure
from flowdsl.language.conditions.condition import Condition, evaluate
from flowdsl.language.conditions.grammar import parse_expression
from flowdsl.language.conditions.nodes import Expression

__all__ = ["Condition", "EvaluationFailure", "Expression", "evaluate", "parse_expression"]
