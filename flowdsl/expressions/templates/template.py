"""Templates as values: parsed, validated and rendered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flowdsl.expressions.templates.filters import filter_of
from flowdsl.expressions.templates.free_variables import FreeVariables, reads_of
from flowdsl.expressions.templates.grammar import parse_template
from flowdsl.expressions.templates.nodes import BlockTag, Body, For, Include, Jump, MacroCall, Section
from flowdsl.expressions.templates.validation import check_names, check_twice
from flowdsl.expressions.templates.visitors import all_exprs, all_nodes, exprs_of, idents
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    import polars as pl

    from flowdsl.expressions.row_source import Failures, Rows

_ROW_ONLY: Final = (For, Include, Jump, BlockTag)


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
    """Whether whole columns are rendered at once; loops, blocks and macros need the row form."""

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
        """Paths read from the context; for an index or bracketed path, what precedes it."""
        return frozenset(self._reads.paths)

    @property
    def optional_paths(self) -> frozenset[Path]:
        """Those of `paths` that may lead nowhere wherever they are read: by `is defined`, `default`, `if` or
        `not`.
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
        from flowdsl.expressions.templates.vectorized.outcomes import NotColumnar
        from flowdsl.expressions.templates.vectorized.renderer import render_columns, render_distinct

        if not rows.size:
            return polars.Series([], dtype=polars.String), None
        if self.lenient:
            rows = AsRead(rows)
        paths = sorted(self._reads.all_paths)
        if self.has_column_form:
            try:
                return render_columns(self._body, paths, rows)
            except NotColumnar:
                # a whole number beyond 63 bits came up, which columns do not hold
                pass
        return render_distinct(self._body, paths, rows)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a template cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and (self.text, self.lenient) == (other.text, other.lenient)

    def __hash__(self) -> int:
        return hash((Template, self.text, self.lenient))

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _parsed, (self.text, self.lenient)


def _parsed(text: str, lenient: bool) -> Template:
    return Template.parse(text, lenient=lenient)


def _has_column_form(body: Body) -> bool:
    for node in all_nodes(body):
        if isinstance(node, _ROW_ONLY) or (isinstance(node, Section) and not _is_plain(node)):
            return False
    for expr in exprs_of(body):
        if isinstance(expr.value, MacroCall) or any(ident.rest for ident in idents(expr.value)):
            return False
    return True


def _is_plain(section: Section) -> bool:
    """Return True if the filter of a section is known and the same for all rows."""
    args = (part for _, arg in section.call.args for part in all_exprs(arg))
    return filter_of(section.call) is not None and not any(idents(part.value) for part in args)
