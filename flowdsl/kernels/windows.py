"""Windows that open with the first context of a key, found for a whole batch at once.

The contexts of a batch are sorted by key, keeping their order. How far a window reaches says a `Reach`. A row
that comes after all that earlier ones of its key could have opened opens a window, whatever came before: the
stretches between such rows are worked on side by side, and most are one window. One round finds the next
window of every stretch that still has one. For the few that have very many windows the reach is asked at once
for all rows, and a plain loop goes from one window to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.orders import Places, distinct, ranges, sort_stably

LOOP_BELOW = 64
# (group, time) has to fit into so many bits
_BITS: Final = 62


@dataclass(frozen=True)
class Groups:
    """A batch sorted by key: `order` says where each row came from, `row_keys` and `times` are those of the
    sorted rows, and `begins` marks the first row of each group; group g is rows `starts[g] … ends[g]-1`.
    """

    row_keys: Ints
    order: Ints
    times: Ints
    begins: Mask

    @classmethod
    def of(cls, keys: Ints, times: Ints) -> Groups:
        """Rows in order of time, grouped by key."""
        row_keys, order = sort_stably(keys)
        begins = np.ones(len(keys), np.bool_)
        np.not_equal(row_keys[1:], row_keys[:-1], out=begins[1:])
        return cls(row_keys, order, times.take(order), begins)

    @cached_property
    def starts(self) -> Ints:
        return np.flatnonzero(self.begins)

    @cached_property
    def ends(self) -> Ints:
        return np.append(self.starts[1:], len(self.begins))[: len(self.starts)]

    @cached_property
    def keys(self) -> Ints:
        """The key of each group."""
        return self.row_keys.take(self.starts)

    @cached_property
    def of_rows(self) -> Ints:
        """The group of each row."""
        return np.repeat(np.arange(len(self.starts)), self.ends - self.starts)

    @cached_property
    def _scale(self) -> _Scale:
        return _Scale.of(self.times, len(self.starts))

    @cached_property
    def _searchable(self) -> Ints:
        numbers: Ints = self.of_rows * self._scale.width
        numbers += self._scale.at(self.times)
        return numbers

    @cached_property
    def places(self) -> Places:
        """Find the group of a key."""
        return Places(self.keys)

    def first_at_or_after(self, stop: Ints, moments: Ints) -> Ints:
        """For the rows of a group that come before row `stop` return the first at or after a moment, and
        `stop` where there is none.
        """
        first = stop.copy()
        some = np.flatnonzero(moments <= self.times.take(stop - 1))
        if len(some):
            groups = self.of_rows.take(stop.take(some) - 1)
            wanted = groups * self._scale.width + self._scale.at(moments.take(some))
            first[some] = np.searchsorted(self._searchable, wanted)
        return first

    def beyond(self, limits: Ints, *, ascending: bool) -> Mask:
        """Mark the rows that come at or after the limits of all earlier rows of their group; `ascending` says
        that within a group limits do.
        """
        after = np.ones(len(limits), np.bool_)
        if ascending:
            np.greater_equal(self.times[1:], limits[:-1], out=after[1:])
            return after | self.begins
        wanted = self.of_rows * self._scale.width + self._scale.at(limits)
        # the numbers of a group lie above those of all groups before it
        latest = np.maximum.accumulate(wanted, out=wanted)
        np.greater_equal(self._searchable[1:], latest[:-1], out=after[1:])
        return after


@dataclass(frozen=True)
class _Scale:
    """Times as numbers from 0 to before `width`, in the same order: µs since the first, or places among all
    times.

    The former costs nothing; the latter is for so many groups over so long a time that both together leave 64
    bits.
    """

    earliest: int
    width: int
    places: Ints | None = None

    @classmethod
    def of(cls, times: Ints, groups: int) -> _Scale:
        """Return the scale for these times in so many groups."""
        if not len(times):
            return cls(0, 2)
        earliest = int(times.min())
        width = int(times.max()) - earliest + 2
        if width.bit_length() + groups.bit_length() <= _BITS:
            return cls(earliest, width)
        places = distinct(times)
        return cls(earliest, len(places) + 1, places)

    def at(self, moments: Ints) -> Ints:
        """Each moment as the number of the first time at or after it."""
        if self.places is not None:
            return np.searchsorted(self.places, moments, side="left")
        return (moments - self.earliest).clip(0, self.width - 1)


class Reach(Protocol):
    """Answer to where windows end."""

    def ends(self, first: Ints, stop: Ints) -> Ints:
        """Return the first row that is not in the window that a row opens; it comes after `first`, and is at
        most `stop`, a row of its group or where that ends.
        """
        ...

    def openers(self) -> Mask:
        """Mark rows that are in no window that an earlier row of their group may open."""
        ...


@dataclass(frozen=True)
class FixedReach:
    """Windows that last for `window` µs."""

    groups: Groups
    window: int

    def ends(self, first: Ints, stop: Ints) -> Ints:
        """Return where the windows end."""
        if self.window == 0:
            return first + 1
        return self.groups.first_at_or_after(stop, self.groups.times.take(first) + self.window)

    def openers(self) -> Mask:
        """Mark the rows that come so long after the one before them."""
        return self.groups.beyond(self.groups.times + self.window, ascending=True)


@dataclass(frozen=True)
class Windows(Arrays):
    """Windows that open in a batch, by key and time: rows `first … end-1` of the sorted batch are their
    members.
    """

    first: Ints
    end: Ints

    @classmethod
    def find(cls, groups: Groups, start: Ints, reach: Reach, gap: int = 0) -> Windows:
        """All windows, where the first one of each group opens at its row `start` (the group's end: none).

        So many rows as `gap` that come after a window are in none: the next one opens behind them.
        """
        first, stop = _stretches(groups, start, reach) if not gap else _whole(groups, start)
        end_of = np.zeros(len(groups.times), np.int64)
        if not gap:
            # a stretch of one row is a window of one
            end_of[first] = first + 1
            several = np.flatnonzero(stop - first > 1)
            first, stop = first[several], stop[several]
        while len(first) >= LOOP_BELOW:
            end = reach.ends(first, stop)
            end_of[first] = end
            more = np.flatnonzero(end + gap < stop)
            first, stop = end[more] + gap, stop[more]
        if len(first):
            openers, ends = _loop(groups, first, stop, reach, gap)
            end_of[openers] = ends
        found = np.flatnonzero(end_of > 0)
        return cls(found, end_of[found])


def _whole(groups: Groups, start: Ints) -> tuple[Ints, Ints]:
    """Return of the groups that have a row from `start` on that row, and where they end."""
    group = np.flatnonzero(start < groups.ends)
    return start[group], groups.ends[group]


def _stretches(groups: Groups, start: Ints, reach: Reach) -> tuple[Ints, Ints]:
    """Return the stretches of rows, each of which opens a window and ends where the next one does, or its
    group: where they begin, and where they end.
    """
    opens = reach.openers()
    skipped = np.flatnonzero(start > groups.starts)
    if not len(skipped):
        first = np.flatnonzero(opens)
        return first, np.append(first[1:], len(opens))[: len(first)]
    opens[ranges(groups.starts[skipped], (start - groups.starts)[skipped])] = False
    skipped = skipped[start[skipped] < groups.ends[skipped]]
    opens[start[skipped]] = True
    edges = np.flatnonzero(opens | groups.begins)
    first = np.flatnonzero(opens.take(edges))
    return edges[first], np.append(edges[1:], len(opens))[first]


def _loop(groups: Groups, first: Ints, stop: Ints, reach: Reach, gap: int) -> tuple[Ints, Ints]:
    """Return the rows of a few stretches that open a window, one after the other, and where each of these
    windows ends.
    """
    sizes = stop - first
    rows = ranges(first, sizes)
    ends = reach.ends(rows, np.repeat(stop, sizes))
    places = np.cumsum(sizes)
    following = (ends + gap - np.repeat(stop - places, sizes)).tolist()
    openers = []
    for row, end in zip((places - sizes).tolist(), places.tolist(), strict=True):
        while row < end:
            openers.append(row)
            row = following[row]
    return rows[openers], ends[openers]
