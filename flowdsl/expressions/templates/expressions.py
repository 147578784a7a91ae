"""Parser of template expressions: the contents of `{{ }}` and of tags.

Tera's grammar is a PEG, whose results depend on the order in which rules are tried (`true_ish` is `true`
followed by rubbish; `a isodd` is a test). So the same rules are tried here in the same order; each remembers
its result for each position, which keeps the time linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flowdsl.expressions.templates.nodes import (
    Concat,
    Expr,
    Ident,
    Items,
    Logic,
    Math,
    Membership,
    TemplateCall,
    TemplateComparison,
    TemplateLiteral,
    Value,
)
from flowdsl.expressions.templates.operands import BOOLEAN, Operands, memoize

_BASIC_OP = re.compile(r"[-+*/%]")
_COMPARISON = re.compile(r"<=|>=|>|<|==|!=")
_LOGIC_OP = re.compile(r"(or|and)[ \t\r\n]")
_NOT = re.compile(r"not[ \t\r\n]")


class Expressions(Operands):
    """Parsing rules for expressions. Each takes a position and returns what it parsed and the next position,
    or None.
    """

    @memoize
    def any_value(self, at: int) -> tuple[Expr, int] | None:
        """Parse what is allowed in `{{ }}`, in `set` and as an argument."""
        return self.logic(at) or self.array_filtered(at)

    @memoize
    def logic(self, at: int) -> tuple[Expr, int] | None:
        """Parse values joined by `and` and `or`."""
        found = self._logic_value(at)
        if not found:
            return None
        # `and` binds tighter than `or`
        groups, (operand, end) = [[found[0]]], found
        while match := self.matched(_LOGIC_OP, "`and` or `or`", self.space(end)):
            found = self._logic_value(self.space(match.end()))
            if not found:
                break
            operand, end = found
            if match.group(1) == "or":
                groups.append([operand])
            else:
                groups[-1].append(operand)
        operands = [group[0] if len(group) == 1 else Expr(Logic("and", tuple(group))) for group in groups]
        return (operands[0] if len(operands) == 1 else Expr(Logic("or", tuple(operands)))), end

    @memoize
    def _logic_value(self, at: int) -> tuple[Expr, int] | None:
        negation = _NOT.match(self.text, at)
        start = self.space(negation.end()) if negation else at
        found = self._membership(start) or self._comparison(start)
        if found:
            # only the last `not` that was parsed counts
            return Expr(found[0].value, found[0].filters, negation is not None), found[1]
        if (inner := self.parse_parenthesised(self.logic, at)) is None:
            return None
        expr, end = inner
        return Expr(expr.value, expr.filters, negated=False), end

    @memoize
    def _membership(self, at: int) -> tuple[Expr, int] | None:
        left = self._text_filtered(at) or self.basic_filtered(at)
        if not left:
            return None
        end = self.space(left[1])
        negation = _NOT.match(self.text, end)
        end = self.literal("in", self.space(negation.end()) if negation else end) or 0
        if not end:
            return None
        end = self.space(end)
        right = self._text_filtered(end) or self.array_filtered(end)
        if not right:
            ident = self.ident(end)
            if not ident:
                return None
            right = Expr(ident[0]), ident[1]
        return Expr(Membership(left[0], right[0], negation is not None)), right[1]

    @memoize
    def _comparison(self, at: int) -> tuple[Expr, int] | None:
        left = self._text_filtered(at) or self._arithmetic(at)
        if not left:
            return None
        match = self.matched(_COMPARISON, "a comparison", self.space(left[1]))
        if match:
            after = self.space(match.end())
            right = self._text_filtered(after) or self._arithmetic(after)
            if right:
                return Expr(TemplateComparison(match.group(), left[0], right[0])), right[1]
        return left

    @memoize
    def array_filtered(self, at: int) -> tuple[Expr, int] | None:
        """Parse an array with filters."""
        if (at := self.literal("[", at) or 0) == 0:
            return None
        items: list[Expr] = []
        end = self.space(at)
        while found := self._logic_value(end):
            items.append(found[0])
            end = self.space(found[1])
            comma = self.literal(",", end)
            if comma is None:
                break
            end = self.space(comma)
        closed = self.literal("]", end)
        return None if closed is None else self.with_filters(Items(tuple(items)), closed)

    @memoize
    def _arithmetic(self, at: int) -> tuple[Expr, int] | None:
        return self._chain(self.basic_filtered, at)

    @memoize
    def basic_filtered(self, at: int) -> tuple[Expr, int] | None:
        """Parse arithmetic, and filters over all of it."""
        found = self._basic(at)
        return self.with_filters(found[0].value, found[1]) if found else None

    @memoize
    def _basic(self, at: int) -> tuple[Expr, int] | None:
        return self._chain(self._basic_operand, at)

    def _chain(self, operand: Callable[[int], tuple[Expr, int] | None], at: int) -> tuple[Expr, int] | None:
        """Parse operands with operators between them."""
        found = operand(at)
        if not found:
            return None
        operands, operators, end = [found[0]], [], found[1]
        while match := self.matched(_BASIC_OP, "an operator", self.space(end)):
            found = operand(self.space(match.end()))
            if not found:
                break
            operators.append(match.group())
            operands.append(found[0])
            end = found[1]
        return _fold(operands, operators), end

    def _basic_operand(self, at: int) -> tuple[Expr, int] | None:
        inner = self.parse_parenthesised(self._basic, at)
        if inner:
            return inner
        found = self._basic_value(at)
        return (Expr(found[0]), found[1]) if found else None

    @memoize
    def _basic_value(self, at: int) -> tuple[Value, int] | None:
        if match := BOOLEAN.match(self.text, at):
            return TemplateLiteral(match.group() in ("true", "True")), match.end()
        return self.test(at) or self.macro_call(at) or self.call(at) or self.ident(at) or self.number(at)

    @memoize
    def _text_filtered(self, at: int) -> tuple[Expr, int] | None:
        found = self._concat(at) or self.string(at)
        return self.with_filters(*found) if found else None

    @memoize
    def _concat(self, at: int) -> tuple[Value, int] | None:
        found = self._concat_part(at)
        parts: list[TemplateLiteral | Ident | TemplateCall] = []
        end = at
        while found:
            parts.append(found[0])
            end = found[1]
            tilde = self.literal("~", self.space(end))
            found = None if tilde is None else self._concat_part(self.space(tilde))
        if len(parts) < 2:
            return None
        texts = [
            part.value for part in parts if isinstance(part, TemplateLiteral) and isinstance(part.value, str)
        ]
        if len(texts) == len(parts):
            return TemplateLiteral("".join(texts)), end
        return Concat(tuple(parts)), end

    def _concat_part(self, at: int) -> tuple[TemplateLiteral | Ident | TemplateCall, int] | None:
        return self.call(at) or self.number(at) or self.string(at) or self.ident(at)


def _fold(operands: list[Expr], operators: list[str]) -> Expr:
    """Fold operands into one expression, `*`, `/` and `%` before `+` and `-`."""
    terms, signs = [operands[0]], []
    products: list[tuple[str, Expr]] = []
    for operator, operand in zip(operators, operands[1:], strict=True):
        if operator in "+-":
            terms[-1] = _product(terms[-1], products)
            terms.append(operand)
            signs.append(operator)
            products = []
        else:
            products.append((operator, operand))
    terms[-1] = _product(terms[-1], products)
    if len(terms) == 1:
        return terms[0]
    return Expr(Math(terms[0], tuple(zip(signs, terms[1:], strict=True))))


def _product(first: Expr, products: list[tuple[str, Expr]]) -> Expr:
    return Expr(Math(first, tuple(products))) if products else first
