"""Lowering of conditions to production's: `a == b`, `a != b`, `a exists`, `a not_exists`, one per filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.conditions.graph_calls import graph_calls
from flowdsl.expressions.conditions.nodes import (
    NAME,
    RESERVED,
    And,
    Compare,
    ConditionLiteral,
    FunctionCall,
    ListOf,
    Not,
    Or,
    Reference,
)
from flowdsl.production.export_errors import StepExportScope

ALLOWED: Final = (
    "a == b, a != b, a exists, a not_exists; a is a path, b a path, a number, text, true, false or null"
)
_OPPOSITE: Final = {"==": "!=", "!=": "=="}
# names of variables that production would read as numbers
_NUMBERS: Final = frozenset(("inf", "infinity", "nan"))


def lower_conditions(condition: Condition, names: StepExportScope) -> list[Condition]:
    """Return the filters that together mean the same as a condition; report what cannot be lowered to
    `names`.
    """
    expression = condition.expression
    if expression is None:
        names.refuse(
            f"{condition.text} is a Python function, and production runs none",
            allowed=ALLOWED,
            hint='write the condition as text, such as "owner.id != source_id"',
        )
        return []
    return [Condition(part) for part in _parts(expression, names, negated=False)]


def condition_text(condition: Condition) -> str:
    """Return the text of a lowered condition.

    >>> print(condition_text(Condition.of("name == 'say \\"hi\\"'")))
    name == 'say "hi"'
    >>> print(condition_text(Condition.of("not exists(a.b)")))
    a.b not_exists
    """
    if condition.foreign is not None:
        return condition.foreign.text
    node = condition.expression
    if isinstance(node, Not) and isinstance(node.operand, FunctionCall):
        return f"{node.operand.arguments[0]} not_{node.operand.function}"
    if isinstance(node, FunctionCall):
        return f"{node.arguments[0]} {node.function}"
    assert isinstance(node, Compare)
    right = node.right
    shown = (
        _quote(right.value)
        if isinstance(right, ConditionLiteral) and isinstance(right.value, str)
        else str(right)
    )
    return f"{node.left} {node.operator} {shown}"


def _parts(node: Expression, names: StepExportScope, *, negated: bool) -> Iterator[Expression]:
    """Return the comparisons whose conjunction is the condition (or its negation, if `negated`).

    None of them can fail, so it does not matter that a filter ends what `and` would go on with.
    """
    if isinstance(node, Not):
        yield from _parts(node.operand, names, negated=not negated)
    elif isinstance(node, Or if negated else And):
        for operand in node.children:
            yield from _parts(operand, names, negated=negated)
    elif isinstance(node, Compare):
        yield from _comparisons(node, names, negated=negated)
    elif (
        isinstance(node, FunctionCall)
        and FUNCTIONS[node.function].portable
        and isinstance(node.arguments[0], Reference)
    ):
        call = FunctionCall(node.function, (_reference(node.arguments[0], names),))
        yield Not(call) if negated else call
    else:
        _refuse(node, names, negated=negated)


def _comparisons(node: Compare, names: StepExportScope, *, negated: bool) -> Iterator[Expression]:
    """Lower a comparison: `x in [a]` to `x == a`, and `x not in [a, b]` to `x != a` and `x != b`."""
    if node.operator in _OPPOSITE:
        operator = _OPPOSITE[node.operator] if negated else node.operator
        yield from _compare(operator, node.left, node.right, names)
        return
    items = (
        dict.fromkeys(node.right.items) if node.operator == "in" and isinstance(node.right, ListOf) else {}
    )
    if not items or (len(items) > 1 and not negated):
        _refuse(node, names, negated=negated)
        return
    for item in items:
        yield from _compare("!=" if negated else "==", node.left, item, names)


def _compare(
    operator: str, left: Expression, right: Expression, names: StepExportScope
) -> Iterator[Expression]:
    if isinstance(left, ConditionLiteral) and isinstance(right, Reference):
        left, right = right, left
    node = Compare(operator, left, right)
    if not isinstance(left, Reference) or not isinstance(right, (Reference, ConditionLiteral)):
        _refuse(node, names, negated=False)
        return
    left = _reference(left, names)
    if isinstance(right, ConditionLiteral):
        _check_constant(operator, right, names)
    else:
        right = _reference(right, names)
        if str(right).lower() in _NUMBERS or str(right) in ("exists", "not_exists"):
            what = "a number" if str(right).lower() in _NUMBERS else "an operator"
            names.refuse(
                f"production takes {str(right)!r} on the right of {operator!r} for {what}",
                hint="turn the comparison around"
                if str(left).lower() not in _NUMBERS
                else "rename the variable",
            )
    yield Compare(operator, left, right)


def _reference(node: Expression, names: StepExportScope) -> Reference:
    assert isinstance(node, Reference)
    path = node.path
    if path[0] in RESERVED or not all(map(NAME.fullmatch, path)):
        names.refuse(
            f"the path {node} has a part that is not a plain name, which production's conditions cannot say",
            allowed="letters, digits and underscores, joined by dots",
        )
    return Reference(names.path(path))


def _check_constant(operator: str, constant: ConditionLiteral, names: StepExportScope) -> None:
    """Reject text that production would read differently: its conditions have no escapes."""
    text = constant.value
    if not isinstance(text, str):
        return
    found = None
    if "\\" in text or "\n" in text:
        found = "a backslash or a line break, which would need an escape"
    elif '"' in text and "'" in text:
        found = "both kinds of quotes"
    elif operator == "==" and " != " in text:
        found = "' != ', at which production splits a condition first"
    if found:
        names.refuse(
            f"the text {constant} holds {found}",
            allowed="text that needs no escapes in quotes",
            hint="compare with another field, or let the events carry a simpler value",
        )


def _quote(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'


def _refuse(node: Expression, names: StepExportScope, *, negated: bool) -> None:
    what, hint = _reason(node, negated=negated)
    shown = f"not ({node})" if negated else str(node)
    names.refuse(f"production cannot say {shown!r}: {what}", allowed=ALLOWED, hint=hint)


def _reason(node: Expression, *, negated: bool) -> tuple[str, str | None]:
    if isinstance(node, (Or, And)):
        return "one filter is one comparison, and there is no 'or'", _two_flows(node, negated=negated)
    if isinstance(node, Reference):
        return (
            "a variable alone is not a condition there",
            f"write {node} == {'false' if negated else 'true'}",
        )
    if isinstance(node, ConditionLiteral):
        always = bool(node.value) != negated
        return "a constant is not a condition there", "leave the step out" if always else "leave the flow out"
    if isinstance(node, FunctionCall):
        return _without(node), _computed_hint(node)
    if not isinstance(node, Compare):
        return "there is no arithmetic", _computed_hint(node)
    return _comparison_reason(node, negated=negated)


def _two_flows(node: Or | And, *, negated: bool) -> str:
    first, *rest = node.operands
    more = type(node)(tuple(rest)) if len(rest) > 1 else rest[0]
    one, other, last = str(first), f"not ({first})", str(more)
    if negated:
        one, other, last = other, one, f"not ({more})"
    return f"make two flows: one where {one}; one where {other}, and where {last}"


def _membership_reason(left: Expression, items: ListOf, *, negated: bool) -> tuple[str, str | None]:
    values = [f"{left} == {item}" for item in dict.fromkeys(items.items)]
    if not values:
        return "nothing is in an empty list", "leave the step out" if negated else "leave the flow out"
    return "there is no 'in'", f"make a flow for each value: {'; '.join(values)}"


def _comparison_reason(node: Compare, *, negated: bool) -> tuple[str, str | None]:
    if node.operator == "in" and isinstance(node.right, ListOf):
        return _membership_reason(node.left, node.right, negated=negated)
    if node.operator not in _OPPOSITE:
        return f"there is no {node.operator!r}", _computed_hint(node)
    sides = (node.left, node.right)
    if all(isinstance(side, ConditionLiteral) for side in sides):
        return "the left side is always a path there", "leave the step out if it always holds"
    inner = next(side for side in sides if not isinstance(side, (Reference, ConditionLiteral)))
    if isinstance(inner, ListOf):
        return "there are no lists", None
    what = _without(inner) if isinstance(inner, FunctionCall) else "there is nothing to compute with"
    return what, _computed_hint(node)


def _without(call: FunctionCall) -> str:
    asks = sorted(call.function for call in graph_calls(call))
    return (
        f"a condition there asks no graph, and there is no {asks[0]}()"
        if asks
        else f"there is no {call.function}()"
    )


def _computed_hint(node: Expression) -> str:
    asked = sorted(graph_calls(node), key=str)
    if asked:
        return asked[0].asks.nearest
    found = (part for part in node.walk() if isinstance(part, Reference) and part.path[0] != "before")
    paths = sorted(map(str, found))
    of = f" along with {paths[0]}" if paths else ""
    return f"let the events carry the answer{of}, and compare that: data.flag == true"
