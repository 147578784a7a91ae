"""Declarations of the functions of conditions: arguments, types, and forms for single values and columns.

Without a form for columns, and for rows that it leaves open, a function is called once for each distinct
combination of values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from flowdsl.expressions.conditions.graph_query import GraphQuery
from flowdsl.expressions.conditions.semantics import OperandTypeError, kind
from flowdsl.expressions.conditions.typecheck import EvaluationError, Scalar, clip_text, within_64_bits
from flowdsl.values.missing import MISSING

if TYPE_CHECKING:
    from flowdsl.expressions.conditions.operands import Where
    from flowdsl.values.columns import Column

Kind = Literal["boolean", "number", "text", "null", "array", "object", "path"]
ANY: Final[tuple[Kind, ...]] = ()
PATH: Final[tuple[Kind, ...]] = ("path",)
"""The type of an argument that must be a path; such a function is also asked where the path is missing."""

Vectorized = Callable[..., "tuple[Column, Where]"]
"""A form for columns: takes the number of rows and an operand an argument, and returns the results and the
rows left open.

What it returns for rows that are missing or of a wrong type does not matter.
"""


@dataclass(frozen=True, eq=False)
class Function:
    """Declaration of a function of the condition language.

    Parameters
    ----------
    name
        its name in conditions, and as a method of `fn`
    doc
        a sentence that says what it returns
    usage
        a call, such as `lower(owner.name)`
    arguments
        for each argument the types that it may have: `boolean`, `number`, `text`, `array`, `object`; empty
        for any
    result
        the type of every result, or `any`; a result may also be missing
    scalar
        the function itself, for one value of each argument; the values have these types and are not missing
    vectorized
        the same for columns, or None
    portable
        whether production has it, where it is written after a path: `a.b exists`
    defaults
        constants for the last arguments, which may be left out and are given by name: `bucket(x, 10,
        salt="a")`
    several
        whether the last argument may be given more than once: `coalesce(a, b, c)`
    with_missing
        whether it is also called for missing arguments; it then checks its arguments itself
    natural
        whether every result is a whole number, 0 or more
    within
        returns the least and the greatest possible result, None for no bound; it gets the arguments, with
        None for those that are not constants
    form
        a pattern that every text result matches
    with_before
        whether it also gets the value that `before` has at the same path; its argument is a path into `data`
    constants
        by argument, a function that returns what is wrong with a constant, or None; a call with a wrong
        constant is refused when the flow is built
    asks
        its query to the graph, if the result also depends on the graph

    >>> Function(
    ...     "double",
    ...     "Twice the number.",
    ...     "double(data.n)",
    ...     {"number": ("number",)},
    ...     "number",
    ...     lambda n: 2 * n,
    ... ).evaluate(4)
    8
    """

    name: str
    doc: str
    usage: str
    arguments: Mapping[str, tuple[Kind, ...]]
    result: Literal["boolean", "number", "text", "array", "object", "any"]
    scalar: Callable[..., Any]
    vectorized: Vectorized | None = None
    portable: bool = False
    defaults: Mapping[str, Scalar] = field(default_factory=dict)
    several: bool = False
    with_missing: bool = False
    natural: bool = False
    within: Callable[..., tuple[float | None, float | None]] | None = None
    form: re.Pattern[str] | None = None
    with_before: bool = False
    constants: Mapping[str, Callable[[Scalar], str | None]] = field(default_factory=dict)
    asks: GraphQuery | None = None

    @cached_property
    def takes_missing(self) -> bool:
        """Return True if the function is also called for missing arguments."""
        return self.with_missing or PATH in self.arguments.values()

    def types(self, count: int) -> Sequence[tuple[Kind, ...]]:
        """Return the types of `count` arguments."""
        kinds = list(self.arguments.values())
        return [*kinds, *kinds[-1:] * (count - len(kinds))]

    @cached_property
    def without(self) -> Any:
        """Return the result for a missing argument: false, or missing."""
        return False if self.result == "boolean" else MISSING

    def evaluate(self, *values: Any) -> Any:
        """Return the result for one value of each argument, of any type or missing.

        Raises
        ------
        OperandTypeError
            if a value has a type that the function does not take
        EvaluationError
            if the function itself fails
        """
        if not self.takes_missing and any(value is MISSING for value in values):
            return self.without
        for position, (kinds, value) in enumerate(zip(self.types(len(values)), values, strict=True)):
            if kinds and kinds != PATH and value is not MISSING and kind(value) not in kinds:
                raise OperandTypeError(self.name, kinds, position, kind(value))
        return self.call(*values)

    def call(self, *values: Any) -> Any:
        """Return the result for values of accepted types; raise as `evaluate` does."""
        try:
            result = self.scalar(*values)
        except (OperandTypeError, EvaluationError):
            raise
        # a function of another package may raise anything; only these values fail then
        except Exception as error:
            words = f"{type(error).__name__}: {clip_text(error, 300)}"
            raise EvaluationError(f"{self.name} raised {words}") from error
        return MISSING if result is MISSING else self._check(result)

    def _check(self, result: Any) -> Any:
        if hasattr(result, "tolist"):
            # booleans and numbers of NumPy
            result = result.tolist()
        if self.result not in ("any", kind(result)):
            raise EvaluationError(f"{self.name} gave {type(result).__name__}, not {self.result}")
        if isinstance(result, str):
            try:
                result.encode()
            except UnicodeEncodeError:
                raise EvaluationError(f"{self.name} gave half of a surrogate pair") from None
        if isinstance(result, float) and not math.isfinite(result):
            raise EvaluationError(f"{self.name} gave {result}, which no JSON number is")
        return within_64_bits(result)
