"""Tera's filters on Python values, by name.

Each takes the value and its arguments and gives a value or fails; none reads a clock, a file or anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.expressions.templates import rust_text
from flowdsl.expressions.templates.filters import lists, scalars, text
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.filters.dates import date

Filter = Callable[[Any, Arguments], Any]

TEXT_CHANGES: Final[Mapping[str, Callable[[str], str]]] = {
    "addslashes": text.addslashes,
    "capitalize": text.capitalize,
    "escape": text.escape,
    "escape_xml": text.escape_xml,
    "linebreaksbr": text.linebreaksbr,
    "lower": rust_text.lower,
    "spaceless": text.spaceless,
    "striptags": text.striptags,
    "title": text.title,
    "trim": text.trim,
    "trim_end": text.trim_end,
    "trim_start": text.trim_start,
    "upper": rust_text.upper,
    "urlencode": text.urlencode,
    "urlencode_strict": text.urlencode_strict,
}
"""Filters from text to text that take no arguments."""

FILTERS: Final[Mapping[str, Filter]] = {
    **{name: text.plain(change, name) for name, change in TEXT_CHANGES.items()},
    "abs": scalars.absolute,
    "as_str": scalars.as_str,
    "concat": lists.concat,
    "date": date,
    "filesizeformat": scalars.filesizeformat,
    "filter": lists.filter_items,
    "first": lists.first,
    "float": scalars.to_float,
    "get": lists.get,
    "group_by": lists.group_by,
    "indent": text.indent,
    "int": scalars.to_int,
    "join": lists.join,
    "json_encode": scalars.json_encode,
    "last": lists.last,
    "length": scalars.length,
    "map": lists.map_items,
    "nth": lists.nth,
    "pluralize": scalars.pluralize,
    "replace": text.replace,
    "reverse": scalars.reverse,
    "round": scalars.rounded,
    "slice": lists.slice_items,
    "slugify": text.slugify,
    "sort": lists.sort,
    "split": text.split,
    "trim_end_matches": text.trim_end_matches,
    "trim_start_matches": text.trim_start_matches,
    "truncate": text.truncate,
    "unique": lists.unique,
    "wordcount": text.wordcount,
}
"""All filters but `default` and `safe`, which are no more than words to Tera."""
