"""for_each: one branch for each element of a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import ValueVariable
from flowdsl.errors import BuildError
from flowdsl.expressions.conditions import Expression
from flowdsl.expressions.conditions.condition import evaluate
from flowdsl.expressions.conditions.scalar import operands
from flowdsl.expressions.conditions.typecheck import phrase
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.expressions.var import Var
from flowdsl.kernels.branch_limit import BranchLimit, positions
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import Branched, StepOutcome, Until, dropped_rows, failed_where
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import EXPRESSION, NAME, option
from flowdsl.operators.scope import ANY, NUMBER, Scope
from flowdsl.rules import Rules
from flowdsl.values.columns import Column, gather_values
from flowdsl.values.json_lists import JsonLists, most_elements
from flowdsl.values.json_types import Index, Tag
from flowdsl.values.paths import Path


@dataclass(frozen=True)
class ForEach(Operator):
    """Go on once for each element of a list."""

    name: ClassVar[str] = "for_each"
    method: ClassVar[str] = "for_each"
    summary: ClassVar[str] = "go on once for each element of a list"
    example: ClassVar[str] = 'for_each("data.mentions", as_="who")'
    synonyms: ClassVar[tuple[str, ...]] = (
        "flat_map",
        "flatmap",
        "explode",
        "unnest",
        "flatten",
        "foreach",
        "unarchive",
    )
    nearest: ClassVar[str] = (
        "log a link for each element, and branch over the links: "
        'fan_out("entity_id", via="mentions", as_="who"), which sees those of then, not the list of the event'
    )

    path: Expression = option(
        EXPRESSION, "the path of the list, or an expression that gives one", synonyms=("list", "of", "items")
    )
    as_: str = option(
        NAME,
        "the variable that each element becomes; `<as>_index` is its position from 0",
        synonyms=("into", "name", "var"),
    )

    @classmethod
    def build(cls, path: str | Var | Expression, *, as_: str) -> ForEach:
        """Continue once for each element of a list, in the order of the list.

        Each branch has the element, which may be any JSON value, as the variable `as_`, and its position from
        0 as `<as_>_index`. Where the list is empty, null or missing, the context is dropped as `no items`;
        any other value fails.

        Parameters
        ----------
        path
            The path of the list, or an expression that gives one, such as `added(data.mentions)`.
        as_
            The name of the variable.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        ConditionError
            If the expression cannot be parsed.
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("entity.created").for_each("data.mentions", as_="who").resolve("who", as_="person")
        >>> flow.steps[0].text
        "for_each('data.mentions', as_='who')"
        """
        return cls.read(path=path, as_=as_)

    @property
    def kind(self) -> Kind:
        return Kind.PER_EVENT

    @property
    def branch_variable(self) -> str:
        return self.as_

    @property
    def variables(self) -> tuple[str, ...]:
        return self.as_, f"{self.as_}_index"

    @property
    def caption(self) -> str:
        return f"each {self.as_} of {self.path}"

    def operands(self, lookup: Callable[[Path], Any]) -> list[tuple[str, Any]]:
        return operands(self.path, lookup)

    def check_options(self) -> None:
        if self.path.kind not in (None, "array"):
            raise BuildError(
                f"for_each goes over a list, and {self.path} is {phrase(self.path.kind)}",
                allowed="the path of a list: 'data.mentions'",
            )

    def check(self, scope: Scope) -> Scope:
        return super().check(scope).having(**{self.as_: ANY, f"{self.as_}_index": NUMBER})

    def kernel(self, rules: Rules) -> Kernel:
        return ForEachKernel(self)


class ForEachKernel(Kernel):
    """Repeats contexts over the elements of their lists, each list taken apart once for all its contexts."""

    def __init__(self, options: ForEach, limit: BranchLimit | None = None) -> None:
        self._options = options
        self._limit = limit or BranchLimit()

    def fork(self) -> ForEachKernel:
        return ForEachKernel(self._options, self._limit.fork())

    def most_branches(self, contexts: ContextBatch) -> Index | None:
        values, _, back = self._values(contexts)
        most = most_elements(values)
        return most if back is None else most.take(back)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        values, failures, back = self._values(contexts)
        wrong = Failures.where(~values.is_(*_LISTS), f"{self._options.path} is not a list")
        failures = first_failures([failures, wrong])
        lists = JsonLists.of(values)
        if failures is not None:
            # the value of a failed row is arbitrary
            lists = lists.where(~failures.mask)
        if back is not None:
            failures = gather_values(failures, back)
            lists = lists.take(back)
        refused = self._limit.refusals(contexts, lists.counts)
        if refused is not None:
            failures, lists = first_failures([failures, refused]), lists.where(~refused.mask)
        counts = lists.counts
        ended = np.zeros(len(contexts), np.bool_) if failures is None else failures.mask
        row = np.repeat(np.arange(len(contexts)), counts)
        position = positions(row, counts)
        name = self._options.as_
        branches = contexts.fanned(
            row,
            position,
            {
                name: ValueVariable(lists.elements),
                f"{name}_index": ValueVariable(Column(len(row), Tag.INT, ints=position.astype(np.int64))),
            },
        )
        return StepOutcome(
            branches,
            failed_where(contexts, failures),
            dropped_rows(contexts, np.flatnonzero((counts == 0) & ~ended), "no items"),
            branched=Branched(contexts, counts),
        )

    def _values(self, contexts: ContextBatch) -> tuple[Column, Failures | None, Index | None]:
        """Return the values of the expression where they are the same for several contexts, and which of them
        each context has.
        """
        at, back = contexts.lift(self._options.path.paths)
        if back is not None:
            used, back = np.unique(back, return_inverse=True)
            at = at.take(used)
        return *evaluate(self._options.path, at), back


# what there is nothing in is dropped; all other values fail
_LISTS = (Tag.ARRAY, Tag.NULL, Tag.MISSING)
