"""Comparisons with the same result for every event: of types that are never equal, or with numbers out of a
function's range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.conditions.nodes import Compare, ConditionLiteral, Expression, FunctionCall, ListOf
from flowdsl.expressions.conditions.semantics import ORDERS
from flowdsl.expressions.conditions.typecheck import clip_text, phrase

KindOf = Callable[[Expression], str | None]
"""Returns the type of an expression; None if it depends on the event."""
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Decided:
    """A comparison with the same result for every event, and why."""

    node: Compare
    always: bool
    reason: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{clip_text(self.node)} is {'always' if self.always else 'never'} true: {self.reason}"


def find_decided(expression: Expression, kind_of: KindOf) -> Iterator[Decided]:
    """Yield the comparisons in an expression with the same result for every event that has all values they
    read.
    """
    for node in expression.walk():
        if isinstance(node, Compare):
            verdict = _membership(node, kind_of) if node.operator == "in" else _comparison(node, kind_of)
            if verdict is not None:
                yield verdict


def _comparison(node: Compare, kind_of: KindOf) -> Decided | None:
    for one, other, sign in (
        (node.left, node.right, node.operator),
        (node.right, node.left, _TURNED.get(node.operator, node.operator)),
    ):
        if isinstance(other, ConditionLiteral):
            verdict = _against(node, one, other, sign, kind_of)
            if verdict is not None:
                return verdict
    kinds = kind_of(node.left), kind_of(node.right)
    if None in kinds or kinds[0] == kinds[1]:
        return None
    words = [
        f"{clip_text(side)} is {phrase(str(kind))}" for side, kind in zip(node.children, kinds, strict=True)
    ]
    return Decided(node, node.operator == "!=", f"{words[0]}, and {words[1]}", "compare values of one type")


def _against(
    node: Compare, side: Expression, constant: ConditionLiteral, sign: str, kind_of: KindOf
) -> Decided | None:
    """Return the outcome, and why, of comparing a side with a constant, if it is always the same."""
    kind = kind_of(side)
    if kind is None or isinstance(side, ConditionLiteral):
        return None
    if kind != constant.kind:
        reason = f"{clip_text(side)} is {phrase(kind)}, and {constant} is {phrase(str(constant.kind))}"
        return Decided(node, sign == "!=", reason, _hint(side, constant, kind))
    if kind == "number":
        always = _in_bounds(side, constant, sign)
        if always is not None:
            reason = f"{clip_text(side)} is {_bounds_text(side)}"
            return Decided(node, always, reason, _gives(side))
    if kind == "text" and sign in ("==", "!=") and not _has_form(side, constant):
        reason = f"{constant} is not text that {clip_text(side)} gives"
        return Decided(node, sign == "!=", reason, _gives(side))
    return None


def _membership(node: Compare, kind_of: KindOf) -> Decided | None:
    if not isinstance(node.right, ListOf) or not node.right.items:
        return None
    alone = [Compare("==", node.left, item) for item in node.right.items]
    members = [_comparison(one, kind_of) for one in alone]
    if any(one is None for one in members):
        return None
    first = members[0]
    return None if first is None else Decided(node, first.always, first.reason, first.hint)


def _in_bounds(side: Expression, constant: ConditionLiteral, sign: str) -> bool | None:
    """Return the outcome of a comparison of a function with a number, if the function's bounds decide it."""
    bounds = _bounds(side)
    if bounds is None:
        return None
    value = constant.value
    assert isinstance(value, (int, float)), "of its kind"
    least, most = bounds
    if sign in ("==", "!="):
        beyond = (least is not None and value < least) or (most is not None and value > most)
        broken = isinstance(side, FunctionCall) and FUNCTIONS[side.function].natural and value % 1
        return (sign == "!=") if beyond or broken else None
    ends = [None if end is None else ORDERS[sign](end, value) for end in bounds]
    # a comparison that holds at the worst end holds for all values in between
    worst, best = ends if sign in (">", ">=") else reversed(ends)
    return True if worst else False if best is False else None


def _bounds(side: Expression) -> tuple[float | None, float | None] | None:
    if not isinstance(side, FunctionCall):
        return None
    known = FUNCTIONS[side.function]
    if known.within is None:
        return (0, None) if known.natural else None
    if known.several:
        return known.within()
    constants = (one.value if isinstance(one, ConditionLiteral) else None for one in side.arguments)
    return known.within(*constants)


def _bounds_text(side: Expression) -> str:
    least, most = _bounds(side) or (None, None)
    whole = isinstance(side, FunctionCall) and FUNCTIONS[side.function].natural
    what = "a whole number" if whole else "a number"
    return f"{what} from {least:g} on" if most is None else f"{what} from {least:g} to {most:g}"


def _has_form(side: Expression, constant: ConditionLiteral) -> bool:
    form = FUNCTIONS[side.function].form if isinstance(side, FunctionCall) else None
    return form is None or form.fullmatch(str(constant.value)) is not None


def _gives(side: Expression) -> str | None:
    """Return a hint on what a function returns, from its declaration; None for other expressions."""
    if not isinstance(side, FunctionCall):
        return None
    first, _, rest = FUNCTIONS[side.function].doc.partition(" ")
    return f"{side.function} gives {rest.rstrip('.')}" if first == "Return" else None


def _hint(side: Expression, constant: ConditionLiteral, kind: str) -> str | None:
    text = constant.value
    if kind == "number" and isinstance(text, str) and text.strip().lstrip("-").isdigit():
        return f"write {text.strip()} without quotes"
    if kind == "boolean" and text in ("true", "false", "True", "False"):
        return f"write {str(text).lower()} without quotes"
    if kind == "text" and constant.kind == "number":
        return f'write "{constant}" in quotes'
    if text is None:
        return f"exists({clip_text(side)}) asks whether it is there" if side.locates else None
    if kind == "array" and constant.kind == "number":
        return f"len({clip_text(side)}) is how many there are"
    return _gives(side) or "compare values of one type"
