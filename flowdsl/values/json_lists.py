"""Lists of JSON values taken apart: the elements of a column of lists as a column of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.values.columns import Column
from flowdsl.values.json_extraction import query_documents
from flowdsl.values.json_types import Index, Ints, Mask, Tag
from flowdsl.values.masks import as_mask
from flowdsl.values.orders import ranges
from flowdsl.values.small_json_extraction import elements_of_few

_NO_ELEMENTS = "[]"


@dataclass(frozen=True)
class JsonLists:
    """Elements of several lists, one list after the other, and how many each list has."""

    counts: Ints
    elements: Column

    @classmethod
    def of(cls, column: Column) -> JsonLists:
        """Take the lists of a column apart; a value that is not a list has no elements."""
        counts = np.zeros(column.size, np.int64)
        if column.nested is None:
            return cls(counts, Column(0, Tag.MISSING))
        lists = column.is_(Tag.ARRAY)
        lists &= as_mask(column.nested != _NO_ELEMENTS)
        rows = np.flatnonzero(lists)
        if not len(rows):
            return cls(counts, Column(0, Tag.MISSING))
        texts = column.nested if len(rows) == column.size else column.nested.gather(rows)
        counts[rows], elements = _take_apart(texts)
        return cls(counts, elements)

    def take(self, index: Index) -> JsonLists:
        """Return the lists at `index`."""
        counts = self.counts.take(index)
        starts = (np.cumsum(self.counts) - self.counts).take(index)
        return JsonLists(counts, self.elements.take(ranges(starts, counts)))

    def only(self, *tags: Tag) -> Mask:
        """Return a mask of the lists whose elements all have one of these types."""
        odd = np.flatnonzero(~self.elements.is_(*tags))
        mask = np.ones(len(self.counts), np.bool_)
        mask[np.searchsorted(np.cumsum(self.counts), odd, side="right")] = False
        return mask

    def where(self, kept: Mask) -> JsonLists:
        """Return the lists with nothing in those outside of a mask."""
        inside = np.repeat(kept, self.counts)
        return JsonLists(np.where(kept, self.counts, 0), self.elements.take(np.flatnonzero(inside)))


def join_texts(texts: pl.Series, counts: Ints, between: str = "") -> pl.Series:
    """Join the texts of each list, none of which is null: side by side, as many as it has; none make no text.

    >>> join_texts(pl.Series(["a", "b", "c"]), np.array([2, 0, 1]), ", ").to_list()
    ['a, b', '', 'c']
    """
    ends = pl.Series(np.cumsum(np.append(0, counts))).to_arrow()
    lists = pa.LargeListArray.from_arrays(ends, texts.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return pl.Series("text", lists).list.join(between)


def most_elements(column: Column) -> Ints:
    """Return how many elements the lists of a column have at most, without taking them apart."""
    most = np.zeros(column.size, np.int64)
    rows = np.flatnonzero(column.is_(Tag.ARRAY))
    if len(rows) and column.nested is not None:
        most[rows] = column.nested.gather(rows).str.count_matches(",", literal=True).to_numpy() + 1
    return most


def _take_apart(texts: pl.Series) -> tuple[Ints, Column]:
    """Return the number of elements of each list, none of which is empty, and all elements."""
    few = elements_of_few(texts)
    if few is not None:
        return np.array([*map(len, few)], np.int64), Column.of([*chain.from_iterable(few)])
    pieces, plain = _split(texts)
    if plain.all():
        return _count(pieces), _texts(pieces)
    counts = np.zeros(len(texts), np.int64)
    simple, others = np.flatnonzero(plain), np.flatnonzero(~plain)
    split = pieces.gather(simple)
    counts[simple] = _count(split)
    rows, parsed = _parse(texts.gather(others))
    counts[others] = np.bincount(rows, minlength=len(others))
    both = Column.concat([_texts(split), parsed])
    # where the elements of each list begin in `both`
    starts = np.zeros(len(texts), np.int64)
    starts[simple] = np.cumsum(counts[simple]) - counts[simple]
    starts[others] = np.cumsum(counts[others]) - counts[others] + int(counts[simple].sum())
    return counts, both.take(ranges(starts, counts))


def _split(texts: pl.Series) -> tuple[pl.Series, Mask]:
    """Return lists cut at `","`, and a mask of those for which this gives the elements.

    It does for lists of texts without escapes: between two pieces are two quotes, and if there are no others
    than those and the outer two, each piece is one text.
    """
    found = pl.DataFrame({"t": texts}).select(
        pl.col("t").str.slice(2).str.head(-2).str.split('","').alias("pieces"),
        quotes=pl.col("t").str.count_matches('"', literal=True),
        bare=pl.col("t").str.starts_with('["')
        & pl.col("t").str.ends_with('"]')
        & ~pl.col("t").str.contains("\\", literal=True),
    )
    plain = found["bare"] & (found["quotes"] == 2 * found["pieces"].list.len())
    return found["pieces"], plain.to_numpy()


def _count(lists: pl.Series) -> Ints:
    return lists.list.len().cast(pl.Int64).to_numpy()


def _texts(lists: pl.Series) -> Column:
    texts = lists.list.explode(empty_as_null=False, keep_nulls=False)
    return Column(len(texts), Tag.TEXT, texts=texts)


def _parse(texts: pl.Series) -> tuple[Index, Column]:
    """Return the list that each element is of, and the elements of lists of any values."""
    found = query_documents(texts, "SELECT n, unnest(json_extract(d, '$[*]')) AS d FROM documents")
    if not found["n"].is_sorted():
        found = found.sort("n", maintain_order=True)
    return found["n"].to_numpy(), Column.from_json(found["d"].cast(pl.String))
