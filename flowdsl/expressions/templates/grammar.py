"""Parser of whole templates: text, `{{ }}`, comments and tags.

The grammar of Tera 1 is implemented here because no Python package parses it; what Tera accepts and flowdsl
does not (`include`, `import`, `extends`, `super()`) is refused with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from flowdsl.errors import did_you_mean
from flowdsl.expressions.templates.expressions import Expressions
from flowdsl.expressions.templates.hints import syntax_hint
from flowdsl.expressions.templates.nodes import (
    BlockTag,
    Body,
    Comment,
    Expr,
    For,
    If,
    Include,
    Jump,
    Macro,
    Node,
    Output,
    Raw,
    Section,
    Set,
    TemplateLiteral,
    Text,
    Ws,
)
from flowdsl.expressions.templates.operands import BOOLEAN, NAME, STRING
from flowdsl.expressions.templates.scanner import template_error
from flowdsl.expressions.templates.whitespace import trim_space

T = TypeVar("T")

MAX_TEMPLATE: Final = 500_000
"""Characters that the text of a template may have."""

_START = re.compile(r"\{\{|\{%|\{#")
_COMMENT = re.compile(r"\{#(-?+)(?:(?!-?#\}).)+(-?)#\}", re.DOTALL)
# a name may follow `endmacro` and `endblock` without a space
_TAG = re.compile(r"\{%(-?)[ \t\r\n]*(end(?:macro|block)|[A-Za-z_]\w*)?", re.ASCII)
_TAG_END = re.compile(r"[ \t\r\n]*(-?)%\}")
_OUTPUT_END = re.compile(r"[ \t\r\n]*(-?)\}\}")
_RAW = re.compile(r"[ \t\r\n]*(-?)%\}(.*?)\{%(-?)[ \t\r\n]*endraw[ \t\r\n]*(-?)%\}", re.DOTALL)
_SET = re.compile(r"[ \t\r\n]+([A-Za-z_]\w*)[ \t\r\n]*=[ \t\r\n]*", re.ASCII)
_FOR = re.compile(r"[ \t\r\n]+([A-Za-z_]\w*)(?:,[ \t\r\n]*([A-Za-z_]\w*))?[ \t\r\n]+in[ \t\r\n]+", re.ASCII)
_NAMED = re.compile(r"[ \t\r\n]+([A-Za-z_]\w*)", re.ASCII)
_TEXT = f"(?:{STRING.pattern})"
_INCLUDE = re.compile(
    rf"[ \t\r\n]+({_TEXT}|\[[ \t\r\n]*(?:{_TEXT}[ \t\r\n]*,[ \t\r\n]*)*(?:{_TEXT})?[ \t\r\n]*\])"
)
_IGNORE_MISSING = re.compile(r"[ \t\r\n]*ignore[ \t\r\n]*missing")
_OPTIONAL_NAME = re.compile(r"[ \t\r\n]*(?:[A-Za-z_]\w*)?", re.ASCII)
_TRUTH_PREFIX = re.compile(r"\b([Tt]rue|[Ff]alse)\w+$")
_GAP = re.compile(r"[ \t\r\n]+")

_PLACES = {
    "block": ("template", "block", "filter"),
    "macro": ("template",),
    "break": ("for",),
    "continue": ("for",),
}
"""Places of tags that are not allowed everywhere."""

_ENDS = ("elif", "else", "endif", "endfor", "endfilter", "endblock", "endmacro", "endraw")
_REFUSED = {
    "include": "a template has no other templates to include",
    "import": "a template has no other templates to import macros from",
    "extends": "a template has no other templates to extend",
}


def parse_template(text: str, *, lenient: bool = False) -> Body:
    """Parse a template, and remove the white space that its tags trim.

    `lenient` accepts everything that Tera accepts: includes, `super()` and keys that Tera misreads then have
    their effect when the template is rendered.
    """
    if len(text) > MAX_TEMPLATE:
        raise template_error(
            "the template is too long", text, MAX_TEMPLATE, allowed=f"{MAX_TEMPLATE:,} characters"
        )
    return trim_space(_Grammar(text, lenient=lenient).template())


class _Grammar(Expressions):
    """Parser of nodes; stops before a tag that ends a body."""

    def __init__(self, text: str, *, lenient: bool = False) -> None:
        super().__init__(text, lenient=lenient)
        self.at = 0

    def template(self) -> list[Node]:
        # comments before anything else trim nothing
        while self.text.startswith("{#", self.at) and (match := _COMMENT.match(self.text, self.at)):
            self.at = match.end()
        nodes = self._body("template")
        if self.at < len(self.text):
            self._stray_end()
        return nodes

    def _body(self, place: str) -> list[Node]:
        """Parse nodes up to a tag that ends a body, or the end of the text."""
        nodes: list[Node] = []
        self.deeper(self.at)
        while self.at < len(self.text):
            self.forget()
            start = _START.search(self.text, self.at)
            end = start.start() if start else len(self.text)
            if end > self.at:
                nodes.append(Text(self.text[self.at : end]))
                self.at = end
            if start is None:
                break
            if start.group() == "{{":
                nodes.append(self._output(place))
            elif start.group() == "{#":
                nodes.append(self._comment())
            else:
                node = self._tag(place)
                if node is None:
                    break
                nodes.append(node)
        self.nesting -= 1
        return nodes

    def _output(self, place: str) -> Output:
        start = self.at
        left = self.text.startswith("{{-", start)
        at = self.space(start + 2 + left)
        if place == "block" and self.text.startswith("super()", at) and not self.lenient:
            self.refuse("`super()` has no parent template to look into", at)
        found = self.any_value(at)
        end = self.matched(_OUTPUT_END, "`}}`", found[1]) if found else None
        if not found or not end:
            self._explain()
        self.at = end.end()
        return Output(Ws(left, end.group(1) == "-"), found[0])

    def _comment(self) -> Comment:
        match = _COMMENT.match(self.text, self.at)
        if not match:
            self.refuse("a comment that does not end, or is empty", self.at, allowed="`{# … #}`")
        self.at = match.end()
        return Comment(Ws(match.group(1) == "-", match.group(2) == "-"))

    def _tag(self, place: str) -> Node | None:
        match = _TAG.match(self.text, self.at)
        assert match is not None
        word, left = match.group(2), match.group(1) == "-"
        if word in _ENDS:
            return None
        readers: dict[str, Callable[[str, bool, int], Node]] = {
            "if": self._if,
            "for": self._for,
            "set": self._set,
            "set_global": self._set,
            "filter": self._section,
            "block": self._block,
            "macro": self._macro,
            "raw": self._raw,
            "break": self._jump,
            "continue": self._jump,
            "include": self._include,
        }
        if word in _REFUSED and not (word == "include" and self.lenient):
            self.refuse(f"`{word}` is refused: {_REFUSED[word]}", self.at)
        if word not in readers:
            self.refuse(
                f"unknown tag `{word}`" if word else "a tag without a name",
                self.at,
                allowed=", ".join(sorted({*readers, *_ENDS})),
                hint=did_you_mean(word or "", [*readers, *_ENDS]),
            )
        if place not in _PLACES.get(word, (place,)):
            self.refuse(
                f"`{word}` is not allowed here", self.at, allowed=f"in a {' or a '.join(_PLACES[word])}"
            )
        self.at = match.start(2)
        return readers[word](place, left, match.end())

    def _if(self, place: str, left: bool, at: int) -> If:
        branches: list[tuple[Ws, Expr, Body]] = []
        while True:
            expr, right = self._tail(self.logic, _GAP, at)
            body = tuple(self._body(place))
            branches.append((Ws(left, right), expr, body))
            word, left, at = self._end("if", "elif", "else", "endif")
            if word != "elif":
                break
        otherwise = None
        if word == "else":
            ws = Ws(left, self._close(at))
            otherwise = (ws, tuple(self._body(place)))
            word, left, at = self._end("if", "endif")
        return If(tuple(branches), otherwise, Ws(left, self._close(at)))

    def _for(self, place: str, left: bool, at: int) -> For:
        match = self.matched(_FOR, "`for name in …`, or `for key, value in …`", at)
        if not match:
            self._explain()
        container, right = self._tail(
            lambda at: self.basic_filtered(at) or self.array_filtered(at), None, match.end()
        )
        body = tuple(self._body("for"))
        empty: Body | None = None
        word, end_left, at = self._end("for", "else", "endfor")
        while word == "else":
            self._close(at)
            empty = tuple(self._body("for"))
            word, end_left, at = self._end("for", "else", "endfor")
        names = [name for name in match.groups() if name]
        end = Ws(end_left, self._close(at))
        return For(
            Ws(left, right), names[0] if len(names) == 2 else None, names[-1], container, body, empty, end
        )

    def _set(self, place: str, left: bool, at: int) -> Set:
        everywhere = self.text.startswith("set_global", self.at)
        match = self.matched(_SET, "`set name = …`", at)
        if not match:
            self._explain()
        expr, right = self._tail(self.any_value, None, match.end())
        return Set(Ws(left, right), match.group(1), expr, everywhere)

    def _section(self, place: str, left: bool, at: int) -> Section:
        call, right = self._tail(self.filter, _GAP, at)
        body = tuple(self._body("filter"))
        _, end_left, at = self._end("filter", "endfilter")
        return Section(Ws(left, right), call, body, Ws(end_left, self._close(at)))

    def _block(self, place: str, left: bool, at: int) -> BlockTag:
        start = self.at
        name = self.matched(_NAMED, "a name", at)
        if not name:
            self._explain()
        right = self._close(name.end())
        body = tuple(self._body("block"))
        return BlockTag(Ws(left, right), name.group(1), body, self._named_end("block"), start)

    def _macro(self, place: str, left: bool, at: int) -> Macro:
        start = self.at
        name = self.matched(_NAMED, "a name", at)
        found = self.parse_parenthesised(self._params, self.space(name.end())) if name else None
        if not name or not found:
            self._explain()
        right = self._close(found[1])
        body = tuple(self._body("macro"))
        return Macro(Ws(left, right), name.group(1), found[0], body, self._named_end("macro"), start)

    def _params(self, at: int) -> tuple[tuple[tuple[str, TemplateLiteral | None], ...], int]:
        return self._separate(self._param, at) or ((), at)

    def _param(self, at: int) -> tuple[tuple[str, TemplateLiteral | None], int] | None:
        name = self.matched(NAME, "a parameter", at)
        if not name:
            return None
        end = name.end()
        default: TemplateLiteral | None = None
        if self.text.startswith("=", end):
            found: tuple[TemplateLiteral, int] | None
            if boolean := BOOLEAN.match(self.text, end + 1):
                found = TemplateLiteral(boolean.group() in ("true", "True")), boolean.end()
            else:
                found = self.string(end + 1) or self.number(end + 1)
            if found:
                default, end = found
        return (name.group(), default), end

    def _raw(self, place: str, left: bool, at: int) -> Raw:
        match = _RAW.match(self.text, at)
        if not match:
            self.refuse("a `raw` block that does not end", self.at, allowed="`{% raw %} … {% endraw %}`")
        self.at = match.end()
        start_right, text, end_left, end_right = match.groups()
        return Raw(Ws(left, start_right == "-"), text, Ws(end_left == "-", end_right == "-"))

    def _include(self, place: str, left: bool, at: int) -> Include:
        one = self.matched(_INCLUDE, "a name, or a list of names", at)
        if not one:
            self._explain()
        names = tuple(name[1:-1] for name in STRING.findall(one.group(1)))
        ignored = _IGNORE_MISSING.match(self.text, one.end())
        end = ignored.end() if ignored else one.end()
        return Include(Ws(left, self._close(end)), names, ignored is not None)

    def _jump(self, place: str, left: bool, at: int) -> Jump:
        kind = "break" if self.text.startswith("break", self.at) else "continue"
        return Jump(Ws(left, self._close(at)), kind)

    def _tail(
        self, rule: Callable[[int], tuple[T, int] | None], gap: re.Pattern[str] | None, at: int
    ) -> tuple[T, bool]:
        """Parse by a rule up to the end of the tag; also return whether the tag trims what follows."""
        if gap is not None:
            match = self.matched(gap, "a space", at)
            at = match.end() if match else -1
        found = rule(at) if at >= 0 else None
        if not found:
            self._explain()
        return found[0], self._close(found[1])

    def _close(self, at: int) -> bool:
        match = _TAG_END.match(self.text, at)
        if not match:
            self.missed("`%}`", self.space(at))
            self._explain()
        self.at = match.end()
        return match.group(1) == "-"

    def _end(self, opener: str, *words: str) -> tuple[str, bool, int]:
        """Parse the tag that ends a body: its word, whether it trims what precedes it, and the position after
        the word.
        """
        match = _TAG.match(self.text, self.at)
        closers = " or ".join(f"`{{% {word} %}}`" for word in words)
        if not match:
            self.refuse(f"a `{opener}` that does not end", self.at, allowed=closers)
        if match.group(2) not in words:
            self.refuse(f"unexpected `{match.group(2)}` inside a `{opener}`", self.at, allowed=closers)
        return match.group(2), match.group(1) == "-", match.end()

    def _named_end(self, opener: str) -> Ws:
        _, left, at = self._end(opener, f"end{opener}")
        name = _OPTIONAL_NAME.match(self.text, at)
        assert name is not None
        return Ws(left, self._close(name.end()))

    def _stray_end(self) -> NoReturn:
        match = _TAG.match(self.text, self.at)
        self.refuse(f"`{match.group(2) if match else ''}` ends nothing that was begun", self.at)

    def _explain(self) -> NoReturn:
        """Raise the syntax error, with a hint for idioms of Jinja2."""
        rest = self.text[self.farthest :]
        before = self.text[: self.farthest].rstrip()
        hint = (
            "a name cannot begin with `true` or `false`"
            if _TRUTH_PREFIX.search(before)
            else syntax_hint(before, rest)
        )
        self.unexpected(hint)
