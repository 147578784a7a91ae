"""Expressions in Python: `var.owner.id != var.source_id`, with `& | ~`.

A `Var` only carries an expression. Its comparisons build further expressions instead of comparing, so it has
no truth value and is not hashable; `unwrap` returns the expression itself, which is a plain value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NoReturn

from flowdsl.errors import BuildError
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.conditions.grammar import parse_expression
from flowdsl.expressions.conditions.graph_calls import GraphCall, call_of, part_of
from flowdsl.expressions.conditions.nodes import (
    And,
    Arithmetic,
    Compare,
    ConditionLiteral,
    Expression,
    ListOf,
    Not,
    Or,
    Reference,
    negative,
)
from flowdsl.text import type_text

_NO_TRUTH: Final = (
    "write & for and, | for or, ~ for not, each comparison in parentheses; fn.is_in(x, […]) for in; (a < b) "
    "& (b < c) for a chain"
)


class Var:
    """Variable, path from a variable, or expression.

    >>> from flowdsl import fn
    >>> var.owner.id != var.source_id
    var('owner.id != source_id')
    >>> (var.data.amount * 2 > 10) & ~fn.exists(var.data["odd key"])
    var('data.amount * 2 > 10 and not exists(data["odd key"])')

    Called with text, `var` reads it as an expression: `var("owner.id != source_id")`.

    Names of the form `__x__` are Python's own; write `var["__x__"]` for such a path.
    """

    # every other attribute is a path, even `var._batch`
    __slots__ = ("__node__",)
    __node__: Expression | None
    __hash__ = None  # type: ignore[assignment]
    # makes NumPy's numbers leave `np.int64(1) == var.x` to this class
    __array_ufunc__ = None

    def __init__(self, node: Expression | None) -> None:
        self.__node__ = node

    def __getattr__(self, name: str) -> Var:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Var:
        if not isinstance(name, str):
            raise BuildError(
                f"a path steps through objects by name, not by {name!r}",
                allowed='var.data.name or var["data"]["odd name"]',
            )
        node = self.__node__
        if node is None:
            return Var(Reference((name,)))
        if isinstance(node, GraphCall):
            return Var(part_of(node, name))
        if not isinstance(node, Reference):
            raise BuildError(
                f"({node}).{name}: only a variable or a path has parts", hint=_method_hint(name, str(node))
            )
        return Var(Reference((*node.path, name)))

    def __eq__(self, other: object) -> Var:  # type: ignore[override]
        return make_comparison("==", self, other)

    def __ne__(self, other: object) -> Var:  # type: ignore[override]
        return make_comparison("!=", self, other)

    def __lt__(self, other: object) -> Var:
        return make_comparison("<", self, other)

    def __le__(self, other: object) -> Var:
        return make_comparison("<=", self, other)

    def __gt__(self, other: object) -> Var:
        return make_comparison(">", self, other)

    def __ge__(self, other: object) -> Var:
        return make_comparison(">=", self, other)

    def __add__(self, other: object) -> Var:
        return _compute("+", self, other)

    def __radd__(self, other: object) -> Var:
        return _compute("+", other, self)

    def __sub__(self, other: object) -> Var:
        return _compute("-", self, other)

    def __rsub__(self, other: object) -> Var:
        return _compute("-", other, self)

    def __mul__(self, other: object) -> Var:
        return _compute("*", self, other)

    def __rmul__(self, other: object) -> Var:
        return _compute("*", other, self)

    def __truediv__(self, other: object) -> Var:
        return _compute("/", self, other)

    def __rtruediv__(self, other: object) -> Var:
        return _compute("/", other, self)

    def __mod__(self, other: object) -> Var:
        return _compute("%", self, other)

    def __rmod__(self, other: object) -> Var:
        return _compute("%", other, self)

    def __neg__(self) -> Var:
        return Var(negative(unwrap(self)))

    def __and__(self, other: object) -> Var:
        return Var(And((unwrap(self), _node(other))))

    def __rand__(self, other: object) -> Var:
        return Var(And((_node(other), unwrap(self))))

    def __or__(self, other: object) -> Var:
        return Var(Or((unwrap(self), _node(other))))

    def __ror__(self, other: object) -> Var:
        return Var(Or((_node(other), unwrap(self))))

    def __invert__(self) -> Var:
        return Var(Not(unwrap(self)))

    def __expression__(self) -> Expression:
        if self.__node__ is None:
            raise BuildError(
                "var alone is not an expression", allowed="a variable or path of it: var.owner.id"
            )
        return self.__node__

    def __bool__(self) -> NoReturn:
        raise BuildError(f"{self!r} is neither true nor false before an event is seen", hint=_NO_TRUTH)

    def __contains__(self, item: object) -> NoReturn:
        raise BuildError(
            f"'in' cannot look into {self!r} before an event is seen",
            hint="write fn.contains(x, item) or fn.is_in(item, x)",
        )

    def __iter__(self) -> NoReturn:
        raise BuildError(
            f"{self!r} cannot be iterated over",
            hint="for_each makes a branch for each element of a list, fan_out for each link",
        )

    def __len__(self) -> NoReturn:
        raise BuildError(f"{self!r} has no length before an event is seen", hint="write fn.len(x)")

    def __call__(self, *args: object, **kwargs: object) -> Var:
        node = self.__node__
        if node is None and len(args) == 1 and isinstance(args[0], str) and not kwargs:
            return Var(parse_expression(args[0]))
        name, of = (node.path[-1], ".".join(node.path[:-1])) if isinstance(node, Reference) else ("", "")
        raise BuildError(
            f"{self!r} cannot be called",
            allowed='var("owner.id != source_id"), an expression as text' if node is None else None,
            hint=_method_hint(name, of) or "functions are fn.exists, fn.len, fn.lower …",
        )

    def __repr__(self) -> str:
        return "var" if self.__node__ is None else f"var({str(self.__node__)!r})"


def unwrap(expression: Var) -> Expression:
    """Return the expression that a `Var` holds."""
    return expression.__expression__()


def _node(value: Any) -> Expression:
    if isinstance(value, Var):
        return unwrap(value)
    if isinstance(value, Expression):
        return value
    if hasattr(value, "tolist"):
        # numbers and arrays of NumPy, columns of pandas
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        # subclasses, such as members of an enum, become what they are built on
        return ConditionLiteral(_plain(value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return ListOf(tuple(map(_item, _order(value))))
    raise BuildError(
        f"{type_text(value)} cannot stand in a condition",
        allowed="var expressions, None, booleans, numbers, text, and lists of those",
    )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return (
        next(kind(value) for kind in (int, float) if isinstance(value, kind))
        if not isinstance(value, str)
        else str.__str__(value)
    )


def _order(values: Iterable[Any]) -> list[Any]:
    # sorted, because sets have no order and equal flows must have equal text
    return sorted(values, key=repr) if isinstance(values, (set, frozenset)) else list(values)


def _item(value: Any) -> ConditionLiteral:
    node = _node(value)
    if not isinstance(node, ConditionLiteral):
        raise BuildError(
            f"a list in a condition holds constants, not {value!r}",
            hint="write (x == var.a) | (x == var.b) for variables",
        )
    return node


def make_comparison(operator: str, left: object, right: object) -> Var:
    """Return a comparison of two operands."""
    return Var(Compare(operator, _node(left), _node(right)))


def _compute(operator: str, left: object, right: object) -> Var:
    return Var(Arithmetic(operator, _node(left), _node(right)))


def make_call(function: str, *arguments: object, **named: object) -> Var:
    """Return the call of a function of conditions."""
    by_name = {name: _node(argument) for name, argument in named.items()}
    return Var(call_of(function, [_node(argument) for argument in arguments], by_name))


def _method_hint(name: str, of: str) -> str | None:
    return f"write fn.{name}(var.{of}, …)" if of and (name == "is_in" or name in FUNCTIONS) else None


var: Final = Var(None)
