"""Lexer of conditions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flowdsl.errors import ConditionError

# enough for an `in` with thousands of ids, and still parsed at once
MAX_CONDITION: Final = 100_000

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
    |(?P<bad_number>[0-9][\w.]*)
    |(?P<text>"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')
    |(?P<word>[^\W\d]\w*)
    |(?P<foreign>===|!==|<>|=>|=<|&&|\|\||\*\*|//|\{\{|!(?!=)|[&|~^“”‘’`])
    |(?P<sign>==|!=|<=|>=|[=<>()\[\],.+\-*/%$])""",
    re.VERBOSE,
)
# signs of other languages, and what to write instead
_FOREIGN: Final = {
    "===": "equality is ==",
    "!==": "inequality is !=",
    "<>": "inequality is !=",
    "=>": "'greater or equal' is >=",
    "=<": "'less or equal' is <=",
    "&&": "write 'and'",
    "&": "write 'and'; & is for expressions built with var",
    "||": "write 'or'",
    "|": "write 'or'; | is for expressions built with var",
    "!": "write 'not'",
    "~": "write 'not'; ~ is for expressions built with var",
    "**": "powers are not part of the language",
    "^": "powers are not part of the language",
    "//": "/ divides and % gives the remainder; there is no whole division",
    "{{": "a condition takes paths as they are, without {{ }}",
}
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(.))"
)
_SIMPLE: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "a": "\a",
    "0": "\0",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "/": "/",
}


# the hint for a number where a name is expected
NO_ITEMS: Final = "a condition reads no item of a list: for_each('data.items', as_='item') goes on with each"


@dataclass(frozen=True)
class Token:
    """Token: its kind (number, text, word, sign or end), its text, and its position."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Position of the next character."""
        return self.start + len(self.text)


def tokens(source: str) -> list[Token]:
    """Split a condition into tokens; the last one has the kind `end`.

    >>> [token.text for token in tokens("a.b>=1")]
    ['a', '.', 'b', '>=', '1', '']
    """
    if len(source) > MAX_CONDITION:
        raise ConditionError(
            f"a condition of {len(source):,} characters is too long",
            allowed=f"at most {MAX_CONDITION:,} characters",
            hint="keep long lists in the data or in a Python function",
        )
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None or match.lastgroup in ("foreign", "bad_number"):
            raise _error_at(source, at, match)
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match.group(), at))
        at = match.end()
    found.append(Token("end", "", at))
    return found


def syntax_error(
    source: str, at: int, what: str, *, allowed: str | None = None, hint: str | None = None
) -> ConditionError:
    """Return an error that shows the position in the text."""
    before, after = source[max(0, at - 40) : at], source[at : at + 40]
    shown = f"{'…' if at > 40 else ''}{before}▸{after}{'…' if at + 40 < len(source) else ''}"
    return ConditionError(
        f"{what} at character {at + 1}: {' '.join(shown.split())}", allowed=allowed, hint=hint
    )


def number(token: Token) -> int | float:
    """Return the value of a number token."""
    if token.text.isdigit() and len(token.text) <= 30:
        return int(token.text)
    # beyond 64 bits integers are floats anyway; int() of a very long text would be slow
    return float(token.text)


def text(source: str, token: Token) -> str:
    """Return the value of a text token with its escapes resolved."""

    def resolve(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if digits:
            return chr(int(digits, 16))
        if match[4] not in _SIMPLE:
            raise syntax_error(
                source,
                token.start + 1 + match.start(),
                f"unknown escape {match[0]!r}",
                allowed=r"\n \t \r \b \f \v \a \0 \\ \' \" \/ \xhh \uhhhh \Uhhhhhhhh",
                hint=r"a backslash itself is written \\",
            )
        return _SIMPLE[match[4]]

    value = _ESCAPE.sub(resolve, token.text[1:-1])
    if any("\ud800" <= character <= "\udfff" for character in value):
        # JSON writes one character as two such halves; a lone half is refused by the node
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return value


def _error_at(source: str, at: int, match: re.Match[str] | None) -> ConditionError:
    if match is not None and match.lastgroup == "bad_number":
        digits = match.group()
        hint = (
            NO_ITEMS
            if source[:at].rstrip().endswith(".")
            else "write 0.5, 5.0 or 5e3"
            if "." in digits
            else "numbers have no leading zeros, letters or separators"
        )
        return syntax_error(source, at, f"{digits[:40]!r} is not a number", hint=hint)
    sign = source[at] if match is None else match.group()
    if sign in "\"'":
        return syntax_error(
            source, at, "text that does not end", hint=f"close it with {sign}; a line break is written \\n"
        )
    if sign in "“”‘’`":
        return syntax_error(source, at, f"unexpected {sign!r}", hint="quotes are \" or '")
    return syntax_error(source, at, f"unexpected {sign!r}", hint=_FOREIGN.get(sign))
