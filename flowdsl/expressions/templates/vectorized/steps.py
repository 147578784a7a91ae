"""Steps below values by columns: members of objects, and items of arrays."""

from __future__ import annotations

from functools import cached_property
from itertools import takewhile

import numpy as np
import polars as pl

from flowdsl.expressions.templates.vectorized.outcomes import NotColumnar, either, finite
from flowdsl.values.columns import Column
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_lists import JsonLists
from flowdsl.values.json_types import Tag
from flowdsl.values.paths import Path

_DIGITS = 19


class Below:
    """Members and items of the values of a column, each read once."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._found: dict[Path, Below] = {}

    def at(self, steps: Path) -> Column:
        """Return the values after some steps, missing where they lead nowhere."""
        if not steps:
            return exact(self.column)
        names = tuple(takewhile(lambda step: not step.isdigit(), steps))
        first = names or steps[:1]
        if first not in self._found:
            self._found[first] = Below(self._members.column(first) if names else self._items(first[0]))
        return self._found[first].at(steps[len(first) :])

    @cached_property
    def _members(self) -> Documents:
        objects = self.column.is_(Tag.OBJECT)
        texts = self.column.nested
        if texts is None or not objects.any():
            texts = pl.Series([None], dtype=pl.String).new_from_index(0, self.column.size)
        elif not objects.all():
            texts = pl.select(pl.when(pl.Series(objects)).then(texts)).to_series()
        return Documents(texts, none=Tag.MISSING)

    @cached_property
    def _lists(self) -> JsonLists:
        return JsonLists.of(self.column)

    def _items(self, step: str) -> Column:
        """Return the items with a number, and the members that are called so."""
        named, lists = self._members.column((step,)), self._lists
        if not step.isascii() or len(step) > _DIGITS or (step[0] == "0" and step != "0"):
            return named
        ends = np.cumsum(lists.counts)
        # behind all elements stands none
        place = np.where(lists.counts > int(step), ends - lists.counts + int(step), lists.elements.size)
        items = Column.concat([lists.elements, Column(1, Tag.MISSING)]).take(place)
        return either(self.column.is_(Tag.ARRAY), items, named)


def exact(column: Column) -> Column:
    """Return a column as templates see it; raise `NotColumnar` where it does not hold its values exactly."""
    if column.wide is not None:
        raise NotColumnar
    return finite(column)
