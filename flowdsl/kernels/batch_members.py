"""Members of windows: what a batch step remembers of contexts that wait to go on as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.later import Later
from flowdsl.kernels.batch_items import BatchItems, CodeLists, window_of
from flowdsl.values.columns import Column, gather_values
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.orders import Places, find_places, inverse, is_everything, ranges, stable_order
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import CODES, INTS, ArrayField, ListField, ObjectField, OptionalField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# returns the collected values of the contexts at some rows
ValuesAt = Callable[[Index], Column]
# blocks of members are joined up to this length
_LONG: Final = 1 << 17


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
        """Return those of contexts, or None if they came out of no window. `names` are the names of the
        variable of a window.
        """
        variable = window_of(contexts, names)
        if variable is None:
            return None
        items: BatchItems = variable.items  # type: ignore[attr-defined]
        return cls(items.opened_by, (*items.opened_in, *contexts.branches[len(items.opened_in) :]))

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Roots:
        levels = {f"branches {level}": len(numbers) for level, numbers in enumerate(fields["branches"])}
        source.agree(seq=len(fields["seq"]), **levels)
        return cls(**fields)

    def __len__(self) -> int:
        return len(self.seq)

    def take(self, rows: Index) -> Roots:
        """Those of some contexts."""
        return Roots(self.seq.take(rows), tuple(level.take(rows) for level in self.branches))

    def concat(self, later: Roots) -> Roots:
        """Return these, then others."""
        levels = zip(self.branches, later.branches, strict=True)
        return Roots(np.concatenate([self.seq, later.seq]), tuple(map(np.concatenate, levels)))


@dataclass(frozen=True)
class ItemLists(StateObject):
    """Members of windows, those of one window in the order in which they came: the window each is in, its
    item, event and branch.

    `roots` are there where the members came out of other windows. `collected` is what is collected of them, a
    column for each expression.
    """

    saved = keeps(
        windows=INTS,
        items=CODES,
        seq=INTS,
        branches=ListField(ArrayField(np.int32, 0), tuple),
        roots=OptionalField(ObjectField(Roots)),
        values=ListField(COLUMN, tuple),
    )

    windows: Ints
    ids: Codes | Later[Codes]
    seq: Ints
    branches: tuple[npt.NDArray[np.int32], ...] = ()
    roots: Roots | None = None
    collected: tuple[Later[Column], ...] = ()

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> ItemLists:
        levels = {f"branches {level}": len(numbers) for level, numbers in enumerate(fields["branches"])}
        roots = {} if fields["roots"] is None else {"roots": len(fields["roots"])}
        values = {f"values {place}": len(column) for place, column in enumerate(fields["values"])}
        sizes = {name: len(fields[name]) for name in ("windows", "items", "seq")}
        source.agree(**sizes, **levels, **roots, **values)
        collected = tuple(map(Later.of, fields.pop("values")))
        return cls(ids=fields.pop("items"), collected=collected, **fields)

    @property
    def items(self) -> Codes:
        return self.ids.made() if isinstance(self.ids, Later) else self.ids

    @property
    def values(self) -> tuple[Column, ...]:
        return tuple(column.made() for column in self.collected)

    @classmethod
    def none(cls) -> ItemLists:
        """No members."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))

    @classmethod
    def of_contexts(
        cls,
        contexts: ContextBatch,
        rows: Index,
        windows: Ints,
        names: Sequence[str],
        values: Sequence[ValuesAt] = (),
    ) -> ItemLists:
        """Return some contexts as members of these windows; an item is the event's source id, else its
        entity id.

        `names` are those of the variable of a window; `values` are what is collected of contexts.
        """
        chunk, events = contexts.chunk, contexts.rows.take(rows)

        def items() -> Codes:
            sources = chunk.codes("source_id", events)
            return sources if sources.all() else np.where(sources, sources, chunk.codes("entity_id", events))

        roots = Roots.of(contexts, names)
        return cls(
            windows,
            Later(items),
            chunk.numbers(events),
            tuple(b.take(rows) for b in contexts.branches),
            gather_values(roots, rows),
            tuple(Later(partial(one, rows)) for one in values),
        )

    def __len__(self) -> int:
        return len(self.windows)

    def concat(self, later: ItemLists) -> ItemLists:
        """Return these members, then others that came later."""
        if not len(self):
            return later
        if not len(later):
            return self
        levels = zip(self.branches, later.branches, strict=True)
        pairs = zip(self.collected, later.collected, strict=True)
        return ItemLists(
            np.concatenate([self.windows, later.windows]),
            Later(lambda: np.concatenate([self.items, later.items])),
            np.concatenate([self.seq, later.seq]),
            tuple(map(np.concatenate, levels)),
            self.roots if self.roots is None or later.roots is None else self.roots.concat(later.roots),
            tuple(Later(partial(_concatenate, pair)) for pair in pairs),
        )

    def by_window(self) -> ItemLists:
        """Return the members sorted by window, those of one window as they are."""
        if (self.windows[1:] >= self.windows[:-1]).all():
            return self
        return self.at(stable_order(self.windows))

    def grouped(self, windows: Ints) -> tuple[ItemLists, Ints]:
        """Return the members of these windows, one window after the other, and where those of each begin."""
        place = self._among(windows)
        order = stable_order(place)
        order = order[np.searchsorted(place[order], 0) :]
        counts = np.bincount(place[order], minlength=len(windows))
        return self.at(order), np.cumsum(counts) - counts

    def at(self, rows: Index) -> ItemLists:
        """Return the members at these places."""
        if is_everything(rows, len(self)):
            return self
        return ItemLists(
            self.windows.take(rows),
            self.ids.take(rows),
            self.seq.take(rows),
            tuple(b.take(rows) for b in self.branches),
            gather_values(self.roots, rows),
            tuple(column.take(rows) for column in self.collected),
        )

    def of(self, windows: Ints) -> ItemLists:
        """Return the members of these windows only."""
        rows = np.flatnonzero(self._among(windows) >= 0)
        return self if len(rows) == len(self) else self.at(rows)

    def openers(self, rows: Index) -> Roots:
        """Return of the members at these places the events that opened their windows."""
        every = Roots(self.seq, self.branches) if self.roots is None else self.roots
        return every.take(rows)

    def _among(self, windows: Ints) -> Ints:
        """Return for each member the place of its window in `windows`, -1 if it is not among them."""
        order = stable_order(windows)
        at = Places(windows.take(order)).of(self.windows)
        # place -1 is the last one
        return np.append(order, -1).take(at)


def _concatenate(parts: Sequence[Later[Column]]) -> Column:
    return Column.concat([part.made() for part in parts])


class MemberBlocks:
    """Members of windows as they came, in blocks that never change, each sorted by window: those of a window
    that grows stay where they are.

    Blocks are joined at a geometric pace, until they are so long as to be worth leaving alone.
    """

    def __init__(self, blocks: tuple[ItemLists, ...] = ()) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def having(self, members: ItemLists) -> MemberBlocks:
        """Return these members, and others that came later."""
        blocks = list(self.blocks)
        while blocks and len(blocks[-1]) <= min(2 * len(members), _LONG - len(members)):
            members = blocks.pop().concat(members)
        members = members.by_window()
        if not len(members):
            return self
        made = tuple(map(Later.of, members.values))
        return MemberBlocks((*blocks, replace(members, ids=members.items, collected=made)))

    def of(self, windows: Ints) -> ItemLists:
        """Return the members of these windows, one window after the other."""
        found, sizes = ItemLists.none(), []
        for block in self.blocks:
            begins = np.searchsorted(block.windows, windows)
            sizes.append(np.searchsorted(block.windows, windows, side="right") - begins)
            found = found.concat(block.at(ranges(begins, sizes[-1])))
        if len(sizes) < 2:
            return found
        counts = np.concatenate(sizes)
        begins = (np.cumsum(counts) - counts).reshape(len(sizes), -1)
        return found.at(ranges(begins.T.ravel(), np.stack(sizes).T.ravel()))

    def openers(self, windows: Ints) -> Roots:
        """Return the events that opened these windows."""
        left, places, parts = np.arange(len(windows)), [], []
        for block in self.blocks:
            asked = windows.take(left)
            at = find_places(block.windows, asked)
            hit = at >= 0
            if hit.any():
                parts.append(block.openers(at[hit]))
                places.append(left[hit])
                left = left[~hit]
        return reduce(Roots.concat, parts).take(inverse(np.concatenate(places)))

    def only(self, windows: Ints) -> MemberBlocks:
        """Return the members of these windows, which ascend, and no others."""
        kept = MemberBlocks()
        for block in self.blocks:
            kept = kept.having(block.of(windows))
        return kept


class WindowMembers:
    """Members of windows, those of one window after those of the other: put together on request for
    them.
    """

    def __init__(self, counts: Ints, make: Callable[[], ItemLists]) -> None:
        self._counts, self._make = counts, make

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def offsets(self) -> Ints:
        """Where the members of each window begin, and where the last ones end."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self._counts)])

    @cached_property
    def lists(self) -> ItemLists:
        """The members."""
        return self._make()

    @property
    def windows(self) -> Ints:
        """The windows that the members are in."""
        return self.lists.windows

    @property
    def items(self) -> Codes:
        """The items of the members."""
        return self.lists.items

    @property
    def seq(self) -> Ints:
        """The events of the members."""
        return self.lists.seq

    @property
    def branches(self) -> tuple[npt.NDArray[np.int32], ...]:
        """The branches of the members."""
        return self.lists.branches

    def ids(self, first: Roots, interner: Interner) -> BatchItems:
        """Return the items of the windows, which these events opened."""
        lists = Later(lambda: CodeLists(self.lists.items, self.offsets))
        return BatchItems(lists, interner, first.seq, first.branches)


class HeldMembers(WindowMembers):
    """Members that windows had before a batch, to be found by the number of their window."""

    def __init__(self, blocks: MemberBlocks, windows: Ints, counts: Ints) -> None:
        super().__init__(counts, lambda: blocks.of(windows))
        self.of, self.openers = blocks.of, blocks.openers
