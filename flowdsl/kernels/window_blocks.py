"""Windows found without sorting, in blocks of rows that no window fits into.

Where a window that opens later ends later, too, a key opens at most one window in the rows that come before
the end of the one that the first of them could open. So a table of the window that each key has open is
brought up to date for a whole block at once, and most of the work is to look there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from flowdsl.values.json_types import Ints

# blocks of fewer rows take longer than to sort them, but for so many that are always worth it
LEAST_ROWS: Final = 256
_ALWAYS: Final = 8
# and of more their columns do not stay at hand
MOST_ROWS: Final = 1 << 13
# so many times as long as the rows may the table of keys be
_SPARSE: Final = 8
_BEFORE_ALL: Final = -(1 << 62)


def block_edges(keys: Ints, times: Ints, limits: Ints) -> list[int] | None:
    """Return where blocks begin, and where the last one ends; None where sorting is cheaper.

    Parameters
    ----------
    keys, times
        Those of the rows; times ascend.
    limits
        When the window ends that each row would open; they ascend.
    """
    size = len(keys)
    if not size or int(keys.max()) - int(keys.min()) > _SPARSE * size:
        return None
    edges = [0]
    while edges[-1] < size:
        edges.append(min(int(times.searchsorted(limits[edges[-1]])), edges[-1] + MOST_ROWS))
        if edges[-1] < LEAST_ROWS * (len(edges) - _ALWAYS):
            return None
    return edges


class KeyTable:
    """Windows that keys have open: those from before by their place, others by the row that opened them,
    behind all from before; -1 for none.
    """

    def __init__(self, keys: Ints) -> None:
        self.low, self.high = int(keys.min()), int(keys.max())
        at = keys - self.low
        # keys that are text are all even: more of a smaller table stays at hand
        self._shift = 1 - int(np.bitwise_or.reduce(at) & 1)
        self._at = at >> self._shift
        self._table = np.full((self.high - self.low >> self._shift) + 1, -1, np.int32)
        self._ends: list[Ints] = []
        self.held = 0

    def hold(self, keys: Ints, ends: Ints) -> None:
        """Hold windows that are open from before; of a key that has another one these count."""
        at = keys - self.low
        mine = np.flatnonzero((keys >= self.low) & (keys <= self.high) & (at & self._shift == 0))
        self._table[at.take(mine) >> self._shift] = self.held + mine
        self._ends.append(ends)
        self.held += len(keys)

    def keys(self) -> Ints:
        """Return the keys, each once, in order."""
        there = np.zeros(len(self._table), np.bool_)
        there[self._at] = True
        return self._keys_at(np.flatnonzero(there))

    def windows(self, times: Ints, limits: Ints, edges: list[int]) -> Ints:
        """Return the window that each row goes into."""
        numbers = np.arange(self.held, self.held + len(times), dtype=np.int32)
        # place -1 is the last one
        ends = np.concatenate([*self._ends, limits, [_BEFORE_ALL]])
        windows = np.empty(len(times), np.int64)
        table = self._table
        for start, stop in pairwise(edges):
            at = self._at[start:stop]
            found = table.take(at)
            free = (ends.take(found) <= times[start:stop]).nonzero()[0]
            at = at.take(free)
            # assigned backwards: of several rows of a key the first one opens the window
            table[at[::-1]] = numbers[start:stop].take(free)[::-1]
            found[free] = table.take(at)
            windows[start:stop] = found
        return windows

    def last_opened(self) -> tuple[Ints, Ints]:
        """Return the keys that opened a window, ascending, and the row that opened the last one of each."""
        at = np.flatnonzero(self._table >= self.held)
        return self._keys_at(at), self._table.take(at).astype(np.int64) - self.held

    def _keys_at(self, places: Ints) -> Ints:
        return (places << self._shift) + self.low
