"""Parser of operands in template expressions: texts, numbers, paths, tests, calls and arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from flowdsl.expressions.templates.nodes import (
    Expr,
    Ident,
    MacroCall,
    TemplateCall,
    TemplateLiteral,
    Test,
    Value,
)
from flowdsl.expressions.templates.scanner import Scanner
from flowdsl.expressions.templates.value_paths import ODD_KEY, inner_paths

T = TypeVar("T")
Args = tuple[tuple[str, Expr], ...]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STRING = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`")
BOOLEAN = re.compile(r"true|false|True|False")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_PART = re.compile(r"\.([A-Za-z0-9_]+)")
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")

S = TypeVar("S", bound="Operands")


def memoize(rule: Callable[[S, int], tuple[T, int] | None]) -> Callable[[S, int], tuple[T, int] | None]:
    """Memoize a rule by position."""
    name = rule.__name__

    def run(self: S, at: int) -> tuple[T, int] | None:
        key = (name, at)
        if key not in self.memory:
            self.memory[key] = rule(self, at)
        found: tuple[T, int] | None = self.memory[key]
        return found

    return run


class Operands(Scanner):
    """Parsing rules for operands. Each takes a position and returns what it parsed and the next position, or
    None.
    """

    def __init__(self, text: str, *, lenient: bool = False) -> None:
        super().__init__(text, lenient=lenient)
        self.memory: dict[tuple[str, int], Any] = {}

    def forget(self) -> None:
        """Clear the memoized results, which are not needed after a tag: no rule looks back into it."""
        self.memory.clear()

    @memoize
    def any_value(self, at: int) -> tuple[Expr, int] | None:
        """Parse what may be an argument."""
        raise NotImplementedError

    def string(self, at: int) -> tuple[TemplateLiteral, int] | None:
        """Parse a quoted text, which has no escapes."""
        match = self.matched(STRING, "a text", at)
        return (TemplateLiteral(match.group()[1:-1]), match.end()) if match else None

    def number(self, at: int) -> tuple[TemplateLiteral, int] | None:
        """Parse a float or an integer."""
        if match := _FLOAT.match(self.text, at):
            number = float(match.group())
            if number in (float("inf"), float("-inf")) and not self.lenient:
                self.refuse("a number too large", at, allowed="64-bit floats")
            return TemplateLiteral(number), match.end()
        if match := self.matched(_INT, "a number", at):
            whole = int(match.group()) if len(match.group()) < 25 else 2**64
            if not -(2**63) <= whole < 2**63:
                self.refuse("a whole number out of bounds", at, allowed="64-bit integers")
            return TemplateLiteral(whole), match.end()
        return None

    @memoize
    def ident(self, at: int) -> tuple[Ident, int] | None:
        """Parse a path."""
        match = self.matched(_DOTTED, "a variable", at)
        if not match:
            return None
        root, *names = match.group().split(".")
        steps: list[str | Ident] = list(names)
        end = match.end()
        odd: int | None = None
        while True:
            if part := _PART.match(self.text, end):
                steps.append(part.group(1))
                end = part.end()
            elif bracket := self._bracket(end):
                if bracket[2] and odd is None:
                    odd = len(steps)
                steps.append(bracket[0])
                end = bracket[1]
            else:
                break
        text, inner = self.text[at:end], tuple(step for step in steps if isinstance(step, Ident))
        if odd is not None:
            inner = tuple(filter(None, map(self._inner, inner_paths(text))))
        return Ident(text, root, tuple(steps), at, odd, inner), end

    def _inner(self, text: str) -> Ident | None:
        """Parse a path inside brackets; return None if it is not a path as a whole."""
        found = type(self)(text, lenient=True).ident(0)
        return found[0] if found and found[1] == len(text) else None

    def _bracket(self, at: int) -> tuple[str | Ident, int, bool] | None:
        """Parse a bracket; also return whether Tera misreads it."""
        if not self.text.startswith("[", at):
            return None
        found = self._index(at + 1) or self._key(at + 1) or self._inner_path(at + 1)
        if found is None:
            return None
        step, end, odd = found
        closed = self.literal("]", end)
        return None if closed is None else (step, closed, odd)

    def _index(self, at: int) -> tuple[str, int, bool] | None:
        match = _INT.match(self.text, at)
        if match is None:
            return None
        step = match.group()
        odd = step.startswith("-") or int(step[:30]) >= 2**64
        if odd and not self.lenient:
            self.refuse(
                f"the index {step} is never there", at, allowed="0 and up", hint="`| last` gives the last"
            )
        return step, match.end(), odd

    def _key(self, at: int) -> tuple[str, int, bool] | None:
        match = STRING.match(self.text, at)
        if match is None:
            return None
        step = match.group()[1:-1]
        odd = match.group()[0] == "`" or ODD_KEY.search(step) is not None
        if odd and not self.lenient:
            self.refuse(
                f"the key {match.group()} is misread by Tera",
                at,
                allowed="keys of ASCII letters, digits and signs but quotes, brackets, `\\` and `~`",
                hint="read it under a plain name: columns={'data': {'amount': 'Betrag (€)'}}",
            )
        return step, match.end(), odd

    def _inner_path(self, at: int) -> tuple[Ident, int, bool] | None:
        self.deeper(at)
        inner = self.ident(at)
        self.nesting -= 1
        return (*inner, False) if inner else None

    @memoize
    def test(self, at: int) -> tuple[Test, int] | None:
        """Parse `path is name(args)`."""
        found = self.ident(at)
        if not found:
            return None
        ident, end = found
        after = self.literal("is", self.space(end))
        if after is None:
            return None
        after = self.space(after)
        negation = "not" if self.text.startswith("not", after) else ""
        name = NAME.match(self.text, self.space(after + len(negation)))
        if negation and not name:
            negation, name = "", NAME.match(self.text, after)
        if not name:
            self.missed("a test", after)
            return None
        args: tuple[Expr, ...] = ()
        end = name.end()
        if inner := self.parse_parenthesised(self._test_args, self.space(end)):
            args, end = inner
        return Test(ident, name.group(), args, bool(negation), name.start()), end

    def _test_args(self, at: int) -> tuple[tuple[Expr, ...], int] | None:
        return self._separate(self.any_value, at)

    @memoize
    def macro_call(self, at: int) -> tuple[MacroCall, int] | None:
        """Parse `self::name(args)`."""
        namespace = NAME.match(self.text, at)
        after = self.literal("::", self.space(namespace.end())) if namespace else None
        name = NAME.match(self.text, self.space(after)) if after else None
        args = self._arguments(self.space(name.end())) if name else None
        if not (namespace and name and args):
            return None
        return MacroCall(namespace.group(), name.group(), args[0], at), args[1]

    @memoize
    def call(self, at: int) -> tuple[TemplateCall, int] | None:
        """Parse a function call, or a filter with arguments."""
        name = NAME.match(self.text, at)
        args = self._arguments(self.space(name.end())) if name else None
        return (TemplateCall(name.group(), args[0], at, self.lenient), args[1]) if name and args else None

    def _arguments(self, at: int) -> tuple[Args, int] | None:
        return self.parse_parenthesised(self._keyword_args, at)

    def _keyword_args(self, at: int) -> tuple[Args, int] | None:
        found = self._separate(self._keyword_arg, at)
        if not found:
            return (), at
        args, end = found
        comma = self.literal(",", self.space(end))
        return args, end if comma is None else comma

    def _keyword_arg(self, at: int) -> tuple[tuple[str, Expr], int] | None:
        name = self.matched(NAME, "an argument `name=value`", at)
        equals = self.literal("=", self.space(name.end())) if name else None
        value = self.any_value(self.space(equals)) if equals else None
        return ((name.group(), value[0]), value[1]) if name and value else None

    def _separate(
        self, rule: Callable[[int], tuple[T, int] | None], at: int
    ) -> tuple[tuple[T, ...], int] | None:
        found = rule(at)
        items: list[T] = []
        end = at
        while found:
            items.append(found[0])
            end = found[1]
            comma = self.literal(",", self.space(end))
            found = None if comma is None else rule(self.space(comma))
        return (tuple(items), end) if items else None

    def parse_parenthesised(
        self, rule: Callable[[int], tuple[T, int] | None], at: int
    ) -> tuple[T, int] | None:
        """Parse by a rule between parentheses."""
        opened = self.literal("(", at)
        if opened is None:
            return None
        self.deeper(at)
        found = rule(self.space(opened))
        self.nesting -= 1
        if not found:
            return None
        closed = self.literal(")", self.space(found[1]))
        return None if closed is None else (found[0], closed)

    def filter(self, at: int) -> tuple[TemplateCall, int] | None:
        """Parse a filter: a name, possibly with arguments."""
        found = self.call(at)
        if found:
            return found
        name = self.matched(NAME, "a filter", at)
        return (TemplateCall(name.group(), (), at, self.lenient), name.end()) if name else None

    def with_filters(self, value: Value, end: int) -> tuple[Expr, int]:
        """Parse the filters after a value."""
        filters: list[TemplateCall] = []
        while (bar := self.literal("|", self.space(end))) is not None:
            found = self.filter(self.space(bar))
            if not found:
                break
            filters.append(found[0])
            end = found[1]
        return Expr(value, tuple(filters)), end
