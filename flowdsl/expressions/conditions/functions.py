"""Declarations of the functions of the condition language; other packages add some (`flowdsl.functions`).

A declaration has the types of the arguments, the function for single values and, optionally, one for columns.
Without the latter, and for rows that it leaves open, the function is called once for each distinct
combination of values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from flowdsl.expressions.conditions.semantics import OperandTypeError, equal, kind, within_64_bits
from flowdsl.expressions.conditions.typecheck import EvaluationError, Scalar, clipped
from flowdsl.registry import Registry, instance_problem, late
from flowdsl.values.missing import MISSING

if TYPE_CHECKING:
    from flowdsl.expressions.conditions.operands import Where
    from flowdsl.values.columns import Column

Kind = Literal["boolean", "number", "text", "null", "array", "object", "path"]
ANY: Final[tuple[Kind, ...]] = ()
PATH: Final[tuple[Kind, ...]] = ("path",)
"""The type of an argument that must be a path; such a function is also asked where the path is missing."""

Vectorized = Callable[..., "tuple[Column, Where]"]
"""A form for columns: takes the number of rows and an operand an argument, and returns the results and the rows left open.

What it returns for rows that are missing or of a wrong type does not matter.
"""


@dataclass(frozen=True, eq=False)
class Function:
    """Declaration of a function of the condition language.

    Parameters
    ----------
    name
        what it is called in conditions, and as a method of `fn`
    doc
        a sentence that says what it gives
    usage
        a call, such as `lower(owner.name)`
    arguments
        for each argument the types that it may have: `boolean`, `number`, `text`, `array`, `object`; empty
        for any
    result
        the type of every result; a result may also be missing
    scalar
        what it gives for one value of each argument, which are of these types and not missing
    vectorized
        the same for columns
    portable
        whether production has it, written behind its path: `a.b exists`
    defaults
        constants for the last arguments, which may be left out and are given by name: `bucket(x, 10, salt="a")`

    >>> Function("double", "Twice the number.", "double(data.n)", {"number": ("number",)}, "number", lambda n: 2 * n).evaluate(4)
    8
    """

    name: str
    doc: str
    usage: str
    arguments: Mapping[str, tuple[Kind, ...]]
    result: Literal["boolean", "number", "text"]
    scalar: Callable[..., Any]
    vectorized: Vectorized | None = None
    portable: bool = False
    defaults: Mapping[str, Scalar] = field(default_factory=dict)

    @cached_property
    def takes_missing(self) -> bool:
        """Return whether it is called where an argument is missing."""
        return PATH in self.arguments.values()

    @cached_property
    def without(self) -> Any:
        """Return the result where an argument is missing: false, or missing."""
        return False if self.result == "boolean" else MISSING

    def evaluate(self, *values: Any) -> Any:
        """Return the result for one value of each argument, of any type or missing.

        Raises
        ------
        OperandTypeError
            where a value has a type that it does not take
        EvaluationError
            where the function itself fails
        """
        if not self.takes_missing and any(value is MISSING for value in values):
            return self.without
        for position, (kinds, value) in enumerate(zip(self.arguments.values(), values, strict=True)):
            if kinds and kinds != PATH and kind(value) not in kinds:
                raise OperandTypeError(self.name, kinds, position, kind(value))
        return self.call(*values)

    def call(self, *values: Any) -> Any:
        """Return the result for values that it takes; raises as `evaluate`."""
        try:
            result = self.scalar(*values)
        except (OperandTypeError, EvaluationError):
            raise
        # a function of somebody else may raise anything, and that is a failure of these values only
        except Exception as error:
            words = f"{type(error).__name__}: {clipped(error, 300)}"
            raise EvaluationError(f"{self.name} raised {words}") from error
        return MISSING if result is MISSING else self._checked(result)

    def _checked(self, result: Any) -> Any:
        if hasattr(result, "tolist"):
            # booleans and numbers of NumPy
            result = result.tolist()
        if kind(result) != self.result:
            raise EvaluationError(f"{self.name} gave {type(result).__name__}, not {self.result}")
        if self.result == "text":
            try:
                result.encode()
            except UnicodeEncodeError:
                raise EvaluationError(f"{self.name} gave half of a surrogate pair") from None
        if isinstance(result, float) and not math.isfinite(result):
            raise EvaluationError(f"{self.name} gave {result}, which no JSON number is")
        return within_64_bits(result)


def _contains(whole: Any, part: Any, *, name: str = "contains", position: int = 1) -> bool:
    if isinstance(whole, str):
        if not isinstance(part, str):
            raise OperandTypeError(name, ("text",), position, kind(part))
        return part in whole
    return any(equal(item, part) for item in whole)


def _column(name: str) -> Vectorized:
    return late("flowdsl.expressions.conditions.function_columns", name)


_OWN: Final = (
    Function(
        "exists",
        "Test whether a path has a value; null is one.",
        "exists(owner.email)",
        {"path": PATH},
        "boolean",
        lambda value: value is not MISSING,
        _column("exists"),
        portable=True,
    ),
    Function(
        "len",
        "Return the number of characters of text, items of an array, or fields of an object.",
        "len(data.tags)",
        {"value": ("text", "array", "object")},
        "number",
        len,
        _column("length"),
    ),
    Function(
        "lower",
        "Convert text to lower case.",
        "lower(owner.name)",
        {"text": ("text",)},
        "text",
        str.lower,
        _column("lower"),
    ),
    Function(
        "upper",
        "Convert text to upper case.",
        "upper(owner.name)",
        {"text": ("text",)},
        "text",
        str.upper,
        _column("upper"),
    ),
    Function(
        "startswith",
        "Test whether a text starts with another.",
        'startswith(owner.name, "a")',
        {"text": ("text",), "prefix": ("text",)},
        "boolean",
        str.startswith,
        _column("startswith"),
    ),
    Function(
        "endswith",
        "Test whether a text ends with another.",
        'endswith(owner.name, "z")',
        {"text": ("text",), "suffix": ("text",)},
        "boolean",
        str.endswith,
        _column("endswith"),
    ),
    Function(
        "contains",
        "Test whether a text contains another text, or an array a value.",
        'contains(data.tags, "new")',
        {"whole": ("text", "array"), "part": ANY},
        "boolean",
        _contains,
        _column("contains"),
    ),
)
FUNCTIONS: Final[Registry[Function]] = Registry(
    "flowdsl.functions", {function.name: function for function in _OWN}, instance_problem(Function)
)
"""The functions by name, those of other packages behind flowdsl's own."""

MEMBERSHIP: Final = Function(
    "'in'",
    "Test whether a value is in an array, or part of a text.",
    "data.kind in data.kinds",
    {"part": ANY, "whole": ("array", "text")},
    "boolean",
    lambda part, whole: _contains(whole, part, name="'in'", position=0),
    _column("within"),
)
"""The operator `in`, which is `contains` turned around."""
