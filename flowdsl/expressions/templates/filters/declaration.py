"""Declarations of template filters: name, arguments, type of the result, and an optional column form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.filters.arguments import Arguments, text_of
from flowdsl.registry import lazy_function

if TYPE_CHECKING:
    import polars as pl

    from flowdsl.values.columns import Column

ResultType = Literal["text", "number", "array", "object"]
TextColumn = Callable[["pl.Series"], "pl.Series"]
"""Form of a filter of text for a whole column, letter for letter as for one text."""
ValueColumn = Callable[["Column", Arguments], "Column | None"]
"""Form of a filter for a whole column; returns None for columns or arguments that it leaves to the filter
itself, and a missing value for a row.
"""


@dataclass(frozen=True, eq=False)
class Filter:
    """Declaration of a template filter.

    Without a form for columns the filter is called once for each distinct value.

    Parameters
    ----------
    name
        the name in templates: `{{ x | name }}`
    run
        the function from a value and the arguments to a value; None for words that the grammar itself knows
    required, optional
        the names of the arguments
    result
        the type of every result; None where it depends on the value
    column
        the form for columns
    texts
        the form for columns of text, of a filter from text to text without arguments
    portable
        True if production has the filter

    >>> shout = Filter("shout", lambda value, args: f"{value}!")
    >>> shout.apply("hey", Arguments("shout", {}))
    'hey!'
    """

    name: str
    run: Callable[[Any, Arguments], Any] | None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    result: ResultType | None = "text"
    column: ValueColumn | None = None
    texts: TextColumn | None = None
    portable: bool = False

    def apply(self, value: Any, args: Arguments) -> Any:
        """Apply the filter to a value.

        Raises
        ------
        RenderError
            if the filter does not take the value or the arguments, or fails itself
        """
        if self.run is None:
            raise RenderError(f"unknown filter `{self.name}`")
        return self.run(value, args) if self.portable else _guard(self.name, self.run, value, args)


def _guard(name: str, run: Callable[[Any, Arguments], Any], value: Any, args: Arguments) -> Any:
    """Call a filter of another package; an exception or a result that is not JSON fails this value only."""
    try:
        result = run(value, args)
        json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except RenderError:
        raise
    except Exception as error:
        raise RenderError(f"`{name}` raised {type(error).__name__}: {error}"[:1000]) from error
    return result


OWN: Final[dict[str, Filter]] = {
    # `default` and `safe` are words of the grammar
    "default": Filter("default", None, ("value",), result=None, portable=True),
    "safe": Filter("safe", None, result=None, portable=True),
}
"""Filters of flowdsl by name, filled by the modules of this package."""

Run = Callable[[Any, Arguments], Any]


def column_form(name: str) -> ValueColumn:
    """Return the form of a filter for columns by its name in `vectorized.filters`."""
    return lazy_function("flowdsl.expressions.templates.vectorized.filters", name)


def value_filter(
    name: str,
    *required: str,
    optional: tuple[str, ...] = (),
    result: ResultType | None = "text",
    column: ValueColumn | None = None,
) -> Callable[[Run], Run]:
    """Declare a function of a value and arguments as a filter of Tera."""

    def declare(run: Run) -> Run:
        OWN[name] = Filter(name, run, required, optional, result, column, portable=True)
        return run

    return declare


def text_filter(
    name: str, texts: TextColumn | None = None
) -> Callable[[Callable[[str], str]], Callable[[str], str]]:
    """Declare a function of a text as a filter of Tera."""

    def declare(change: Callable[[str], str]) -> Callable[[str], str]:
        def run(value: Any, args: Arguments) -> str:
            return change(text_of(name, value))

        OWN[name] = Filter(name, run, texts=texts, portable=True)
        return change

    return declare
