"""Values that windows collect of their members: lists of all, and single ones made of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.hoist import hoist
from flowdsl.expressions.aggregates import Aggregate, Collected
from flowdsl.expressions.conditions import evaluate
from flowdsl.expressions.conditions.nodes import Reference
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.kernels.batch_items import json_lists
from flowdsl.kernels.batch_members import ValuesAt
from flowdsl.kernels.keys import typed_spelling
from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Index, Ints, Mask, Tag, Tags, uniform
from flowdsl.values.orders import ranges
from flowdsl.values.paths import Path
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import INTS, OptionalField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# numbers are put together of two halves, so that no sum of fewer than 2^31 of them leaves 64 bits
_HALF: Final = 32
_FAR: Final = 1 << 29


@dataclass(frozen=True)
class CollectedValues(StateObject):
    """Of each window one value, or with `offsets` a list: the values `offsets[i] … offsets[i + 1]-1`."""

    saved = keeps(values=COLUMN, offsets=OptionalField(INTS))

    values: Column
    offsets: Ints | None = None

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> CollectedValues:
        values, offsets = fields["values"], fields["offsets"]
        if offsets is not None:
            source.check_lists(offsets, len(values))
        return cls(values, offsets)

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def column(self) -> Column:
        """Return the value or the list of each window."""
        if self.offsets is None:
            return self.values
        return json_lists(self.values.to_json().fill_null("null"), self.offsets)

    def take(self, index: Index) -> CollectedValues:
        """Return those of some windows."""
        if self.offsets is None:
            return CollectedValues(self.values.take(index))
        starts, counts = self.offsets[index], self.offsets[index + 1] - self.offsets[index]
        return CollectedValues(self.values.take(ranges(starts, counts)), np.append(0, np.cumsum(counts)))

    @classmethod
    def concat(cls, parts: Sequence[CollectedValues]) -> CollectedValues:
        """Return those of several parts, one part after the other."""
        values = Column.concat([part.values for part in parts])
        counts = [np.diff(part.offsets) for part in parts if part.offsets is not None]
        return cls(values, np.append(0, np.cumsum(np.concatenate(counts))) if counts else None)


def values_of(
    contexts: ContextBatch, wanted: Sequence[Collected]
) -> tuple[tuple[ValuesAt, ...], list[Failures | None]]:
    """Return the collected values of contexts for each expression, and the failures."""
    values: list[ValuesAt] = []
    failures = []
    for one in wanted:
        expression = one.expression if isinstance(one, Aggregate) else one
        if isinstance(expression, Reference) and contexts.variable(expression.path[0]) is None:
            # a value of an event can be read when it is needed
            values.append(partial(_read_at, contexts, expression.path))
            continue
        column, failed = hoist(
            contexts,
            expression,
            expression.paths,
            partial(evaluate, expression),
            asks=bool(expression.graph_calls),
        )
        values.append(_own(column, contexts.chunk.interner).take)
        failures.append(failed)
    return tuple(values), failures


def _read_at(contexts: ContextBatch, path: Path, rows: Index) -> Column:
    return _own(contexts.take(rows).column(path), contexts.chunk.interner)


def _own(column: Column, interner: Interner) -> Column:
    """Return a column whose texts, where they are codes, are those of the interner that is saved."""
    texts = column.texts
    if not isinstance(texts, DictionaryColumn) or texts.interner is interner:
        return column
    parts = {name: getattr(column, name) for name in ("ints", "floats", "bools", "nested", "wide")}
    return Column(column.size, column.tags, texts=texts.series(), **parts)


def can_fail(one: Collected) -> bool:
    """Return True if a window may lack the value: those computed from numbers may."""
    return isinstance(one, Aggregate) and one.function in ("sum", "min", "max")


def collect_values(one: Collected, values: Column, offsets: Ints) -> tuple[CollectedValues, Failures | None]:
    """Return what windows collect: the values `offsets[i] … offsets[i + 1]-1` are those of the members of
    one. Some fail.
    """
    if not isinstance(one, Aggregate):
        return CollectedValues(values, offsets), None
    missing = values.is_(Tag.MISSING)
    counts = np.diff(offsets)
    place = np.repeat(np.arange(len(counts)), counts)
    if missing.any():
        there = np.flatnonzero(~missing)
        values, place = values.take(there), place[there]
        counts = np.bincount(place, minlength=len(counts))
    return _AGGREGATED[one.function](_Inside(str(one), values, place, counts))


@dataclass(frozen=True)
class _Inside:
    """The values of windows, none of them missing: the window of each, in order, and how many each has."""

    text: str
    values: Column
    place: Ints
    counts: Ints

    @property
    def starts(self) -> Ints:
        starts: Ints = np.cumsum(self.counts) - self.counts
        return starts

    def at(self, rows: Ints) -> CollectedValues:
        """Return the values at these rows, one a window; missing where a window has none."""
        if not len(self.values):
            return CollectedValues(Column(len(rows), Tag.MISSING))
        values = self.values.take(rows.clip(0, len(self.values) - 1))
        none = self.counts == 0
        if none.any():
            values.tags = uniform(np.where(none, np.uint8(Tag.MISSING), values.tag_array()))
        return CollectedValues(values)

    def no_numbers(self) -> Failures | None:
        """Return which windows have values that are not numbers."""
        found = self.values.present() - {Tag.INT, Tag.FLOAT}
        if not len(self.values) or not found:
            return None
        codes = np.zeros(len(self.counts), np.int32)
        messages = []
        for tag in sorted(found):
            windows = self.place[self.values.is_(tag)]
            messages.append(f"{self.text} takes numbers, and one of its values is {_NAMES[tag]}")
            codes[windows[codes[windows] == 0]] = len(messages)
        return Failures(codes, tuple(messages)) if codes.any() else None


Outcome = tuple[CollectedValues, Failures | None]
_NAMES: Final = {
    Tag.NULL: "null",
    Tag.BOOL: "true or false",
    Tag.TEXT: "text",
    Tag.ARRAY: "an array",
    Tag.OBJECT: "an object",
}


def _first(inside: _Inside) -> Outcome:
    return inside.at(inside.starts), None


def _last(inside: _Inside) -> Outcome:
    return inside.at(inside.starts + inside.counts - 1), None


def _count(inside: _Inside) -> Outcome:
    return CollectedValues(Column(len(inside.counts), Tag.INT, ints=inside.counts.astype(np.int64))), None


def _unique(inside: _Inside) -> Outcome:
    # the only value of a window is like no other
    among = np.flatnonzero((inside.counts > 1)[inside.place])
    kept = np.ones(len(inside.place), np.bool_)
    if len(among):
        alike = _alike(inside.values.take(among))
        rows = pl.DataFrame({"place": inside.place[among], "value": alike}).with_row_index()
        first = rows.unique(["place", "value"], keep="first")["index"].to_numpy()
        kept[among] = False
        kept[among[first]] = True
    rest = np.flatnonzero(kept)
    counts = np.bincount(inside.place[rest], minlength=len(inside.counts))
    return CollectedValues(inside.values.take(rest), np.append(0, np.cumsum(counts)).astype(np.int64)), None


def _alike(values: Column) -> pl.Series:
    """Return a series that is equal exactly where values are equal."""
    tag = values.one_tag()
    if tag is Tag.TEXT:
        texts = values.texts
        return pl.Series(texts.codes) if isinstance(texts, DictionaryColumn) else values.text_series()
    if tag is Tag.INT and values.ints is not None:
        return pl.Series(values.ints)
    return typed_spelling(values)


def _extreme(inside: _Inside, sign: int) -> Outcome:
    """Return the first of the least values, or with a sign of -1 of the greatest."""
    order = np.lexsort((sign * _ranks(inside.values), inside.place))
    starts = inside.starts.clip(0, max(len(order) - 1, 0))
    rows = order[starts] if len(order) else starts
    return inside.at(rows), inside.no_numbers()


def _ranks(values: Column) -> Ints:
    """Return numbers that are ordered like the values; values that are not numbers have any."""
    tag = values.one_tag()
    numbers: Any = values.ints if tag is Tag.INT else values.floats if tag is Tag.FLOAT else None
    if numbers is not None and values.wide is None:
        return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    plain = [v if isinstance(v, (int, float)) else 0 for v in values.values()]
    # Python compares integers and floats exactly
    rank = {number: place for place, number in enumerate(sorted(set(plain)))}
    return np.array([rank[number] for number in plain], np.int64)


def _sum(inside: _Inside) -> Outcome:
    """Return the sums: integers exactly, floats in order, and both together where there are both."""
    values, size = inside.values, len(inside.counts)
    whole, floating = values.is_(Tag.INT), values.is_(Tag.FLOAT)
    wide = values.wide
    digits: dict[int, int] = {}
    if wide is not None:
        rows = np.flatnonzero(floating & wide.is_not_null().to_numpy())
        floating[rows] = False
        for row in rows.tolist():
            window = int(inside.place[row])
            digits[window] = digits.get(window, 0) + int(wide[row])
    wholes = _whole_sums(values, inside.place, whole, size, digits)
    if not floating.any():
        return CollectedValues(wholes), inside.no_numbers()
    floats, place = values.floats, inside.place
    assert floats is not None
    rows = np.flatnonzero(floating)
    sums = np.bincount(place[rows], weights=floats[rows], minlength=size)
    mixed = np.bincount(place[rows], minlength=size) > 0
    tags: Tags = np.where(mixed, np.uint8(Tag.FLOAT), wholes.tag_array())
    base = wholes.floats if wholes.floats is not None else np.zeros(size)
    if wholes.ints is not None:
        base = np.where(wholes.is_(Tag.INT), wholes.ints.astype(np.float64), base)
    both = np.where(mixed, base + sums, base)
    result = Column(size, uniform(tags), ints=wholes.ints, floats=both, wide=_only(wholes.wide, ~mixed))
    infinite = (tags == Tag.FLOAT) & ~np.isfinite(both)
    beyond = Failures.where(infinite, f"{inside.text} is beyond what a number can be")
    return CollectedValues(result), first_failures([inside.no_numbers(), beyond])


def _whole_sums(values: Column, place: Ints, whole: Mask, size: int, digits: dict[int, int]) -> Column:
    high, low = np.zeros(size, np.int64), np.zeros(size, np.int64)
    if values.ints is not None and whole.any():
        rows = np.flatnonzero(whole)
        ints, where = values.ints[rows], place[rows]
        change = np.flatnonzero(np.diff(where, prepend=-1))
        high[where[change]] = np.add.reduceat(ints >> _HALF, change)
        low[where[change]] = np.add.reduceat(ints & ((1 << _HALF) - 1), change)
    # what the lower halves carry over
    high, low = high + (low >> _HALF), low & ((1 << _HALF) - 1)
    far = np.flatnonzero(np.abs(high) >= _FAR)
    near = (high << _HALF) | low
    if not len(far) and not digits:
        return Column(size, Tag.INT, ints=near)
    sums: list[int] = near.tolist()
    for window in {*far.tolist(), *digits}:
        sums[window] = (int(high[window]) << _HALF) + int(low[window]) + digits.get(window, 0)
    return Column.of(sums)


def _only(wide: pl.Series | None, mask: Mask) -> pl.Series | None:
    return None if wide is None else pl.select(pl.when(pl.Series(mask)).then(wide)).to_series()


_AGGREGATED: Final[dict[str, Callable[[_Inside], Outcome]]] = {
    "sum": _sum,
    "min": lambda inside: _extreme(inside, 1),
    "max": lambda inside: _extreme(inside, -1),
    "first": _first,
    "last": _last,
    "unique": _unique,
    "count": _count,
}
