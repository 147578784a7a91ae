"""The open windows of a batch step: most of them sleep, and only those that a context or the clock wakes are
worked on.

Windows lie in tiers, sorted by key. A window that is woken is taken out of its tier; if it stays open it
comes back in a new tier, and tiers are joined at a geometric pace. So a few contexts cost little, however
many windows are open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.batches.buffer import Refs
from flowdsl.kernels.batch_members import ItemLists
from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.state_fields import ArrayField, ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Ints = npt.NDArray[np.int64]
# tiers are no longer than this: so long it takes to sort one
_LARGEST: Final = 1 << 17


@dataclass(frozen=True)
class Open(Arrays):
    """Open windows: their key, number (ascending in the order of opening), start, members, the last one's
    time and context, when they are due, and when they will be at the latest, whoever joins them.
    """

    keys: Ints
    numbers: Ints
    opened: Ints
    counts: Ints
    last_at: Ints
    last: Refs
    due: Ints
    limit: Ints

    @property
    def starts(self) -> Ints:
        """Where the members of each begin, which lie one window after the other."""
        starts: Ints = np.cumsum(self.counts) - self.counts
        return starts


class _Tier(StateObject):
    """Windows sorted by key, with the members of each in a row at its place of `starts`; those that were
    taken out are marked as gone.
    """

    saved = keeps(windows=ObjectField(Open), members=ObjectField(ItemLists), there=ArrayField(np.bool_))

    def __init__(self, windows: Open, members: ItemLists) -> None:
        # what is joined of sorted parts is sorted fast by a stable sort; the members stay where they are
        order = np.argsort(windows.keys, kind="stable")
        self._set(windows.take(order), members, windows.starts.take(order), np.ones(len(windows), np.bool_))

    def _set(self, windows: Open, members: ItemLists, starts: Ints, there: Mask) -> None:
        self.windows, self.members, self.starts, self.there = windows, members, starts, there
        self.size = int(np.count_nonzero(there))
        self.held = int(windows.counts[there].sum())
        # windows in the order in which they are due, and how many of the first are gone: known from when it
        # is first asked for, until then no window is due before this clock
        self._order: Index | None = None
        self._gone = 0
        self._due_from = int(self.windows.due.min())

    def to_fields(self) -> dict[str, Any]:
        members = self.members.runs(self.starts, self.windows.counts)
        return {"windows": self.windows, "members": members, "there": self.there}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> _Tier:
        windows, members, there = fields["windows"], fields["members"], fields["there"]
        source.agree(windows=len(windows), there=len(there))
        source.check(there.any(), "without an open window")
        source.check((np.diff(windows.keys) > 0).all(), "not in the order of keys")
        source.check((windows.counts > 0).all(), "with an empty window")
        owners = np.repeat(windows.numbers, windows.counts)
        source.check(np.array_equal(owners, members.windows), "with members of other windows")
        tier = object.__new__(cls)
        tier._set(windows, members, windows.starts, there)
        return tier

    def fork(self) -> _Tier:
        """Return a copy that can go its own way."""
        forked = object.__new__(_Tier)
        forked.__dict__.update(self.__dict__, there=self.there.copy())
        return forked

    @property
    def earliest(self) -> int:
        """Return when the first window is due; there is one."""
        return int(self.windows.due[self._by_due()[0]])

    def find(self, keys: Ints, due_by: int) -> Index:
        """Return the windows of these keys (in order, each once), and those due at or before a clock."""
        at = np.searchsorted(self.windows.keys, keys).clip(0, len(self.windows) - 1)
        rows: Index = at[self.windows.keys[at] == keys]
        if self._due_from <= due_by:
            waiting = self._by_due()
            end = int(np.searchsorted(self.windows.due[waiting], due_by, side="right"))
            rows = np.sort(np.concatenate([rows, waiting[:end]]))
            rows = rows[np.flatnonzero(np.diff(rows, prepend=-1))]
        there: Index = rows[self.there[rows]]
        return there

    def _by_due(self) -> Index:
        """Return the windows in the order in which they are due, from the first that is still here."""
        if self._order is None:
            self._order = np.argsort(self.windows.due)
        while not self.there[self._order[self._gone]]:
            self._gone += 1
        return self._order[self._gone :]

    def take_out(self, rows: Index) -> tuple[Open, ItemLists]:
        """Return these windows and their members; they are here no more."""
        self.there[rows] = False
        self.size -= len(rows)
        taken = self.windows.take(rows)
        self.held -= int(taken.counts.sum())
        return taken, self.members.runs(self.starts[rows], taken.counts)

    def rest(self) -> tuple[Open, ItemLists]:
        """Return what is still here."""
        rows = np.flatnonzero(self.there)
        left = self.windows.take(rows)
        return left, self.members.runs(self.starts[rows], left.counts)


class OpenWindows(StateObject):
    """All windows of a batch step that are open."""

    saved = keeps(_tiers=ListField(ObjectField(_Tier)))

    def __init__(self) -> None:
        self._tiers: list[_Tier] = []

    def fork(self) -> OpenWindows:
        """Return a copy that can go its own way."""
        forked = OpenWindows()
        forked._tiers = [tier.fork() for tier in self._tiers]
        return forked

    @property
    def held(self) -> int:
        """Return how many members the windows have."""
        return sum(tier.held for tier in self._tiers)

    @property
    def earliest(self) -> int | None:
        """Return when the first of the windows is due."""
        return min((tier.earliest for tier in self._tiers), default=None)

    def all(self) -> Open:
        """All windows, in the order in which they opened."""
        found = Open.none()
        for tier in self._tiers:
            found = found.joined(tier.rest()[0])
        return found.take(np.argsort(found.numbers))

    def keys_held(self) -> list[Ints]:
        """Return the keys of the windows, and of some that are closed."""
        return [tier.windows.keys for tier in self._tiers]

    def everything(self) -> tuple[Open, ItemLists]:
        """All windows, and all their members, those of one window in their order."""
        windows, members = Open.none(), ItemLists.none()
        for tier in self._tiers:
            some, inside = tier.rest()
            windows, members = windows.joined(some), members.joined(inside)
        return windows, members

    def take_out(self, keys: Ints, due_by: int) -> tuple[Open, ItemLists]:
        """Return the windows of these keys (in order, each once) and those due at or before a clock, and
        their members, those of one window after the other.
        """
        windows, members = Open.none(), ItemLists.none()
        for tier in self._tiers:
            rows = tier.find(keys, due_by)
            if len(rows):
                some, inside = tier.take_out(rows)
                windows, members = windows.joined(some), members.joined(inside)
        self._tiers = list(self._swept())
        return windows, members

    def put(self, windows: Open, members: ItemLists) -> None:
        """Windows that stay open, with their members in the same order, those of one side by side."""
        if not len(windows):
            return
        while self._tiers and self._tiers[-1].size <= min(2 * len(windows), _LARGEST - len(windows)):
            some, inside = self._tiers.pop().rest()
            windows, members = some.joined(windows), inside.joined(members)
        self._tiers.append(_Tier(windows, members))

    def _swept(self) -> Iterator[_Tier]:
        """Return the tiers without those of which little is left, but for that."""
        for tier in self._tiers:
            if tier.size:
                yield tier if 4 * tier.size > len(tier.windows) else _Tier(*tier.rest())
