"""where: let only those contexts go on for which a condition holds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.hoist import hoist
from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.expressions.var import Var
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import StepOutcome, Until, keep_where
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import CONDITION, option
from flowdsl.operators.scope import Scope
from flowdsl.rules import Rules


@dataclass(frozen=True)
class Where(Operator):
    """Go on only where a condition holds."""

    name: ClassVar[str] = "filter"
    method: ClassVar[str] = "where"
    summary: ClassVar[str] = "go on only where a condition holds"
    example: ClassVar[str] = "where(var.source_id != var.owner.id)"
    synonyms: ClassVar[tuple[str, ...]] = ("when", "select", "keep", "only_if", "condition", "if_")
    portable: ClassVar[bool] = True

    condition: Condition = option(CONDITION, "an expression over paths; what it is not true for is dropped")

    @classmethod
    def build(
        cls, condition: str | Var | Expression | Condition | Callable[[Mapping[str, Any]], bool]
    ) -> Where:
        """Continue only if a condition holds; other contexts are dropped as `filtered`.

        Parameters
        ----------
        condition
            Text, an expression built with `var`, or a function that takes the context as a mapping. A flow
            with a function can be replayed but not exported.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        ConditionError
            If the condition cannot be parsed.
        BuildError
            If a path cannot exist at this step.

        Examples
        --------
        >>> from flowdsl import on, var
        >>> on("link.created").where(var.source_id != var.target_id).steps[0].text
        "where('source_id != target_id')"
        """
        return cls.read(condition=condition)

    @property
    def kind(self) -> Kind:
        return Kind.PER_EVENT

    @functools.cached_property
    def text(self) -> str:
        if self.condition.function is not None:
            return f"where({self.condition.text})"
        return f"where({self.condition.text!r})"

    @property
    def identity(self) -> str:
        code = getattr(self.condition.function, "__code__", None)
        return (
            self.text
            if code is None
            else f"{self.text} {code.co_code.hex()} {code.co_consts!r} {code.co_names!r}"
        )

    def operands(self, lookup: Callable[[Any], Any]) -> list[tuple[str, Any]]:
        return self.condition.operands(lookup)

    @property
    def caption(self) -> str:
        return self.condition.text

    def check(self, scope: Scope) -> Scope:
        scope.check(self.paths or (), f"the condition {self.condition.text!r}")
        return scope

    def kernel(self, rules: Rules) -> WhereKernel:
        return WhereKernel(self.condition)


class WhereKernel(Kernel):
    """Evaluates the condition, above fan-outs where no branch changes it."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._asks = bool(condition.graph_calls)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        if self._condition.paths is None:
            holds, failures = self._condition.evaluate(contexts)
        else:
            holds, failures = hoist(
                contexts,
                self._condition,
                self._condition.paths,
                self._condition.evaluate,
                asks=self._asks,
            )
        return keep_where(contexts, holds, "filtered", failures=failures)
