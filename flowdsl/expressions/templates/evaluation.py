"""Scalar evaluation of template expressions, with Tera's semantics.

Tera has separate rules for the value of an expression, for its truth, and for its number. That is why
`{{ not n == 3 }}` prints the opposite of what `{% if not n == 3 %}` decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.expressions.templates.environments import Environment
from flowdsl.expressions.templates.failures import (
    Budget,
    RenderAbortError,
    RenderCrashError,
    RenderError,
    values_in,
)
from flowdsl.expressions.templates.filters import filter_of
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.nodes import (
    Concat,
    Expr,
    Ident,
    Items,
    Logic,
    MacroCall,
    Math,
    Membership,
    TemplateCall,
    TemplateComparison,
    TemplateLiteral,
    Test,
)
from flowdsl.expressions.templates.template_functions import call_function
from flowdsl.expressions.templates.tera_tests import holds
from flowdsl.expressions.templates.value_paths import bracket_names, follow_path, put_together
from flowdsl.expressions.templates.values import (
    NOTHING,
    Number,
    calculate,
    contains,
    equal,
    format_value,
    join_values,
    kind,
    number,
    steps,
    truthy,
)
from flowdsl.values.json_types import MISSING
from flowdsl.values.paths import Path, path_text

NAN: Final = "NaN"
"""What arithmetic without a result prints."""

Lookup = Callable[[Path], Any]


class Evaluator:
    """Evaluator of expressions in one context; `lookup` returns the value at a path."""

    def __init__(self, lookup: Lookup, names: Mapping[str, Any] | None = None) -> None:
        self.lookup = lookup
        self.budget = Budget()
        self.frames = [Environment(dict(names or {}), closed=True)]

    def find(self, ident: Ident) -> Any:
        """Return the value at a path, or `NOTHING`."""
        known = len(ident.path) - 1
        tail = self._tail(ident) if len(ident.steps) > known else ident.path[1:]
        if tail is None:
            return self._misread(ident)
        for frame in reversed(self.frames):
            found = frame.find(ident.root, tail, ident.text)
            if found is not NOTHING:
                return found
            if frame.closed:
                break
        value = self.lookup(ident.path)
        return NOTHING if value is MISSING else steps(_plain(value), tail[known:])

    def _tail(self, ident: Ident) -> tuple[str, ...] | None:
        """Return the names below the root, or None if Tera misreads the path."""
        if ident.odd is not None:
            return None
        tail: list[str] = []
        for step in ident.steps:
            if isinstance(step, str):
                tail.append(step)
                continue
            names = bracket_names(self.there(step), step.text)
            if names is None:
                return None
            tail += names
        return tuple(tail)

    def _misread(self, ident: Ident) -> Any:
        """Return the value at a path that Tera misreads, by reading its text as Tera does, or `NOTHING`."""
        inner = {one.text: one for one in ident.inner}

        def look_up(text: str) -> Any:
            if text not in inner:
                raise RenderError(f"variable `{text}` is missing")
            return self.there(inner[text])

        path = put_together(ident.text, look_up)
        rest = path.partition(".")[2]
        for frame in reversed(self.frames):
            found = frame.find_text(path, rest)
            if found is not NOTHING:
                return found
            if frame.closed:
                break
        value = self.lookup(ident.path)
        if value is MISSING:
            return NOTHING
        for name in reversed(ident.path[1:]):
            value = {name: value}
        return follow_path(value, rest)

    def there(self, ident: Ident) -> Any:
        """Return the value at a path; fail if there is none."""
        found = self.find(ident)
        if found is NOTHING:
            raise missing(ident)
        return found

    def value(self, expr: Expr) -> Any:
        """Return the value of an expression."""
        self.budget.charge(1)
        self.budget.enter()
        value = expr.value
        if isinstance(value, Ident):
            found = self._ident(expr, value)
            if found is NOTHING:
                # `not` before a path without a value is true; its filters are not applied
                self.budget.leave()
                return True
        elif isinstance(value, TemplateLiteral):
            found = literal_value(value)
        else:
            found = self._compose(expr)
        for call in expr.filters:
            if call.name not in ("safe", "default"):
                found = self.apply_filter(found, call)
        self.budget.leave()
        return not truthy(found) if expr.negated else found

    def _ident(self, expr: Expr, ident: Ident) -> Any:
        found = self._find_or_nothing(ident) if expr.has_default or expr.negated else self.find(ident)
        if expr.has_default and (found is NOTHING or found is None):
            if expr.default is None:
                raise RenderError("`default` needs the argument `value`")
            return self.value(expr.default)
        if found is NOTHING and not expr.negated:
            raise missing(ident)
        return found

    def _find_or_nothing(self, ident: Ident) -> Any:
        """Return the value at a path; `NOTHING` also if the evaluation of its brackets fails."""
        try:
            return self.find(ident)
        except RenderAbortError:
            raise
        except RenderError:
            return NOTHING

    def _compose(self, expr: Expr) -> Any:
        value = expr.value
        if isinstance(value, (TemplateComparison, Logic)):
            return self.truth(expr)
        if isinstance(value, Math):
            found = self._calculate(value)
            return NAN if found is None else found
        if isinstance(value, Concat):
            return self._concatenate(value)
        if isinstance(value, Test):
            return self._test(value)
        if isinstance(value, Membership):
            return self._is_member(value)
        if isinstance(value, Items):
            items = [self.value(item) for item in value.items]
            self.budget.charge(values_in(items) // 8)
            return items
        if isinstance(value, TemplateCall):
            return self.called(value)
        assert isinstance(value, MacroCall)
        return self.macro(value)

    def _concatenate(self, concat: Concat) -> str:
        pieces: list[str] = []
        for part in concat.parts:
            if isinstance(part, TemplateLiteral):
                pieces.append(format_literal(part.value))
                continue
            found = self.there(part) if isinstance(part, Ident) else self.called(part)
            piece = join_values(found)
            if piece is None:
                name = part.text if isinstance(part, Ident) else part.name
                raise RenderError(f"`~` takes text and numbers, and `{name}` is {kind(found)}")
            pieces.append(piece)
        text: str = self.budget.made("".join(pieces))
        return text

    def _is_member(self, membership: Membership) -> bool:
        item, container = self.value(membership.left), self.value(membership.right)
        if isinstance(container, list):
            self.budget.charge(len(container) // 64)
            return contains(container, item) is not membership.negated
        if not isinstance(container, (str, dict)):
            raise RenderError(f"`in` looks into text, arrays and objects, not {kind(container)}")
        if not isinstance(item, str):
            raise RenderError(f"`in` looks for text in {kind(container)}, not for {kind(item)}")
        return (item in container) is not membership.negated

    def _test(self, test: Test) -> bool:
        args = [self.value(arg) for arg in test.args]
        self.budget.charge(20 if test.name == "matching" else 0)
        found = self._find_or_nothing(test.ident)
        if isinstance(found, (str, list)):
            self.budget.charge(len(found) // 64)
        return holds(test.name, found, args, test.ident.text) is not test.negated

    def apply_filter(self, value: Any, call: TemplateCall) -> Any:
        """Apply a filter."""
        declared = filter_of(call)
        if declared is None:
            raise RenderError(f"unknown filter `{call.name}`")
        args = Arguments(call.name, {name: self.value(arg) for name, arg in call.args})
        self.budget.charge(5 + (len(value) // 64 if isinstance(value, (str, list)) else 0))
        return self.budget.made(declared.apply(value, args))

    def called(self, call: TemplateCall) -> Any:
        """Call a function."""
        args = Arguments(call.name, {name: self.value(arg) for name, arg in call.args})
        return self.budget.made(call_function(args))

    def macro(self, call: MacroCall) -> str:
        """Call a macro and return its text."""
        raise NotImplementedError

    def truth(self, expr: Expr) -> bool:
        """Return the truth of an expression; its filters apply only if it is a path."""
        self.budget.charge(1)
        self.budget.enter()
        result = self._truth(expr)
        self.budget.leave()
        # comparisons apply their own `not`
        return not result if expr.negated and not isinstance(expr.value, TemplateComparison) else result

    def _truth(self, expr: Expr) -> bool:
        value = expr.value
        if isinstance(value, Ident):
            return self._ident_truth(expr)
        if isinstance(value, TemplateLiteral):
            return bool(literal_value(value))
        if isinstance(value, Math):
            return bool(self._calculate(value))
        if isinstance(value, Logic):
            return self._logic(value)
        if isinstance(value, TemplateComparison):
            return self._compare(value, expr.negated)
        if isinstance(value, Test):
            return self._test(value)
        if isinstance(value, Membership):
            return self._is_member(value)
        if isinstance(value, Concat):
            return self._concat_truth(expr)
        if isinstance(value, MacroCall):
            return bool(self.macro(value))
        assert isinstance(value, TemplateCall)
        return self._call_truth(value)

    def _logic(self, logic: Logic) -> bool:
        return (any if logic.op == "or" else all)(map(self.truth, logic.operands))

    def _call_truth(self, call: TemplateCall) -> bool:
        found = self.called(call)
        if not isinstance(found, bool):
            raise RenderError(f"`{call.name}` is not a condition: it gives {kind(found)}")
        return found

    def _concat_truth(self, expr: Expr) -> bool:
        found = self.value(expr)
        if not isinstance(found, str):
            raise RenderCrashError("a condition is a `~` with `not`, or with a filter that gives no text")
        return bool(found)

    def _ident_truth(self, expr: Expr) -> bool:
        depth = self.budget.depth
        try:
            found = truthy(self.value(expr))
        except RenderAbortError:
            raise
        except RenderError:
            self.budget.depth = depth
            found = False
        # `value` has applied `not`, and so will the caller: undo the first
        return found is not expr.negated

    def _compare(self, compare: TemplateComparison, negated: bool) -> bool:
        if compare.op in ("==", "!="):
            left, right = self.value(compare.left), self.value(compare.right)
            return equality(compare.op, left, right, negated=negated)
        left, right = self.number(compare.left), self.number(compare.right)
        if left is None or right is None:
            raise RenderError(f"`{compare.op}` cannot compare NaN")
        return ordering(compare.op, float(left), float(right)) is not negated

    def number(self, expr: Expr) -> Number | None:
        """Return the expression as a number, None for NaN; fail for anything else."""
        self.budget.charge(1)
        value = expr.value
        if expr.filters:
            found = number(self.value(expr))
            if found is None:
                raise RenderError("an operator takes numbers, and a filter gave none")
            return found
        if isinstance(value, Math):
            self.budget.enter()
            result = self._calculate(value)
            self.budget.leave()
            return result
        if isinstance(value, MacroCall):
            raise RenderCrashError("arithmetic with a macro")
        if isinstance(value, (Ident, TemplateCall)):
            given = self.there(value) if isinstance(value, Ident) else self.called(value)
            name = value.text if isinstance(value, Ident) else value.name
        else:
            given, name = literal_value(value) if isinstance(value, TemplateLiteral) else NAN, "a value"
        found = number(given)
        if found is None:
            raise RenderError(f"an operator takes numbers, and `{name}` is {kind(given)}")
        return found

    def _calculate(self, math: Math) -> Number | None:
        result = self.number(math.first)
        for op, operand in math.rest:
            right = self.number(operand)
            result = None if result is None or right is None else calculate(op, result, right)
        return result


def missing(ident: Ident) -> RenderError:
    """Return the failure of a path without a value."""
    return RenderError(f"variable `{ident.text if ident.rest else path_text(ident.path)}` is missing")


def literal_value(literal: TemplateLiteral) -> str | int | float | bool:
    """Return the value of a literal; Tera crashes at a number beyond all floats."""
    if literal.value in (math.inf, -math.inf):
        raise RenderCrashError("a number is beyond all numbers")
    return literal.value


def format_literal(value: str | int | float | bool) -> str:
    """Print a literal like `~` does: floats as `{{ }}` prints them, unlike those of variables."""
    return str(value) if value in (math.inf, -math.inf) else format_value(value)


def equality(op: str, left: Any, right: Any, *, negated: bool = False) -> bool:
    """Evaluate `==` or `!=`, possibly negated; numbers are compared as 64-bit floats.

    Between a number and anything else the result is false, even if negated: Tera returns before it applies
    the `not`.
    """
    a, b = number(left), number(right)
    wanted = (op == "==") is not negated
    if a is None and b is None:
        return equal(left, right) is wanted
    if a is None or b is None:
        return False
    return (float(a) == float(b)) is wanted


def ordering(op: str, left: float, right: float) -> bool:
    """Evaluate `<`, `<=`, `>` or `>=`."""
    if op in ("<", ">"):
        return left < right if op == "<" else left > right
    return left <= right if op == "<=" else left >= right


def _plain(value: Any) -> Any:
    """Convert a value of the context to JSON, which has no NaN and no infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
