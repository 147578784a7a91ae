"""Memory of a step by key: for each key a short list of numbers, in sorted tables.

What is new is in a small table behind the large ones, so that a batch of one event costs no more where there
are a million keys; and the large ones, oldest first, are no larger than what takes no time to go through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.orders import find_places, ranges
from flowdsl.values.state_fields import INTS, ArrayField, ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# so many keys at least are taken up into a large table together
TOGETHER = 1 << 12
# and a large table has no more than so many numbers
LARGEST = 1 << 18


@dataclass(frozen=True)
class KeyLists(StateObject):
    """A list of numbers for each key, the keys ascending: those of key k are `values[ends[k -
    1]:ends[k]]`.
    """

    saved = keeps(
        keys=ArrayField(np.int64, ascending=True), ends=ArrayField(np.int64, 1, ascending=True), values=INTS
    )

    keys: Ints
    ends: Ints
    values: Ints

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> KeyLists:
        ends, values = fields["ends"], fields["values"]
        source.agree(keys=len(fields["keys"]), ends=len(ends))
        source.agree(values=len(values), last_end=int(ends[-1]) if len(ends) else 0)
        return cls(**fields)

    @classmethod
    def none(cls) -> KeyLists:
        return cls(*np.zeros((3, 0), np.int64))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lengths(self) -> Ints:
        return np.diff(self.ends, prepend=0)

    @property
    def of_each(self) -> Ints:
        """The key of each number."""
        return self.keys if self._are_single else np.repeat(self.keys, self.lengths)

    def only(self, alive: Mask) -> KeyLists:
        """Return the lists without the numbers that are not `alive`."""
        if alive.all():
            return self
        if self._are_single:
            return KeyLists.single(self.keys[alive], self.values[alive])
        inside = np.zeros(len(self) + 1, np.int64)
        np.cumsum(alive, out=inside[1:])
        ends = inside.take(self.ends)
        some = np.diff(ends, prepend=0) > 0
        return KeyLists(self.keys[some], ends[some], self.values[alive])

    def over(self, older: KeyLists) -> KeyLists:
        """Return these lists and those of all keys that have none here."""
        if not len(older) or not len(self):
            return self if len(self) else older
        keys, where = merge_keys(self.keys, older.keys)
        values = np.concatenate([self.values, older.values])
        if self._are_single and older._are_single:
            return KeyLists.single(keys, values.take(where))
        lengths = np.concatenate([self.lengths, older.lengths])
        begins = (np.cumsum(lengths) - lengths).take(where)
        lengths = lengths.take(where)
        return KeyLists(keys, np.cumsum(lengths), values.take(ranges(begins, lengths)))

    @classmethod
    def single(cls, keys: Ints, values: Ints) -> KeyLists:
        """Return lists of one number each."""
        return cls(keys, np.arange(1, len(keys) + 1), values)

    @property
    def _are_single(self) -> bool:
        return len(self.keys) == len(self.values)


Alive = Callable[[KeyLists], Mask]


class KeyMemory(StateObject):
    """Lists of numbers by key; a list that is remembered takes the place of the one that the key had.

    `alive` says which numbers are still of use: of a key no older ones than those that are not.
    """

    saved = keeps(older=ListField(ObjectField(KeyLists), tuple), recent=ObjectField(KeyLists))

    def __init__(self, older: tuple[KeyLists, ...] = (), recent: KeyLists | None = None) -> None:
        self.older = older
        self.recent = KeyLists.none() if recent is None else recent

    def fork(self) -> KeyMemory:
        """Return an independent copy; tables are shared, as they are replaced and never changed."""
        return KeyMemory(self.older, self.recent)

    @property
    def tables(self) -> tuple[KeyLists, ...]:
        """All tables, oldest first: of a key that is in several the last one counts."""
        return (*self.older, self.recent)

    def find(self, keys: Ints) -> tuple[Ints, Ints]:
        """Return how many numbers each of these keys has, and the numbers of all, one key after the other."""
        lengths = np.zeros(len(keys), np.int64)
        found: list[tuple[KeyLists, Ints, Ints]] = []
        left = np.arange(len(keys))
        for table in filter(len, reversed(self.tables)):
            asked = keys.take(left)
            at = find_places(table.keys, asked)
            hit = at >= 0
            here, at, left = left[hit], at[hit], left[~hit]
            begins = np.where(at > 0, table.ends.take(at - 1), 0)
            lengths[here] = table.ends.take(at) - begins
            found.append((table, here, begins))
        values = np.empty(int(lengths.sum()), np.int64)
        places = np.cumsum(lengths) - lengths
        for table, here, begins in found:
            counts = lengths.take(here)
            values[ranges(places.take(here), counts)] = table.values.take(ranges(begins, counts))
        return lengths, values

    def remember(self, fresh: KeyLists, alive: Alive) -> None:
        """Remember lists of keys."""
        if not len(fresh):
            return
        recent = fresh.over(self.recent)
        recent = recent.only(alive(recent))
        large = self.older[-1] if self.older else KeyLists.none()
        if len(recent) <= max(TOGETHER, len(large) >> 3):
            self.recent = recent
            return
        older = [table for table in self.older[:-1] if alive(table).any()]
        large = large.only(alive(large))
        if len(large) + len(recent) > LARGEST:
            older.append(large)
            large = KeyLists.none()
        self.older, self.recent = (*older, recent.over(large)), KeyLists.none()


def merge_keys(newer: Ints, older: Ints) -> tuple[Ints, Ints]:
    """Merge keys that ascend; return them and their places in the newer ones followed by the older ones.

    Of a key that is in both the newer one counts.
    """
    if not len(newer) or not len(older):
        keys = newer if len(newer) else older
        return keys, np.arange(len(keys))
    at = np.searchsorted(older, newer)
    left = np.ones(len(older), np.bool_)
    again = at[older.take(at, mode="clip") == newer]
    left[again] = False
    rest = np.flatnonzero(left)
    # of the older keys before each newer one those that are left
    places = at - np.searchsorted(again, at) + np.arange(len(newer))
    where = np.empty(len(newer) + len(rest), np.int64)
    is_older = np.ones(len(where), np.bool_)
    is_older[places] = False
    where[places] = np.arange(len(newer))
    where[is_older] = len(newer) + rest
    return np.concatenate([newer, older]).take(where), where
