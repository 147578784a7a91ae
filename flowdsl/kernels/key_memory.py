"""Memory of a step by key: for each key a short list of numbers, in sorted tables.

What is new is in a small table behind the large ones, so that a batch of one event costs no more where there
are a million keys; and the large ones, oldest first, are no larger than what takes no time to go through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.values.json_types import Mask
from flowdsl.values.state_fields import INTS, ArrayField, ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Ints = npt.NDArray[np.int64]
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

    @classmethod
    def of(cls, keys: Ints, lengths: Ints, values: Ints, alive: Mask) -> KeyLists:
        """Return the lists of keys, which ascend, without the values that are not `alive`."""
        if not alive.all():
            inside = np.zeros(len(values) + 1, np.int64)
            np.cumsum(alive, out=inside[1:])
            ends = inside[np.cumsum(lengths)]
            lengths, values = np.diff(ends, prepend=0), values[alive]
        some = lengths > 0
        return cls(keys[some], np.cumsum(lengths[some]), values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lengths(self) -> Ints:
        return np.diff(self.ends, prepend=0)


class KeyMemory(StateObject):
    """Lists of numbers by key; a list that is remembered takes the place of the one that the key had.

    `alive` says of keys, each with one of its numbers, which numbers are still of use.
    """

    saved = keeps(older=ListField(ObjectField(KeyLists), tuple), recent=ObjectField(KeyLists))

    def __init__(self, older: tuple[KeyLists, ...] = (), recent: KeyLists | None = None) -> None:
        self.older = older
        self.recent = KeyLists.none() if recent is None else recent

    def fork(self) -> KeyMemory:
        """Return a copy that can go its own way: tables are replaced, never changed."""
        return KeyMemory(self.older, self.recent)

    @property
    def tables(self) -> tuple[KeyLists, ...]:
        """All tables, oldest first: of a key that is in several the last one counts."""
        return (*self.older, self.recent)

    def find(self, keys: Ints) -> tuple[Ints, Ints]:
        """Return how many numbers each of these keys has, and the numbers of all, one key after the other."""
        lengths = np.zeros(len(keys), np.int64)
        found: list[tuple[KeyLists, Ints, Ints]] = []
        for table in reversed(self.tables):
            if not len(table):
                continue
            at = np.searchsorted(table.keys, keys).clip(0, len(table.keys) - 1)
            here = np.flatnonzero((table.keys[at] == keys) & (lengths == 0))
            begins = np.where(at[here] > 0, table.ends[at[here] - 1], 0)
            lengths[here] = table.ends[at[here]] - begins
            found.append((table, here, begins))
        values = np.empty(int(lengths.sum()), np.int64)
        places = np.cumsum(lengths) - lengths
        for table, here, begins in found:
            values[_places(places[here], lengths[here])] = table.values[_places(begins, lengths[here])]
        return lengths, values

    def remember(self, keys: Ints, lengths: Ints, values: Ints, alive: Callable[[Ints, Ints], Mask]) -> None:
        """Remember lists of keys, which ascend."""
        if not len(keys):
            return
        fresh = KeyLists(keys, np.cumsum(lengths), values)
        self.recent = _merged(fresh, self.recent, alive)
        large = self.older[-1] if self.older else KeyLists.none()
        if len(self.recent) > max(TOGETHER, len(large) >> 3):
            older = [t for t in self.older[:-1] if alive(np.repeat(t.keys, t.lengths), t.values).any()]
            if len(large) + len(self.recent) > LARGEST:
                older.append(large)
                large = KeyLists.none()
            self.older = (*older, _merged(self.recent, large, alive))
            self.recent = KeyLists.none()


def _merged(newer: KeyLists, older: KeyLists, alive: Callable[[Ints, Ints], Mask]) -> KeyLists:
    keys, where = merge_keys(newer.keys, older.keys)
    lengths = np.concatenate([newer.lengths, older.lengths])
    begins = (np.cumsum(lengths) - lengths)[where]
    lengths = lengths[where]
    values = np.concatenate([newer.values, older.values])[_places(begins, lengths)]
    return KeyLists.of(keys, lengths, values, alive(np.repeat(keys, lengths), values))


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


def _places(begins: Ints, lengths: Ints) -> Ints:
    """Return the places of lists that lie one behind the other where each begins, so long as it is."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(begins - before, lengths) + np.arange(int(lengths.sum()))
