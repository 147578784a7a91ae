"""Tera's filters by name, and those that other packages add (`flowdsl.filters`).

Each takes a value and arguments, and returns a value or fails; none reads a clock, a file or anything else.
"""

from __future__ import annotations

from typing import Final

# each module declares its filters when it is imported
from flowdsl.expressions.templates.filters import dates as dates
from flowdsl.expressions.templates.filters import lists as lists
from flowdsl.expressions.templates.filters import scalars as scalars
from flowdsl.expressions.templates.filters import text as text
from flowdsl.expressions.templates.filters.declaration import OWN
from flowdsl.expressions.templates.filters.declaration import Filter as Filter
from flowdsl.expressions.templates.nodes import TemplateCall
from flowdsl.registry import Registry, instance_problem

FILTERS: Final[Registry[Filter]] = Registry(
    "flowdsl.filters", dict(sorted(OWN.items())), instance_problem(Filter)
)
"""All filters by name."""


def filter_of(call: TemplateCall) -> Filter | None:
    """Return the filter that a call names, or None; a template that is read as in production has only
    production's filters.
    """
    found = FILTERS.get(call.name)
    return None if found is None or (call.lenient and not found.portable) else found
