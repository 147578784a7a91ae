"""Values collected from the members of a window: a list with one per member, or one aggregate of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from flowdsl.errors import BuildError, ConditionError, did_you_mean
from flowdsl.expressions.conditions import Expression, lexer, parse_expression
from flowdsl.expressions.conditions.nodes import ListOf
from flowdsl.expressions.conditions.typecheck import require
from flowdsl.expressions.var import Var, unwrap
from flowdsl.text import short_repr
from flowdsl.values.paths import Path

AGGREGATES: Final = {
    "sum": "Return the sum of numbers; that of integers is exact.",
    "min": "Return the least number.",
    "max": "Return the greatest number.",
    "first": "Return the first value.",
    "last": "Return the last value.",
    "unique": "Return the list of different values, each where it came first.",
    "count": "Return how many values there are.",
}
"""Functions of all values of an expression in a window; those that are missing are left out."""
OF_NUMBERS: Final = ("sum", "min", "max")
_OTHERS: Final[dict[str, str]] = {
    **dict.fromkeys(("avg", "average", "mean"), "collect sum(…) and count(…), and divide after the batch"),
    **dict.fromkeys(("list", "collect", "array", "all"), "an expression without a function gives the list"),
}
_USAGE: Final = ", ".join(f"{name}(…)" for name in AGGREGATES)


def guess_aggregate(name: str) -> str | None:
    """Return a hint for the name of an aggregate that does not exist; None if no aggregate is similar."""
    return did_you_mean(name, AGGREGATES) or _OTHERS.get(name.casefold())


@dataclass(frozen=True)
class Aggregate:
    """One value computed from the values of an expression for all members of a window.

    >>> from flowdsl import fn, var
    >>> fn.sum(var.data.amount * 2)
    fn.sum('data.amount * 2')
    """

    function: str
    expression: Expression

    def __post_init__(self) -> None:
        if self.function in OF_NUMBERS:
            require(self.function, ("number",), self.expression)

    @property
    def paths(self) -> frozenset[Path]:
        """Return the paths that the expression reads."""
        return self.expression.paths

    def __str__(self) -> str:
        return f"{self.function}({self.expression})"

    def _alone(self, other: object) -> NoReturn:
        raise BuildError(
            f"{self!r} is one value of a whole window, and cannot be part of an expression",
            allowed="collect={'total': fn.sum(var.data.amount)}",
            hint="after the batch it is batch.total: compare and compute with that",
        )

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _alone
    __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __and__ = __rand__ = __or__ = __ror__ = _alone

    def __repr__(self) -> str:
        return f"fn.{self.function}({str(self.expression)!r})"


Collected = Expression | Aggregate


def aggregate(function: str, value: object) -> Aggregate:
    """Build an aggregate from the name of its function and a Python expression."""
    return Aggregate(function, _expression(value, f"fn.{function} takes"))


def parse_collected(value: object, what: str) -> Collected:
    """Parse what is collected under a name: a `var` expression, its text, or an aggregate of one.

    >>> str(parse_collected("sum( data.amount )", "total"))
    'sum(data.amount)'
    >>> str(parse_collected("fan.name", "names"))
    'fan.name'
    """
    if isinstance(value, Aggregate):
        return value
    if isinstance(value, str):
        return _parse(value)
    return _expression(value, f"{what} is")


def _expression(value: object, what: str) -> Expression:
    found = parse_expression(value) if isinstance(value, str) else value
    if isinstance(found, Var):
        found = unwrap(found)
    if not isinstance(found, Expression) or isinstance(found, ListOf):
        raise BuildError(
            f"{what} {short_repr(value, 200)}, which is not an expression",
            allowed="an expression built with var, its text, or an aggregate of one: fn.sum(var.data.amount)",
        )
    return found


def _is_one_call(tokens: Sequence[lexer.Token]) -> bool:
    """Return True if the tokens are one call with one argument, and nothing after it."""
    depth = 0
    signs = [(place, token.text) for place, token in enumerate(tokens) if token.kind == "sign"]
    for place, sign in signs if signs[:1] == [(1, "(")] else ():
        depth += (sign in ("(", "[")) - (sign in (")", "]"))
        if depth == 1 and sign == ",":
            return False
        if depth == 0:
            return place == len(tokens) - 2 and sign == ")"
    return False


def _parse(text: str) -> Collected:
    tokens = lexer.tokens(text)
    called = tokens[0].text if tokens else ""
    if called in AGGREGATES and _is_one_call(tokens):
        inner = text[tokens[1].start + 1 : tokens[-2].start]
        if not inner.strip():
            raise ConditionError(f"{called} takes an expression", allowed=f"{called}(data.amount)")
        return Aggregate(called, _expression(inner, f"{called} takes"))
    try:
        return _expression(text, "it is")
    except ConditionError as error:
        alone = next((name for name in AGGREGATES if f"no function {name!r}" in error.what), None)
        if alone is None and "there is no function" in error.what:
            name = error.what.partition("'")[2].partition("'")[0]
            error.allowed = f"{_USAGE}, or a function for each value: {error.allowed}"
            error.hint = guess_aggregate(name) or error.hint
        if alone is not None:
            error.allowed = f"an expression, or one aggregate of it alone: {_USAGE}"
            error.hint = (
                f"{alone} gives one value for the whole window, and nothing can be computed with it here"
            )
        raise
