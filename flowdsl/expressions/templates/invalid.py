"""Invalid templates, accepted where production accepts them: they fail whenever they are rendered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowdsl.expressions.crashes import CrashReason
from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.template import Template
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    import polars as pl

    from flowdsl.expressions.row_source import Failures, Rows


class BrokenTemplate(Template):
    """Template that Tera cannot parse, so that it fails at each event in production.

    >>> BrokenTemplate("{{ x", "it does not end").render_row({}.get)
    Traceback (most recent call last):
    flowdsl.expressions.templates.failures.RenderError: it does not end
    """

    __slots__ = ("reason",)

    reason: str

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, (), lenient=True)
        object.__setattr__(self, "reason", reason)

    @property
    def can_crash(self) -> bool:
        """True if production crashes instead of failing."""
        return isinstance(self.reason, CrashReason)

    @property
    def constant(self) -> None:
        """None: it never renders."""
        return

    def render_row(self, lookup: Callable[[Path], Any]) -> str:
        """Raise the error of the template."""
        raise RenderCrashError(self.reason) if self.can_crash else RenderError(self.reason)

    def render(self, rows: Rows) -> tuple[pl.Series, Failures | None]:
        """Fail in every context."""
        import numpy as np
        import polars

        from flowdsl.expressions.row_source import Failures

        texts = polars.Series([""], dtype=polars.String).new_from_index(0, rows.size)
        return texts, Failures.where(np.ones(rows.size, np.bool_), self.reason)

    def __reduce__(self) -> tuple[Any, ...]:
        return BrokenTemplate, (self.text, self.reason)
