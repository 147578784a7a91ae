"""Syntax tree of templates.

The tree has the shape of Tera's own, because Tera's results follow from that shape: an `Expr` is a value with
filters and perhaps a `not`, and the place of the expression decides which of the three count. Chains of one
operator are flat (`a + b + c` is one `Math`), so that long chains are not deep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import TypeAlias

from flowdsl.values.paths import Path


@dataclass(frozen=True, slots=True)
class Ident:
    """Path as written: a root, then names, numbers and paths in brackets.

    `path` is the longest prefix of constant names that are not indexes. `odd` is the index of the first step
    that Tera may misread as other names. `inner` are the paths that Tera then looks up on the way: those in
    brackets, and parts of keys that it mistakes for paths in brackets.
    """

    text: str
    root: str
    steps: tuple[str | Ident, ...] = ()
    at: int = field(default=0, compare=False)
    odd: int | None = None
    inner: tuple[Ident, ...] = ()
    # written once, as every row of a template that is rendered row by row asks for it
    path: Path = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        numbered = takewhile(lambda one: one[0] != self.odd and _is_name(one[1]), enumerate(self.steps))
        object.__setattr__(self, "path", (self.root, *(step for _, step in numbered)))

    @property
    def rest(self) -> tuple[str | Ident, ...]:
        """The steps after `path`: from the first that may be an index or is a path in brackets."""
        return self.steps[len(self.path) - 1 :]


def _is_name(step: str | Ident) -> bool:
    return isinstance(step, str) and not step.isdigit()


@dataclass(frozen=True, slots=True)
class TemplateLiteral:
    """Literal text, integer, number or boolean."""

    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Items:
    """Array literal: `[a, "b", 3]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """Concatenation: `a ~ "b" ~ 3`."""

    parts: tuple[TemplateLiteral | Ident | TemplateCall, ...]


@dataclass(frozen=True, slots=True)
class Math:
    """Arithmetic: `first`, then operators of one precedence with their operands, from the left."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class TemplateComparison:
    """Comparison by one of `== != < <= > >=`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logic:
    """Conjunction or disjunction of two or more values."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """Membership: `left in right`, or `left not in right`."""

    left: Expr
    right: Expr
    negated: bool


@dataclass(frozen=True, slots=True)
class Test:
    """Test: `ident is name(args)`, or `ident is not name(args)`."""

    ident: Ident
    name: str
    args: tuple[Expr, ...]
    negated: bool
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """Filter or function with its named arguments."""

    name: str
    args: tuple[tuple[str, Expr], ...] = ()
    at: int = field(default=0, compare=False)
    # True if read as in production, which lacks the filters of other packages
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class MacroCall:
    """Macro call: `namespace::name(args)`."""

    namespace: str
    name: str
    args: tuple[tuple[str, Expr], ...]
    at: int = field(default=0, compare=False)


Value: TypeAlias = (
    Ident
    | TemplateLiteral
    | Items
    | Concat
    | Math
    | TemplateComparison
    | Logic
    | Membership
    | Test
    | TemplateCall
    | MacroCall
)


@dataclass(frozen=True, slots=True)
class Expr:
    """Value, its filters, and whether `not` precedes it."""

    value: Value
    filters: tuple[TemplateCall, ...] = ()
    negated: bool = False

    @property
    def default(self) -> Expr | None:
        """The value of a leading `default(value=…)`, the only position in which it works."""
        if self.filters and self.filters[0].name == "default":
            return dict(self.filters[0].args).get("value")
        return None

    @property
    def has_default(self) -> bool:
        """True if the first filter is `default`."""
        return bool(self.filters) and self.filters[0].name == "default"


@dataclass(frozen=True, slots=True)
class Ws:
    """White space control of a tag: before it (`{%-`) and after it (`-%}`)."""

    left: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class Raw:
    """Text of a `raw` block."""

    start: Ws
    text: str
    end: Ws


@dataclass(frozen=True, slots=True)
class Comment:
    """Comment, of which only the surrounding white space matters."""

    ws: Ws


@dataclass(frozen=True, slots=True)
class Output:
    """Output: `{{ expr }}`."""

    ws: Ws
    expr: Expr


@dataclass(frozen=True, slots=True)
class Set:
    """Assignment: `{% set name = expr %}` or `{% set_global name = expr %}`."""

    ws: Ws
    name: str
    expr: Expr
    everywhere: bool


@dataclass(frozen=True, slots=True)
class Jump:
    """Jump: `{% break %}` or `{% continue %}`."""

    ws: Ws
    kind: str


@dataclass(frozen=True, slots=True)
class Include:
    """Include: `{% include "name" %}`, or a list of names of which the first existing one counts."""

    ws: Ws
    names: tuple[str, ...]
    ignores_missing: bool


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with their bodies in order, and the body of `else`."""

    branches: tuple[tuple[Ws, Expr, Body], ...]
    otherwise: tuple[Ws, Body] | None
    end: Ws


@dataclass(frozen=True, slots=True)
class For:
    """Loop: `{% for value in container %}` or `{% for key, value in container %}`, with the body for no
    items.
    """

    start: Ws
    key: str | None
    value: str
    container: Expr
    body: Body
    empty: Body | None
    end: Ws


@dataclass(frozen=True, slots=True)
class Section:
    """Filter section: `{% filter name(args) %}` over a body."""

    start: Ws
    call: TemplateCall
    body: Body
    end: Ws


@dataclass(frozen=True, slots=True)
class BlockTag:
    """Block: `{% block name %}`; without inheritance, a named body."""

    start: Ws
    name: str
    body: Body
    end: Ws
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """Macro: `{% macro name(params) %}`; a parameter's default is a literal, or None."""

    start: Ws
    name: str
    params: tuple[tuple[str, TemplateLiteral | None], ...]
    body: Body
    end: Ws
    at: int = field(default=0, compare=False)


Node: TypeAlias = Text | Raw | Comment | Output | Set | Jump | Include | If | For | Section | BlockTag | Macro
Body: TypeAlias = tuple[Node, ...]
