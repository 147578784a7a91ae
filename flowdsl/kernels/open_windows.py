"""The open windows of a batch step: most of them sleep, and only those that a context or the clock wakes are
worked on.

Windows lie in tiers, sorted by key. A window that is woken is taken out of its tier; if it stays open it
comes back in a new tier, and tiers are joined at a geometric pace. So a few contexts cost little, however
many windows are open, and however many members they have: those stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from flowdsl.batches.buffer import Refs
from flowdsl.kernels.batch_members import HeldMembers, ItemLists, MemberBlocks
from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.orders import Places, find_places, stable_order
from flowdsl.values.state_fields import ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# tiers are no longer than this: so long it takes to sort one
_LARGEST: Final = 1 << 17
# keys look for their windows where they are fewer by this factor, and otherwise windows for their keys
_FEWER: Final = 8
# so many members of closed windows are always kept
_FEW: Final = 1 << 10


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


class _Tier(StateObject):
    """Windows sorted by key; those that were taken out are marked as gone."""

    saved = keeps(windows=ObjectField(Open))

    def __init__(self, windows: Open) -> None:
        self.windows = windows.take(stable_order(windows.keys))
        self.there = np.ones(len(windows), np.bool_)
        self.size, self.held = len(windows), int(windows.counts.sum())
        # windows in the order in which they are due, and how many of the first are gone: known from when it
        # is first asked for, until then no window is due before this clock
        self._order: Index | None = None
        self._gone = 0
        self._due_from, self._due_to = int(windows.due.min()), int(windows.due.max())

    def to_fields(self) -> dict[str, Any]:
        return {"windows": self.rest()}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> _Tier:
        windows = fields["windows"]
        source.check(len(windows), "without an open window")
        source.check((np.diff(windows.keys) > 0).all(), "not in the order of keys")
        source.check((windows.counts > 0).all(), "with an empty window")
        return cls(windows)

    def fork(self) -> _Tier:
        """Return a copy that can go its own way."""
        forked = object.__new__(_Tier)
        forked.__dict__.update(self.__dict__, there=self.there.copy())
        return forked

    @property
    def earliest(self) -> int:
        """Return when the first window is due; there is one."""
        return int(self.windows.due[self._by_due()[0]])

    def find(self, keys: Places, due_by: int) -> Index:
        """Return the windows of these keys (in order, each once), and those due at or before a clock."""
        if self._due_to <= due_by:
            return np.flatnonzero(self.there)
        if _FEWER * len(keys) < len(self.windows):
            at = find_places(self.windows.keys, keys.keys)
            rows: Index = at[at >= 0]
        else:
            rows = np.flatnonzero(keys.of(self.windows.keys) >= 0)
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
            self._order = stable_order(self.windows.due)
        while not self.there[self._order[self._gone]]:
            self._gone += 1
        return self._order[self._gone :]

    def take_out(self, rows: Index) -> Open:
        """Remove these windows and return them."""
        self.there[rows] = False
        self.size -= len(rows)
        taken = self.windows.take(rows)
        self.held -= int(taken.counts.sum())
        return taken

    def rest(self) -> Open:
        """Return the windows that were not taken out."""
        return self.windows.take(np.flatnonzero(self.there))


class OpenWindows(StateObject):
    """All windows of a batch step that are open, and their members."""

    saved = keeps(_tiers=ListField(ObjectField(_Tier)), members=ObjectField(ItemLists))

    def __init__(self) -> None:
        self._tiers: list[_Tier] = []
        # and those of windows that are closed, until they are as many
        self._members = MemberBlocks()

    def to_fields(self) -> dict[str, Any]:
        return {"_tiers": self._tiers, "members": self._members.of(self.all().numbers)}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> OpenWindows:
        windows, members = cls(), fields["members"]
        windows._tiers = fields["_tiers"]
        every = windows.all()
        source.check((np.diff(every.numbers) > 0).all(), "with two windows of one number")
        owners = np.repeat(every.numbers, every.counts)
        source.check(np.array_equal(owners, members.windows), "with members of other windows")
        windows._members = windows._members.having(members)
        return windows

    def held_codes(self) -> Iterator[Any]:
        for block in self._members.blocks:
            yield from block.held_codes()

    def fork(self) -> OpenWindows:
        """Return a copy that can go its own way."""
        forked = OpenWindows()
        forked._tiers, forked._members = [tier.fork() for tier in self._tiers], self._members
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
        found = Open.concat([tier.rest() for tier in self._tiers])
        return found.take(np.argsort(found.numbers))

    def keys_held(self) -> list[Ints]:
        """Return the keys of the windows, and of some that are closed."""
        return [tier.windows.keys for tier in self._tiers]

    def everything(self) -> tuple[Open, ItemLists]:
        """All windows, and all their members, those of one window in their order."""
        windows = self.all()
        return windows, self._members.of(windows.numbers)

    def take_out(self, keys: Places, due_by: int) -> tuple[Open, HeldMembers]:
        """Return the windows of these keys (in order, each once) and those due at or before a clock, as they
        opened, and their members.

        A window may be put back with the members that joined it since.
        """
        self._forget_closed()
        windows = Open.concat([tier.take_out(tier.find(keys, due_by)) for tier in self._tiers])
        if (windows.numbers[1:] < windows.numbers[:-1]).any():
            windows = windows.take(stable_order(windows.numbers))
        self._tiers = list(self._swept())
        return windows, HeldMembers(self._members, windows.numbers, windows.counts)

    def put(self, windows: Open, members: ItemLists) -> None:
        """Windows that stay open, with members that are new, those of one in their order."""
        if not len(windows):
            return
        self._members = self._members.having(members)
        while self._tiers and self._tiers[-1].size <= min(2 * len(windows), _LARGEST - len(windows)):
            windows = Open.concat([self._tiers.pop().rest(), windows])
        self._tiers.append(_Tier(windows))

    def _forget_closed(self) -> None:
        """Forget the members of closed windows where they are most of all."""
        if len(self._members) > 2 * self.held + _FEW:
            numbers = [tier.windows.numbers[tier.there] for tier in self._tiers]
            self._members = self._members.only(np.sort(np.concatenate([*numbers, np.zeros(0, np.int64)])))

    def _swept(self) -> Iterator[_Tier]:
        """Return the tiers without those of which little is left, but for that."""
        for tier in self._tiers:
            if tier.size:
                yield tier if 4 * tier.size > len(tier.windows) else _Tier(tier.rest())
