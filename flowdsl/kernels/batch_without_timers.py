"""Batches without a timer: a window ends only when an event comes by after its time, and that event is in
none.

The event that finds a window over goes on in the place of all that waited in it; where the window has too
few, it is dropped with them. What is open at the end never comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import ValueColumnVariable
from flowdsl.kernels.batch_items import BatchItems
from flowdsl.kernels.batch_members import ItemLists, Roots, WindowMembers
from flowdsl.kernels.held_rows import HeldRows, windows_text
from flowdsl.kernels.kernel import Kernel, split_keyed
from flowdsl.kernels.keys import KeySpace
from flowdsl.kernels.outcome import Absorbed, Dropped, StepOutcome, Until, dropped_held, dropped_rows
from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.kernels.windows import FixedReach, Groups, Windows
from flowdsl.rules import Rules
from flowdsl.values.canonical_json import spell
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_types import Index, Ints, Tag
from flowdsl.values.orders import ranges
from flowdsl.values.paths import Path
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import INTS, MOST, ObjectField, WholeField
from flowdsl.values.state_objects import StateReader, keeps

NAMES = ("count", "items", "key")


@dataclass(frozen=True)
class CountedBatch(ValueColumnVariable):
    """The batch of each context: `count`, `key` as text, and `items`."""

    saved = keeps(counts=INTS, keys=COLUMN, items=ObjectField(BatchItems))

    counts: Ints
    keys: Column
    items: BatchItems

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> CountedBatch:
        source.agree(**{name: len(part) for name, part in fields.items()})
        return cls(**fields)

    def column(self, below: Path, chunk: Chunk) -> Column:
        """Return the values of a field; the whole object for the empty path."""
        if not below:
            return Payload({name: self.column((name,), chunk) for name in NAMES}, len(self.counts)).column(())
        field, *deeper = below
        if deeper or field not in NAMES:
            return Column(len(self.counts), Tag.MISSING)
        if field == "key":
            return self.keys
        if field == "items":
            return self.items.column()
        return Column(len(self.counts), Tag.INT, ints=self.counts)

    def settle(self) -> None:
        self.items.lists.made()

    def take(self, index: Index) -> CountedBatch:
        return CountedBatch(self.counts.take(index), self.keys.take(index), self.items.take(index))

    def concat(self, parts: Sequence[CountedBatch]) -> CountedBatch:
        keys = Column.concat([p.keys for p in parts])
        counts = np.concatenate([p.counts for p in parts])
        return CountedBatch(counts, keys, BatchItems.concat([p.items for p in parts]))


@dataclass(frozen=True)
class _Windows(Arrays):
    """Windows: their key, number (ascending in the order of opening), start, count, and the row that finds
    each over.
    """

    keys: Ints
    numbers: Ints
    opened: Ints
    counts: Ints
    found_by: Ints


class UntimedBatchKernel(Kernel):
    """Remembers of each open window when it began and the items in it; of contexts that wait nothing else is
    needed.
    """

    saved = keeps(
        _space=ObjectField(KeySpace),
        _open=ObjectField(_Windows),
        _members=ObjectField(ItemLists),
        _next=WholeField(0, MOST),
    )

    def __init__(self, key: Path, window: int, min_count: int, rules: Rules) -> None:
        self._key, self._window, self._min_count, self._rules = key, window, min_count, rules
        self._space = KeySpace((key,), rules)
        # sorted by key
        self._open = _Windows.none()
        self._members = ItemLists.none()
        self._next = 0

    @property
    def held(self) -> int:
        return int(self._open.counts.sum())

    def keys_held(self) -> list[Ints]:
        return [self._open.keys]

    def remembers(self, clock: int) -> str:
        return windows_text(len(self._open), self.held)

    def members(self, interner: Interner) -> HeldRows:
        return HeldRows.of_windows(self._open, self._members, self._space, interner)

    def check(self, source: StateReader) -> None:
        source.check((np.diff(self._open.keys) > 0).all(), "windows that are not in the order of keys")
        each = np.bincount(np.searchsorted(np.sort(self._open.numbers), self._members.windows))
        source.check(int(each.sum()) == self.held, "windows with other members than they count")

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        contexts, keys, failed = split_keyed(self._space, contexts)
        if not len(contexts):
            return StepOutcome(contexts, failed)
        groups = Groups.of(keys, contexts.moment)
        windows, member_of = self._windows(groups)
        waiting = np.flatnonzero(member_of >= 0)
        joining = contexts.take(waiting)
        members = self._members.concat(
            ItemLists(
                member_of[waiting],
                _items(joining),
                joining.seq,
                joining.branches,
                Roots.of(joining, self._rules.batch_names),
            )
        )
        over = windows.found_by >= 0
        enough = windows.counts >= self._min_count
        dropped = self._drop(contexts, windows.take(np.flatnonzero(over & ~enough)), members)
        out, absorbed = self._go_on(contexts, windows.take(np.flatnonzero(over & enough)), members)
        left = windows.take(np.flatnonzero(~over))
        self._open = left.take(np.argsort(left.keys))
        self._members = members.of(left.numbers)
        return StepOutcome(out, failed, dropped, absorbed)

    def _windows(self, groups: Groups) -> tuple[_Windows, Ints]:
        """All windows, those carried in first, and for each row the number of the window it waits in, -1 for
        none.
        """
        window, carried = self._window, self._open
        start = groups.starts.copy()
        place = groups.places.of(carried.keys)
        touched = np.flatnonzero(place >= 0)
        group = place[touched]
        ends = groups.first_at_or_after(groups.ends[group], carried.opened[touched] + window)
        start[group] = np.minimum(ends + 1, groups.ends[group])
        found = Windows.find(groups, start, FixedReach(groups, window), gap=1)
        fresh = self._opened(groups, found)
        found_by, counts = carried.found_by.copy(), carried.counts.copy()
        found_by[touched] = _finders(groups, group, ends)
        counts[touched] += ends - groups.starts[group]
        grown = _Windows(carried.keys, carried.numbers, carried.opened, counts, found_by)
        member_of = np.full(len(groups.order), -1, np.int64)
        firsts = np.concatenate([groups.starts[group], found.first])
        sizes = np.concatenate([ends, found.end]) - firsts
        owners = np.concatenate([carried.numbers[touched], fresh.numbers])
        member_of[groups.order[ranges(firsts, sizes)]] = np.repeat(owners, sizes)
        return _Windows.concat([grown, fresh]), member_of

    def _opened(self, groups: Groups, found: Windows) -> _Windows:
        opener = groups.order[found.first]
        numbers = np.empty(len(opener), np.int64)
        numbers[np.argsort(opener)] = self._next + np.arange(len(opener))
        self._next += len(opener)
        return _Windows(
            groups.row_keys[found.first],
            numbers,
            groups.times[found.first],
            found.end - found.first,
            _finders(groups, groups.of_rows[found.first], found.end),
        )

    def _drop(self, contexts: ContextBatch, windows: _Windows, members: ItemLists) -> tuple[Dropped, ...]:
        """Windows that are over and have too few, and the events that found them so."""
        if not len(windows.keys):
            return ()
        return (
            *dropped_held(members.of(windows.numbers), "batch below min_count"),
            *dropped_rows(contexts, np.sort(windows.found_by), "in no batch"),
        )

    def _go_on(
        self, contexts: ContextBatch, windows: _Windows, members: ItemLists
    ) -> tuple[ContextBatch, Absorbed | None]:
        """Return the events that found a window over, with what waited in it."""
        windows = windows.take(np.argsort(windows.found_by))
        out = contexts.take(windows.found_by)
        if not len(out):
            return out, None
        keys = Column(len(out), Tag.TEXT, texts=spell(out.column(self._key)))
        lists, starts = members.grouped(windows.numbers)
        inside = WindowMembers(windows.counts, lambda: lists)
        variable = CountedBatch(
            windows.counts, keys, inside.ids(lists.openers(starts), contexts.chunk.interner)
        )
        absorbed = Absorbed(len(inside), out, inside)
        return out.having(dict.fromkeys(self._rules.batch_names, variable)), absorbed

    def open(self) -> list[dict[str, Any]]:
        window, rows = self._window, []
        for i in np.argsort(self._open.numbers).tolist():
            inside = self._members.windows == self._open.numbers[i]
            rows.append(
                {
                    "held": int(self._open.counts[i]),
                    "last_seq_no": int(self._members.seq[inside].max()),
                    "opened_at": int(self._open.opened[i]),
                    "due_at": int(self._open.opened[i]) + window,
                }
            )
        return rows


def _finders(groups: Groups, group: Ints, ends: Ints) -> Ints:
    """Return the row that comes after each window, -1 where there is none."""
    there = ends < groups.ends[group]
    return np.where(there, groups.order.take(np.where(there, ends, 0)), -1)


def _items(contexts: ContextBatch) -> Codes:
    """Return what a batch keeps of each context: the text of `source_id`, else of `entity_id`, else
    nothing (code 0).
    """
    texts = spell(contexts.column(("source_id",)))
    if texts.null_count():
        other = spell(contexts.column(("entity_id",)))
        texts = pl.select(pl.coalesce(texts.cast(pl.String), other.cast(pl.String))).to_series()
    return contexts.chunk.interner.intern(texts)
