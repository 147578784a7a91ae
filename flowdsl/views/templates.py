"""The one Jinja2 environment of the package: templates (`.html.j2`) are next to the modules that render
them.

A name from a flow or an event can hold anything. Everything that a template prints is escaped, and signs that
cannot be seen or that turn the direction of text are made visible; only drawings and style sheets are marked
`safe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, Final

from flowdsl.charts.chart import SERIES
from flowdsl.charts.formats import moment_text, number_text, share_text, span_text
from flowdsl.diagrams.palette import DARK, DARK_PAGES, LIGHT, LIGHT_PAGES, MONO, SANS
from flowdsl.diagrams.text_width import printable
from flowdsl.pluralize import count_text

if TYPE_CHECKING:
    from jinja2 import Environment

_CELL: Final = re.compile('<td((?: class="([a-z]+)[^"]*")?[^>]*)>')
_ROW: Final = '<tr style="display:flex;flex-wrap:wrap;align-items:flex-end">'
_LABEL: Final = '<small class="label" style="display:block;font-size:10px">{}</small>'
# of cells of a class, where a row is a block
_WIDTHS: Final = {"n": ' style="width:5.6em"', "whole": ' style="width:100%;text-align:left"'}


def render(template: str, **context: Any) -> str:
    """Render a template with values.

    Parameters
    ----------
    template
        The path of the template below the package, such as `reports/report.html.j2`.
    **context
        The values that the template names. One that is missing is an error.

    Returns
    -------
    str
        The HTML or CSS.

    Examples
    --------
    >>> render("reports/page.css").splitlines()[0]
    '@page { margin: 14mm; }'
    """
    return _environment().get_template(template).render(context)


@cache
def view_style() -> str:
    """Render the style sheet that everything shown in a notebook shares, with every rule below `.fd-view`."""
    return render(
        "views/schemes.css.j2",
        light=LIGHT,
        dark=DARK,
        light_pages=LIGHT_PAGES,
        dark_pages=DARK_PAGES,
        bar=SERIES[0],
        sans=SANS,
        mono=MONO,
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("flowdsl", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["view_style"] = view_style
    environment.filters.update(
        number=format_number,
        signed=format_change,
        figure=number_text,
        pluralize=count_text,
        share=share_text,
        span=span_text,
        moment=moment_text,
        json=format_json,
        labelled=label_cells,
        lines=printable_lines,
    )
    return environment


def format_number(value: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{value:,}"


def format_change(value: int) -> str:
    """Return a whole number with its sign."""
    return f"{'−' if value < 0 else '+'}{abs(value):,}"


def format_json(value: Any) -> str:
    """Return text as it is, and any other JSON value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def label_cells(rows: str, heads: Iterable[str]) -> str:
    """Return rows of a table in which each cell has the head of its column as a label, and each row is a
    block where no style sheet says otherwise, as in a notebook that is not trusted.
    """
    # a long name may break where it has a `_`
    labels = [_LABEL.format(escape(head).replace("_", "_<wbr>")) if head else "" for head in heads]

    def label(row: str) -> str:
        left = iter(labels)
        return _CELL.sub(lambda cell: f"<td{cell[1]}{_WIDTHS.get(cell[2], '')}>{next(left, '')}", row)

    return _ROW.join(map(label, str(rows).split("<tr>")))


def printable_lines(text: str, most: int) -> str:
    """Return the beginning of a text with all its signs made visible, and its lines kept."""
    return "\n".join(map(printable, text[:most].split("\n")))


def _finalize(value: Any) -> Any:
    return value if hasattr(value, "__html__") else printable(str(value))
