"""What a template is made of, once it is parsed.

The tree keeps the shape of Tera's own, because Tera's answers follow from that shape: an `Expr` is a value with
filters and perhaps a `not`, and which of the three is looked at depends on where the expression stands.
Chains of one operator are flat (`a + b + c` is one `Math`), so that a long one is no deep one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from flowdsl.values.paths import Path


@dataclass(frozen=True, slots=True)
class Ident:
    """A path as it is written: a root, then names, numbers and paths in brackets.

    `odd` is the place of the first step of which Tera may make other names than the one that is written. `inner` are the
    paths that it looks up on the way: those in brackets, and what it takes for one inside of a key.
    """

    text: str
    root: str
    steps: tuple[str | Ident, ...] = ()
    at: int = field(default=0, compare=False)
    odd: int | None = None
    inner: tuple[Ident, ...] = ()

    @property
    def path(self) -> Path:
        """The longest part of it that is known beforehand, and steps through objects only."""
        known = self.steps[: self._known()]
        return (self.root, *(step for step in known if isinstance(step, str)))

    @property
    def rest(self) -> tuple[str | Ident, ...]:
        """The steps below `path`: from the first that may be an index, or is looked up."""
        return self.steps[self._known() :]

    def _known(self) -> int:
        for count, step in enumerate(self.steps):
            if isinstance(step, Ident) or step.isdigit() or count == self.odd:
                return count
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class TemplateLiteral:
    """A text, whole number, number or truth value that stands in the template."""

    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Items:
    """An array written out: `[a, "b", 3]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """`a ~ "b" ~ 3`."""

    parts: tuple[TemplateLiteral | Ident | TemplateCall, ...]


@dataclass(frozen=True, slots=True)
class Math:
    """`first`, then operators of one precedence with what they take, from the left."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class TemplateComparison:
    """One of `== != < <= > >=`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` between two or more."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """`left in right`, or `left not in right`."""

    left: Expr
    right: Expr
    negated: bool


@dataclass(frozen=True, slots=True)
class Test:
    """`ident is name(args)`, or `ident is not name(args)`."""

    ident: Ident
    name: str
    args: tuple[Expr, ...]
    negated: bool
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """A filter or a function with its arguments, which always have names."""

    name: str
    args: tuple[tuple[str, Expr], ...] = ()
    at: int = field(default=0, compare=False)
    # read as production reads it, which has no filters of other packages
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class MacroCall:
    """`namespace::name(args)`."""

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
    """A value, the filters it goes through, and whether `not` stands before it."""

    value: Value
    filters: tuple[TemplateCall, ...] = ()
    negated: bool = False

    @property
    def default(self) -> Expr | None:
        """What `default(value=…)` gives where it is the first filter, the only place where it works."""
        if self.filters and self.filters[0].name == "default":
            return dict(self.filters[0].args).get("value")
        return None

    @property
    def has_default(self) -> bool:
        """Whether the first filter is `default`."""
        return bool(self.filters) and self.filters[0].name == "default"


@dataclass(frozen=True, slots=True)
class Ws:
    """Whether a tag takes away the white space before it (`{%-`) and after it (`-%}`)."""

    left: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is printed as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Raw:
    """The text of a `raw` block."""

    start: Ws
    text: str
    end: Ws


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, of which only the white space around it matters."""

    ws: Ws


@dataclass(frozen=True, slots=True)
class Output:
    """`{{ expr }}`."""

    ws: Ws
    expr: Expr


@dataclass(frozen=True, slots=True)
class Set:
    """`{% set name = expr %}` or `{% set_global name = expr %}`."""

    ws: Ws
    name: str
    expr: Expr
    everywhere: bool


@dataclass(frozen=True, slots=True)
class Jump:
    """`{% break %}` or `{% continue %}`."""

    ws: Ws
    kind: str


@dataclass(frozen=True, slots=True)
class Include:
    """`{% include "name" %}`, or a list of names of which the first that is there counts."""

    ws: Ws
    names: tuple[str, ...]
    ignores_missing: bool


@dataclass(frozen=True, slots=True)
class If:
    """The conditions with their bodies in order, and the body of `else`."""

    branches: tuple[tuple[Ws, Expr, Body], ...]
    otherwise: tuple[Ws, Body] | None
    end: Ws


@dataclass(frozen=True, slots=True)
class For:
    """`{% for value in container %}` or `{% for key, value in container %}`, with the body for none."""

    start: Ws
    key: str | None
    value: str
    container: Expr
    body: Body
    empty: Body | None
    end: Ws


@dataclass(frozen=True, slots=True)
class Section:
    """`{% filter name(args) %}` over a body."""

    start: Ws
    call: TemplateCall
    body: Body
    end: Ws


@dataclass(frozen=True, slots=True)
class BlockTag:
    """`{% block name %}`: without inheritance, a body with a name."""

    start: Ws
    name: str
    body: Body
    end: Ws
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """`{% macro name(params) %}`; a parameter's default is a literal, or None."""

    start: Ws
    name: str
    params: tuple[tuple[str, TemplateLiteral | None], ...]
    body: Body
    end: Ws
    at: int = field(default=0, compare=False)


Node: TypeAlias = Text | Raw | Comment | Output | Set | Jump | Include | If | For | Section | BlockTag | Macro
Body: TypeAlias = tuple[Node, ...]
