"""The variable `batch`: what a window of contexts was, once it goes on as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import ValueColumnVariable, Variable
from flowdsl.kernels.windows import stable_order
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_texts import quoted
from flowdsl.values.json_types import Index, Tag
from flowdsl.values.paths import Path
from flowdsl.values.ranges import ranges
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import (
    CODES,
    INTERNER,
    INTS,
    ArrayField,
    ListField,
    ObjectField,
    OptionalField,
)
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Ints = npt.NDArray[np.int64]
# numbers so far apart are searched rather than looked up in a table
_SPARSE: Final = 256


@dataclass(frozen=True)
class Roots(StateObject):
    """Of contexts that came out of windows, the events that opened those, the first of several windows, and
    their branches.

    The event that a window ends with is another when there is more of the log; the one that it began with
    stays.
    """

    saved = keeps(seq=INTS, branches=ListField(ArrayField(np.int32, 0), tuple))

    seq: Ints
    branches: tuple[npt.NDArray[np.int32], ...] = ()

    @classmethod
    def of(cls, contexts: ContextBatch, names: Sequence[str]) -> Roots | None:
        """Those of contexts; None where they came out of no window. `names` are those of the variable of a
        window.
        """
        variable = _window_of(contexts, names)
        if variable is None:
            return None
        items: BatchItems = variable.items  # type: ignore[attr-defined]
        return cls(items.opened_by, (*items.opened_in, *contexts.branches[len(items.opened_in) :]))

    @classmethod
    def restored(cls, said: dict[str, Any], source: StateReader) -> Roots:
        levels = {f"branches {level}": len(numbers) for level, numbers in enumerate(said["branches"])}
        source.agree(seq=len(said["seq"]), **levels)
        return cls(**said)

    def __len__(self) -> int:
        return len(self.seq)

    def take(self, rows: Index) -> Roots:
        """Those of some contexts."""
        return Roots(self.seq[rows], tuple(level[rows] for level in self.branches))

    def joined(self, later: Roots) -> Roots:
        """Return these, then others."""
        levels = zip(self.branches, later.branches, strict=True)
        return Roots(np.concatenate([self.seq, later.seq]), tuple(np.concatenate(level) for level in levels))


@dataclass(frozen=True)
class ItemLists(StateObject):
    """Members of windows, those of one window in the order in which they came: the window each is in, its
    item, event and branch.

    `roots` are there where the members came out of other windows.
    """

    saved = keeps(
        windows=INTS,
        items=CODES,
        seq=INTS,
        branches=ListField(ArrayField(np.int32, 0), tuple),
        roots=OptionalField(ObjectField(Roots)),
    )

    windows: Ints
    items: Codes
    seq: Ints
    branches: tuple[npt.NDArray[np.int32], ...] = ()
    roots: Roots | None = None

    @classmethod
    def restored(cls, said: dict[str, Any], source: StateReader) -> ItemLists:
        levels = {f"branches {level}": len(numbers) for level, numbers in enumerate(said["branches"])}
        roots = {} if said["roots"] is None else {"roots": len(said["roots"])}
        source.agree(**{name: len(said[name]) for name in ("windows", "items", "seq")}, **levels, **roots)
        return cls(**said)

    @classmethod
    def none(cls) -> ItemLists:
        """No members."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))

    @classmethod
    def of_contexts(
        cls, contexts: ContextBatch, rows: Index, windows: Ints, names: Sequence[str]
    ) -> ItemLists:
        """Return some contexts as members of these windows; an item is the event's source id, else its
        entity id.

        `names` are those of the variable of a window.
        """
        chunk, events = contexts.chunk, contexts.rows.take(rows)
        sources = chunk.codes("source_id", events)
        if not sources.all():
            sources = np.where(sources > 0, sources, chunk.codes("entity_id", events))
        roots = Roots.of(contexts, names)
        return cls(
            windows,
            sources,
            contexts.seq.take(rows),
            tuple(b.take(rows) for b in contexts.branches),
            None if roots is None else roots.take(rows),
        )

    def __len__(self) -> int:
        return len(self.windows)

    def joined(self, later: ItemLists) -> ItemLists:
        """Return these members, then others that came later."""
        if not len(self):
            return later
        levels = zip(self.branches, later.branches, strict=True) if len(later) else ()
        return ItemLists(
            np.concatenate([self.windows, later.windows]),
            np.concatenate([self.items, later.items]),
            np.concatenate([self.seq, later.seq]),
            tuple(np.concatenate(level) for level in levels) if len(later) else self.branches,
            self.roots if self.roots is None or later.roots is None else self.roots.joined(later.roots),
        )

    def grouped(self, windows: Ints) -> tuple[ItemLists, Ints]:
        """Return the members of these windows, one window after the other, and where those of each begin."""
        place = self._among(windows)
        order = stable_order(place)
        order = order[np.searchsorted(place[order], 0) :]
        counts = np.bincount(place[order], minlength=len(windows))
        return self._at(order), np.cumsum(counts) - counts

    def runs(self, starts: Ints, counts: Ints) -> ItemLists:
        """Stretches of so many members from these places on, one after the other."""
        return self._at(ranges(starts, counts))

    def _at(self, rows: Index) -> ItemLists:
        return ItemLists(
            self.windows[rows],
            self.items[rows],
            self.seq[rows],
            tuple(b[rows] for b in self.branches),
            None if self.roots is None else self.roots.take(rows),
        )

    def of(self, windows: Ints) -> ItemLists:
        """Return the members of these windows only."""
        rows = np.flatnonzero(self._among(windows) >= 0)
        return self if len(rows) == len(self) else self._at(rows)

    def lists(self, windows: Ints, interner: Interner) -> BatchItems:
        """Return the items of each of these windows, in their order."""
        inside, starts = self.grouped(windows)
        first = Roots(inside.seq, inside.branches) if inside.roots is None else inside.roots
        first = first.take(starts)
        return BatchItems(inside.items, np.append(starts, len(inside)), interner, first.seq, first.branches)

    def _among(self, windows: Ints) -> Ints:
        """For each member the place of its window in `windows`, -1 where it is not among them."""
        if not len(windows) or not len(self):
            return np.full(len(self), -1, np.int64)
        low, high = int(self.windows.min()), int(self.windows.max())
        if high - low > _SPARSE * (len(self) + len(windows)):
            return self._found_among(windows)
        table = np.full(high - low + 1, -1, np.int64)
        inside = (windows >= low) & (windows <= high)
        table[windows[inside] - low] = np.flatnonzero(inside)
        return table[self.windows - low]

    def _found_among(self, windows: Ints) -> Ints:
        """Return the same where a table of all numbers would be large for so few."""
        order = np.argsort(windows)
        at = np.searchsorted(windows, self.windows, sorter=order).clip(0, len(windows) - 1)
        place = order[at]
        return np.where(windows[place] == self.windows, place, -1)


@dataclass(frozen=True)
class BatchItems(StateObject):
    """A list of ids for each context: `codes[offsets[i] … offsets[i + 1]-1]`.

    `opened_by` is the event that it begins with, of windows of what came out of windows that of the first of
    these; `opened_in` is the branch of it.
    """

    saved = keeps(
        codes=CODES,
        offsets=INTS,
        interner=INTERNER,
        opened_by=INTS,
        opened_in=ListField(ArrayField(np.int32, 0), tuple),
    )

    codes: Codes
    offsets: Ints
    interner: Interner
    opened_by: Ints
    opened_in: tuple[npt.NDArray[np.int32], ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def restored(cls, said: dict[str, Any], source: StateReader) -> BatchItems:
        offsets = said["offsets"]
        ends = len(offsets) and offsets[0] == 0 and offsets[-1] == len(said["codes"])
        source.check(ends and (np.diff(offsets) >= 0).all(), "no lists side by side")
        levels = {f"opened_in {level}": len(numbers) for level, numbers in enumerate(said["opened_in"])}
        source.agree(lists=len(offsets) - 1, opened_by=len(said["opened_by"]), **levels)
        return cls(**said)

    def take(self, index: Index) -> BatchItems:
        """Return the lists at `index`."""
        starts, counts = self.offsets[index], self.offsets[index + 1] - self.offsets[index]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        opened_in = tuple(level[index] for level in self.opened_in)
        codes = self.codes[ranges(starts, counts)]
        return BatchItems(codes, offsets, self.interner, self.opened_by[index], opened_in)

    @classmethod
    def joined(cls, parts: Sequence[BatchItems]) -> BatchItems:
        """Return the lists of several parts, one part after the other."""
        shifts = np.cumsum([0, *(int(p.offsets[-1]) for p in parts[:-1])])
        ends = [p.offsets[1:] + shift for p, shift in zip(parts, shifts, strict=True)]
        return cls(
            np.concatenate([p.codes for p in parts]),
            np.concatenate([[0], *ends]),
            parts[0].interner,
            np.concatenate([p.opened_by for p in parts]),
            tuple(map(np.concatenate, zip(*(p.opened_in for p in parts), strict=True))),
        )

    def column(self) -> Column:
        """Return the lists as JSON arrays; an event without an id counts as empty text."""
        if not len(self):
            return Column(0, Tag.ARRAY)
        texts = quoted(self.interner.texts(self.codes)).fill_null('""')
        place = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        joined = (
            pl.DataFrame({"place": place, "text": texts})
            .group_by("place", maintain_order=True)
            .agg(pl.col("text").str.join(","))
        )
        return Column(len(self), Tag.ARRAY, nested=("[" + joined["text"] + "]"))


@dataclass(frozen=True)
class BatchVariable(ValueColumnVariable):
    """`batch` of each context: `count, key, items, first_at, last_at, closed_at`."""

    saved = keeps(
        counts=INTS, keys=COLUMN, items=ObjectField(BatchItems), first_at=INTS, last_at=INTS, closed_at=INTS
    )

    counts: Ints
    keys: Column
    items: BatchItems
    first_at: Ints
    last_at: Ints
    closed_at: Ints

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def restored(cls, said: dict[str, Any], source: StateReader) -> BatchVariable:
        source.agree(**{name: len(part) for name, part in said.items()})
        return cls(**said)

    def column(self, below: Path, chunk: Chunk) -> Column:
        """Return the values of a field; the whole object for the empty path."""
        if not below:
            names = ("count", "key", "items", "first_at", "last_at", "closed_at")
            return Payload({name: self.column((name,), chunk) for name in names}, len(self.counts)).column(())
        name, rest = below[0], below[1:]
        if name == "key":
            return Payload(self.keys, len(self.counts)).column(rest)
        if rest:
            return Column(len(self.counts), Tag.MISSING)
        if name == "count":
            return Column(len(self.counts), Tag.INT, ints=self.counts)
        if name == "items":
            return self.items.column()
        if name in ("first_at", "last_at", "closed_at"):
            return Column.from_series(pl.Series(getattr(self, name)).cast(pl.Datetime("us", "UTC")))
        return Column(len(self.counts), Tag.MISSING)

    def take(self, index: Index) -> BatchVariable:
        return BatchVariable(
            self.counts.take(index),
            self.keys.take(index),
            self.items.take(index),
            self.first_at.take(index),
            self.last_at.take(index),
            self.closed_at.take(index),
        )

    def joined(self, parts: Sequence[BatchVariable]) -> BatchVariable:
        return BatchVariable(
            np.concatenate([p.counts for p in parts]),
            Column.concat([p.keys for p in parts]),
            BatchItems.joined([p.items for p in parts]),
            np.concatenate([p.first_at for p in parts]),
            np.concatenate([p.last_at for p in parts]),
            np.concatenate([p.closed_at for p in parts]),
        )


@dataclass(frozen=True)
class Opened:
    """Of windows: the event that opened each, its branch, and when that was (µs; 0 where no clock is kept)."""

    seq: Ints
    branches: tuple[npt.NDArray[np.int32], ...]
    moments: Ints


def opened(contexts: ContextBatch, names: Sequence[str]) -> Opened | None:
    """Return how the last window was opened that each context came out of; None where they came out of
    none.
    """
    variable = _window_of(contexts, names)
    if variable is None:
        return None
    items: BatchItems = variable.items  # type: ignore[attr-defined]
    moments = getattr(variable, "first_at", None)
    return Opened(
        items.opened_by, items.opened_in, np.zeros(len(items), np.int64) if moments is None else moments
    )


def _window_of(contexts: ContextBatch, names: Sequence[str]) -> Variable | None:
    """Return the variable of the last window that contexts came out of."""
    found = (contexts.variable(name) for name in names)
    return next((v for v in found if isinstance(getattr(v, "items", None), BatchItems)), None)
