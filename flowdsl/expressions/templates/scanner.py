"""Base of the parser: the text, positions, and what was expected at the farthest one."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from flowdsl.errors import TemplateError

MAX_NESTING: Final = 20
"""How deep parentheses, arguments and brackets, or blocks, may be inside one another."""

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r"\w+|\S|\s+")


class Scanner:
    """Text of a template with the farthest position any rule reached, where errors are shown."""

    def __init__(self, text: str, *, lenient: bool = False) -> None:
        self.text = text
        # whether to accept what Tera accepts and flowdsl does not
        self.lenient = lenient
        self.farthest = 0
        self.expected: list[str] = []
        self.nesting = 0

    def space(self, at: int) -> int:
        """Return the position after white space."""
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def literal(self, word: str, at: int) -> int | None:
        """Return the position after `word` if it is here."""
        if self.text.startswith(word, at):
            return at + len(word)
        self.missed(f"`{word}`", at)
        return None

    def matched(self, pattern: re.Pattern[str], label: str, at: int) -> re.Match[str] | None:
        """Return what a pattern matches here; `label` names it in errors."""
        match = pattern.match(self.text, at)
        if match is None:
            self.missed(label, at)
        return match

    def missed(self, label: str, at: int) -> None:
        """Record what was expected, unless a rule got farther."""
        if at > self.farthest:
            self.farthest, self.expected = at, []
        if at == self.farthest and label not in self.expected:
            self.expected.append(label)

    def deeper(self, at: int) -> None:
        """Enter one level of nesting; the caller leaves it by `self.nesting -= 1`."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.refuse("the template is nested too deeply", at, allowed=f"at most {MAX_NESTING} levels")

    def unexpected(self, hint: str | None = None) -> NoReturn:
        """Raise an error for the farthest position."""
        token = _TOKEN.match(self.text, self.farthest)
        what = f"unexpected `{token.group().strip() or ' '}`" if token else "the template ends too early"
        self.refuse(what, self.farthest, allowed=", ".join(self.expected[:8]), hint=hint)

    def refuse(self, what: str, at: int, *, allowed: str | None = None, hint: str | None = None) -> NoReturn:
        """Raise an error for a position."""
        raise template_error(what, self.text, at, allowed=allowed, hint=hint)


def template_error(
    what: str, text: str, at: int, *, allowed: str | None = None, hint: str | None = None
) -> TemplateError:
    """Return an error with line and column, both counted from 1."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return TemplateError(f"{what}, at {line}:{column} of the template", allowed=allowed or None, hint=hint)
