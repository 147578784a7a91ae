"""Templates as values: parsed, validated and rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flowdsl.expressions.templates.filters import filter_of
from flowdsl.expressions.templates.grammar import parse_template
from flowdsl.expressions.templates.nodes import (
    BlockTag,
    Body,
    Expr,
    For,
    Ident,
    If,
    Include,
    Jump,
    Logic,
    Macro,
    MacroCall,
    Node,
    Section,
    Set,
    Test,
)
from flowdsl.expressions.templates.validation import check_names, check_twice
from flowdsl.expressions.templates.visitors import (
    all_exprs,
    all_nodes,
    bodies,
    exprs_of,
    idents,
    own_exprs,
    parts,
)
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    import polars as pl

    from flowdsl.expressions.row_source import Failures, Rows

_ROW_ONLY: Final = (Include, Jump, BlockTag)
_LOOP_NAMES = ("loop.index", "loop.index0", "loop.first", "loop.last")
_IN_LOOP = "loop."
"""Stands among the names of a body inside a loop."""


class Template:
    """Template of Tera 1, without what flowdsl rejects.

    >>> Template.parse("{{ fan.name | upper }} liked your post").render_row({("fan", "name"): "Ada"}.get)
    'ADA liked your post'
    """

    __slots__ = ("_body", "_reads", "has_column_form", "lenient", "text")

    text: str
    lenient: bool
    _body: Body
    _reads: FreeVariables
    has_column_form: bool
    """Whether whole columns are rendered at once; blocks, macros and loops in loops need the row form."""

    def __init__(self, text: str, body: Body, *, lenient: bool = False) -> None:
        reads = reads_of(body)
        for name, value in (
            ("text", text),
            ("lenient", lenient),
            ("_body", body),
            ("_reads", reads),
            ("has_column_form", _has_column_form(body)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, text: str, *, lenient: bool = False) -> Template:
        """Parse a template; `lenient` accepts unknown or rejected names, which then fail when they are
        reached.

        >>> Template.parse("{{ name | uper }}")
        Traceback (most recent call last):
        flowdsl.errors.TemplateError: unknown filter `uper`, at 1:11 of the template
        ...
        """
        body = parse_template(text, lenient=lenient)
        check_twice(text, body)
        if not lenient:
            check_names(text, body)
        return cls(text, body, lenient=lenient)

    @property
    def body(self) -> Body:
        """Nodes of the template."""
        return self._body

    @property
    def paths(self) -> frozenset[Path]:
        """Paths read from the context; each ends before its first index or path in brackets."""
        return frozenset(self._reads.paths)

    @property
    def optional_paths(self) -> frozenset[Path]:
        """Those of `paths` that need no value wherever they are read: only by `is defined`, `default`, `if`
        or `not`.
        """
        return frozenset(self._reads.tolerant)

    @property
    def can_crash(self) -> bool:
        """True if some values crash production's engine."""
        from flowdsl.expressions.templates.crashes import risks

        return next(risks(self._body), None) is not None

    @property
    def constant(self) -> str | None:
        """The text, if the template reads nothing and cannot fail."""
        from flowdsl.expressions.templates.failures import RenderError
        from flowdsl.values.json_types import MISSING

        if self._reads.all_paths:
            return None
        try:
            return self.render_row(lambda path: MISSING)
        except RenderError:
            return None

    def render_row(self, lookup: Callable[[Path], Any]) -> str:
        """Render in one context; `lookup` returns the JSON value at a path, or `MISSING`. Raise `RenderError`
        if it fails.
        """
        from flowdsl.expressions.templates.scalar import render_rows

        return render_rows(self._body, lookup)

    def render(self, rows: Rows) -> tuple[pl.Series, Failures | None]:
        """Render in many contexts; return the texts and the failures."""
        import polars

        from flowdsl.expressions.row_source import AsRead
        from flowdsl.expressions.templates.vectorized.renderer import render_distinct, render_mixed

        if not rows.size:
            return polars.Series([], dtype=polars.String), None
        if self.lenient:
            rows = AsRead(rows)
        paths = sorted(self._reads.all_paths)
        render = render_mixed if self.has_column_form else render_distinct
        return render(self._body, paths, rows)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a template cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and (self.text, self.lenient) == (other.text, other.lenient)

    def __hash__(self) -> int:
        return hash((Template, self.text, self.lenient))

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _parse, (self.text, self.lenient)


def _parse(text: str, lenient: bool) -> Template:
    return Template.parse(text, lenient=lenient)


def _has_column_form(body: Body) -> bool:
    for node in all_nodes(body):
        if isinstance(node, _ROW_ONLY) or (isinstance(node, Section) and not _is_plain(node)):
            return False
        if isinstance(node, For) and not _is_plain_loop(node):
            return False
    for expr in exprs_of(body):
        if isinstance(expr.value, MacroCall) or not all(map(_is_plain_path, idents(expr.value))):
            return False
    return True


def _is_plain_path(ident: Ident) -> bool:
    """Return True for a path of names and numbers that Tera reads as such."""
    return ident.odd is None and all(isinstance(step, str) for step in ident.steps)


def _is_plain(section: Section) -> bool:
    """Return True if the filter of a section is known and the same for all rows."""
    args = (part for _, arg in section.call.args for part in all_exprs(arg))
    return filter_of(section.call) is not None and not any(idents(part.value) for part in args)


def _is_plain_loop(loop: For) -> bool:
    """Return True for a loop over an array at a path, whose body sets no names and has no loop of its own."""
    inner = any(isinstance(node, (For, Set, Section)) for node in all_nodes(loop.body))
    return not inner and loop.key is None and loop.value != "loop" and isinstance(loop.container.value, Ident)


@dataclass
class FreeVariables:
    """Variables that a template reads.

    `paths` are read from the context; `all_paths` also has those below the template's own names, which Tera
    looks up in the context if the name has no such member; `tolerant` are the paths that need no value
    wherever they are read (`is defined`, `default`, a bare `if`, `not`).
    """

    paths: set[Path] = field(default_factory=set)
    all_paths: set[Path] = field(default_factory=set)
    strict: set[Path] = field(default_factory=set)

    @property
    def tolerant(self) -> set[Path]:
        return self.paths - self.strict


def reads_of(body: Body) -> FreeVariables:
    """Return everything a template reads."""
    finder = _Finder()
    finder.body(body, set())
    return finder.reads


class _Finder:
    def __init__(self) -> None:
        self.reads = FreeVariables()

    def body(self, body: Body, own: set[str]) -> None:
        """Visit a body; names it always sets are added to `own`."""
        for node in body:
            self.node(node, own)

    def node(self, node: Node, own: set[str]) -> None:
        if isinstance(node, If):
            self.conditions(node, own)
            return
        for expr in own_exprs(node):
            self.expr(expr, own)
        if isinstance(node, Set):
            own.add(node.name)
        elif isinstance(node, For):
            # an item named `loop` is never found: in Tera the name means the loop itself
            inner = (own | {_IN_LOOP, node.value}) - {"loop"} | ({node.key} if node.key else set())
            self.body(node.body, inner)
            self.body(node.empty or (), set(own))
        elif isinstance(node, Macro):
            self.body(node.body, {name for name, _ in node.params})
        else:
            for body in bodies(node):
                self.body(body, own)

    def conditions(self, node: If, own: set[str]) -> None:
        outcomes: list[set[str]] = []
        for _, expr, body in node.branches:
            self.condition(expr, own)
            inner = set(own)
            self.body(body, inner)
            outcomes.append(inner)
        inner = set(own)
        if node.otherwise:
            self.body(node.otherwise[1], inner)
        # only names that every branch has set are certain afterwards
        own.update(set.intersection(inner, *outcomes))

    def condition(self, expr: Expr, own: set[str]) -> None:
        """Visit a condition, in which a bare path needs no value."""
        if isinstance(expr.value, Ident):
            self.ident(expr.value, own, strict=False)
            self.filters(expr, own)
        else:
            self.expr(expr, own)

    def expr(self, expr: Expr, own: set[str]) -> None:
        value = expr.value
        if isinstance(value, Ident):
            self.ident(value, own, strict=not (expr.has_default or expr.negated))
        elif isinstance(value, Test):
            self.ident(value.ident, own, strict=value.name not in ("defined", "undefined"))
        read = self.condition if isinstance(value, Logic) else self.expr
        for part in parts(value):
            read(part, own)
        self.filters(expr, own)

    def filters(self, expr: Expr, own: set[str]) -> None:
        for call in expr.filters:
            for _, arg in call.args:
                self.expr(arg, own)

    def ident(self, ident: Ident, own: set[str], *, strict: bool) -> None:
        for inner in ident.inner:
            self.ident(inner, own, strict=strict)
        if ident.text in _LOOP_NAMES and _IN_LOOP in own:
            return
        if ident.root in own:
            if ident.steps:
                self.reads.all_paths.add(ident.path)
            return
        self.reads.paths.add(ident.path)
        self.reads.all_paths.add(ident.path)
        if strict:
            self.reads.strict.add(ident.path)
