"""Parser of conditions: a Pratt parser, which keeps operator precedence in a table.

Loosest first: `or`, `and`, `not`, comparisons and `in`, `+ -`, `* / %`, the sign `-`, and then paths,
constants, calls and parentheses. That is Python's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from flowdsl.errors import ConditionError, did_you_mean
from flowdsl.expressions.conditions import lexer
from flowdsl.expressions.conditions.functions import FUNCTIONS, guess_function
from flowdsl.expressions.conditions.graph_calls import call_of, part_of
from flowdsl.expressions.conditions.lexer import Token, syntax_error
from flowdsl.expressions.conditions.nodes import (
    MAX_DEPTH,
    RESERVED,
    And,
    Arithmetic,
    Compare,
    ConditionLiteral,
    Expression,
    FunctionCall,
    ListOf,
    Not,
    Or,
    Reference,
    negative,
)

_CONSTANTS: Final = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_INFIX: Final = {"or": 2, "and": 3, "+": 6, "-": 6, "*": 7, "/": 7, "%": 7}
_NOT, _COMPARISON, _SIGN = 4, 5, 8
_COMPARISONS: Final = frozenset(("==", "!=", "<", "<=", ">", ">=", "in", "not in"))
_WORDS: Final = {
    "is": "write == null, exists(path) or not exists(path)",
    "like": "write startswith(x, s), endswith(x, s) or contains(x, s)",
    "between": "write x >= a and x <= b",
    "if": "a condition is one expression without 'if'",
}


def parse_expression(source: str) -> Expression:
    """Parse the text of an expression.

    >>> parse_expression("owner.id != source_id")
    Compare(operator='!=', left=Reference(path=('owner', 'id')), right=Reference(path=('source_id',)))
    """
    parser = _Parser(source)
    expression = parser.expression(0)
    parser.finish()
    return expression


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = lexer.tokens(source)
        self.at = 0
        self.depth = 0
        if len(self.tokens) == 1:
            raise ConditionError("a condition is empty", hint="write true for one that always holds")

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def takes(self, *texts: str) -> bool:
        """Consume the next token if it is one of these words or signs; return whether it was."""
        if self.token.kind in ("word", "sign") and self.token.text in texts:
            self.at += 1
            return True
        return False

    def expect(self, sign: str, opened: Token) -> None:
        if not self.takes(sign):
            if self.token.kind == "end":
                raise syntax_error(self.source, opened.start, f"{opened.text!r} that is never closed")
            raise self.unexpected(allowed=f"{sign!r} or an operator")

    def error(
        self, token: Token, what: str, *, allowed: str | None = None, hint: str | None = None
    ) -> ConditionError:
        return syntax_error(self.source, token.start, what, allowed=allowed, hint=hint)

    def unexpected(self, *, allowed: str, in_path: bool = False) -> ConditionError:
        token = self.token
        if token.kind == "end":
            return self.error(token, "the condition ends too early", allowed=allowed)
        hint = "equality is ==" if token.text == "=" else None
        if token.kind == "number" and in_path:
            hint = lexer.NO_ITEMS
        if token.kind == "word":
            hint = _WORDS.get(token.text.lower())
            if token.text.lower() in ("and", "or", "not", "in"):
                hint = f"write {token.text.lower()!r}"
            if token.text in FUNCTIONS:
                hint = f"write {FUNCTIONS[token.text].usage}"
            hint = hint or did_you_mean(token.text, ("exists", "not_exists", "and", "or", "not in"))
        return self.error(token, f"unexpected {token.text[:40]!r}", allowed=allowed, hint=hint)

    def finish(self) -> None:
        if self.token.kind == "end":
            return
        if self.token.text in (")", "]"):
            raise self.error(self.token, f"{self.token.text!r} that was never opened")
        raise self.unexpected(allowed="an operator, or the end")

    def expression(self, least: int) -> Expression:
        """Parse an expression whose operators all bind more tightly than `least`."""
        self.depth += 1
        # a node can take two levels of text: one for its operator, one for parentheses
        if self.depth > 2 * MAX_DEPTH + 2:
            raise self.error(
                self.token,
                f"a condition is nested deeper than {MAX_DEPTH} levels",
                allowed=f"at most {MAX_DEPTH} levels",
            )
        left = self.prefix(least)
        compared = False
        while True:
            start = self.at
            operator = self.infix(least)
            if operator is None:
                break
            token = self.tokens[start]
            if operator in _COMPARISONS:
                if compared:
                    raise self.error(
                        token,
                        "comparisons in a chain",
                        hint="write a < b and b < c, or put one comparison in parentheses",
                    )
                compared = True
            left = self.joined(token, operator, left)
        self.depth -= 1
        return left

    def infix(self, least: int) -> str | None:
        """Consume the next operator if it binds more tightly than `least`."""
        text = self.token.text
        if self.token.kind not in ("word", "sign"):
            return None
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if text == "not" and following.text == "in" and following.kind == "word":
            text = "not in"
        binding = _COMPARISON if text in _COMPARISONS else _INFIX.get(text, 0)
        if binding <= least:
            return None
        self.at += 2 if text == "not in" else 1
        return text

    def joined(self, token: Token, operator: str, left: Expression) -> Expression:
        if operator in _COMPARISONS:
            right = self.expression(_COMPARISON)
            if operator == "not in":
                return Not(self.place(token, Compare, "in", left, right))
            return self.place(token, Compare, operator, left, right)
        if operator == "-":
            self.check_hyphen(token, left)
        if operator in ("and", "or"):
            operands = [left, self.expression(_INFIX[operator])]
            while self.takes(operator):
                operands.append(self.expression(_INFIX[operator]))
            return self.place(token, And if operator == "and" else Or, tuple(operands))
        return self.place(token, Arithmetic, operator, left, self.expression(_INFIX[operator]))

    def place(self, token: Token, make: Callable[..., Expression], *parts: object) -> Expression:
        """Build a node; add the position of its token to errors."""
        try:
            return make(*parts)
        except ConditionError as error:
            raise self.error(token, error.what, allowed=error.allowed, hint=error.hint) from None

    def check_hyphen(self, token: Token, left: Expression) -> None:
        """Reject `user-id`, which is ambiguous: a difference of two paths, or one name to production."""
        before, after = self.tokens[self.at - 2], self.token
        tight = before.end == token.start and token.end == after.start
        if tight and before.kind == after.kind == "word" and isinstance(left, Reference):
            name = f"{before.text}-{after.text}"
            whole = Reference((*left.path[:-1], name))
            raise self.error(
                before,
                f"{name} can be read in two ways",
                hint=f"write {before.text} - {after.text} for the difference, {whole} for the name",
            )

    def prefix(self, least: int) -> Expression:
        token = self.token
        if token.kind == "number":
            self.at += 1
            return self.place(token, ConditionLiteral, lexer.number(token))
        if token.kind == "text":
            self.at += 1
            return self.place(token, ConditionLiteral, lexer.text(self.source, token))
        if token.kind == "word":
            return self.word(least)
        if self.takes("("):
            inside = self.expression(0)
            self.expect(")", token)
            return inside
        if self.takes("["):
            return self.list_of(token)
        if self.takes("-"):
            return self.signed(token)
        if self.takes("$"):
            if self.token.text != "[":
                raise self.unexpected(allowed='["the name of a variable"]')
            return self.path(())
        raise self.unexpected(allowed="a path, a number, text, true, false, null, a function, not, - or (")

    def signed(self, token: Token) -> Expression:
        if self.token.kind == "number":
            # as one piece, so that the smallest integer is within 64 bits
            value = lexer.number(self.next())
            return self.place(token, ConditionLiteral, -value)
        operand = self.expression(_SIGN)
        try:
            return negative(operand)
        except ConditionError as error:
            raise self.error(token, error.what, allowed=error.allowed, hint=error.hint) from None

    def word(self, least: int) -> Expression:
        token = self.next()
        if token.text == "not":
            if least >= _NOT:
                raise self.error(token, "'not' after an operator", hint="put it in parentheses: a == (not b)")
            return self.place(token, Not, self.expression(_NOT - 1))
        if token.text in _CONSTANTS:
            return ConditionLiteral(_CONSTANTS[token.text])
        if token.text in RESERVED:
            self.at -= 1
            raise self.unexpected(allowed="a path, a constant, a function, not, - or (")
        if self.token.text == "(" and self.token.kind == "sign":
            return self.call(token)
        return self.path((token.text,))

    def path(self, parts: tuple[str, ...]) -> Expression:
        start = self.tokens[self.at - 1]
        parts += tuple(part for _, part in self.parts())
        path = self.place(start, Reference, parts)
        if self.token.text == "(" and self.token.kind == "sign" and parts:
            known = FUNCTIONS.get(parts[-1].casefold())
            raise self.error(
                self.token,
                f"{parts[-1]!r} is called as a method",
                allowed="functions with the value in parentheses, such as lower(owner.name)",
                hint=f"write {known.usage}" if known else guess_function(parts[-1]),
            )
        if self.takes("exists"):
            return FunctionCall("exists", (path,))
        return Not(FunctionCall("exists", (path,))) if self.takes("not_exists") else path

    def parts(self) -> Iterator[tuple[Token, str]]:
        """Consume the steps into the value before: `.name`, `["a name"]`."""
        while True:
            start = self.token
            if self.takes("."):
                if self.token.kind != "word":
                    raise self.unexpected(allowed='a name, or ["…"] in place of .name', in_path=True)
                yield start, self.next().text
            elif start.text == "[" and start.kind == "sign":
                yield start, self.key()
            else:
                return

    def key(self) -> str:
        opened = self.next()
        if self.token.kind != "text":
            raise self.unexpected(allowed='a name in quotes: path["odd key"]', in_path=True)
        name = lexer.text(self.source, self.next())
        self.expect("]", opened)
        return name

    def call(self, name: Token) -> Expression:
        opened = self.next()
        arguments: list[Expression] = []
        named: dict[str, Expression] = {}
        while not self.takes(")"):
            if arguments or named:
                self.expect(",", opened)
            start, word = self.token, self.argument_name()
            if word is None and named:
                raise self.error(start, "an argument without a name behind one with a name")
            if word in named:
                raise self.error(start, f"the argument {word!r} is given twice")
            argument = self.expression(0)
            if word is None:
                arguments.append(argument)
            else:
                named[word] = argument
        node = self.place(name, call_of, name.text, arguments, named)
        for start, part in self.parts():
            node = self.place(start, part_of, node, part)
        return node

    def argument_name(self) -> str | None:
        """Consume `name=` before an argument, and return the name."""
        token, following = self.token, self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if token.kind != "word" or following.text != "=":
            return None
        self.at += 2
        return token.text

    def list_of(self, opened: Token) -> Expression:
        items: list[ConditionLiteral] = []
        while not self.takes("]"):
            if items:
                self.expect(",", opened)
                if self.takes("]"):
                    break
            start = self.token
            item = self.expression(_COMPARISON)
            if not isinstance(item, ConditionLiteral):
                raise self.error(
                    start, "a list holds constants only", hint="write x == a or x == b for paths"
                )
            items.append(item)
        return ListOf(tuple(items))
