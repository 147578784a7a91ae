"""Windows that open with the first context of a key, found for a whole batch at once.

The contexts of a batch are sorted by key, keeping their order. How far a window reaches says a `Reach`. A row
that comes after all that earlier ones of its key could have opened opens a window, whatever came before: the
stretches between such rows are worked on side by side, and most are one window. One round finds the next
window of every stretch that still has one. For the few that have very many windows the reach is asked at once
for all rows, and a plain loop goes from one window to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.values.json_types import Mask
from flowdsl.values.orders import stable_order
from flowdsl.values.ranges import ranges

Ints = npt.NDArray[np.int64]
LOOP_BELOW = 64
# (group, time) has to fit into so many bits
_BITS: Final = 62


@dataclass(frozen=True)
class Groups:
    """A batch sorted by key: `order` says where each row came from; group g is rows `starts[g] …
    ends[g]-1`, and `of_rows` has the group of each row.
    """

    keys: Ints
    order: Ints
    starts: Ints
    ends: Ints
    times: Ints
    of_rows: Ints
    _searchable: Ints
    _scale: _Scale

    @classmethod
    def of(cls, keys: Ints, times: Ints) -> Groups:
        """Rows in order of time, grouped by key."""
        order = stable_order(keys)
        sorted_keys = keys.take(order)
        change = np.flatnonzero(sorted_keys[1:] != sorted_keys[:-1]) + 1
        starts = np.concatenate([[0], change]).astype(np.int64) if len(keys) else np.zeros(0, np.int64)
        ends = np.concatenate([change, [len(keys)]]).astype(np.int64) if len(keys) else np.zeros(0, np.int64)
        sorted_times = times.take(order)
        scale = _Scale.of(times, len(starts))
        group = np.repeat(np.arange(len(starts)), ends - starts)
        searchable = group * scale.width + scale.at(sorted_times)
        return cls(sorted_keys.take(starts), order, starts, ends, sorted_times, group, searchable, scale)

    def find(self, keys: Ints) -> Ints:
        """Return the group of each key, -1 where there is none."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self.keys, keys)
        return np.where(self.keys.take(at, mode="clip") == keys, at, -1)

    def first_at_or_after(self, groups: Ints, moments: Ints) -> Ints:
        """For each of these groups its first row at or after a moment; the group's end where there is
        none.
        """
        wanted = groups * self._scale.width + self._scale.at(moments)
        found = np.searchsorted(self._searchable, wanted, side="left")
        first: Ints = np.minimum(found, self.ends[groups])
        return first

    def beyond(self, limits: Ints, *, ascending: bool) -> Mask:
        """Mark the rows that come at or after the limits of all earlier rows of their group; `ascending` says
        that within a group limits do.
        """
        after = np.ones(len(limits), np.bool_)
        if ascending:
            np.greater_equal(self.times[1:], limits[:-1], out=after[1:])
            after[self.starts] = True
            return after
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
        """Return the scale for these times, which ascend, in so many groups."""
        if not len(times):
            return cls(0, 2)
        earliest, width = int(times[0]), int(times[-1]) - int(times[0]) + 2
        if width.bit_length() + groups.bit_length() <= _BITS:
            return cls(earliest, width)
        places = times[np.flatnonzero(np.diff(times, prepend=times[0] - 1))]
        return cls(earliest, len(places) + 1, places)

    def at(self, moments: Ints) -> Ints:
        """Each moment as the number of the first time at or after it."""
        if self.places is not None:
            return np.searchsorted(self.places, moments, side="left")
        return (moments - self.earliest).clip(0, self.width - 1)


class Reach(Protocol):
    """Answer to where windows end."""

    def ends(self, group: Ints, first: Ints) -> Ints:
        """Return the first row that is not in the window that a row of a group opens; it comes after `first`,
        and is at most the group's end.
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

    def ends(self, group: Ints, first: Ints) -> Ints:
        """Return where the windows end."""
        if self.window == 0:
            return first + 1
        return self.groups.first_at_or_after(group, self.groups.times[first] + self.window)

    def openers(self) -> Mask:
        """Mark the rows that come so long after the one before them."""
        return self.groups.beyond(self.groups.times + self.window, ascending=True)


@dataclass(frozen=True)
class Windows(Arrays):
    """Windows that open in a batch, by group and time: rows `first … end-1` of the sorted batch are their
    members.
    """

    group: Ints
    first: Ints
    end: Ints

    def as_they_open(self, groups: Groups) -> Windows:
        """Return the windows in the order of the contexts that open them."""
        place = np.full(len(groups.order), -1, np.int64)
        place[groups.order[self.first]] = np.arange(len(self))
        return self.take(place[place >= 0])

    @classmethod
    def find(cls, groups: Groups, start: Ints, reach: Reach, gap: int = 0) -> Windows:
        """All windows, where the first one of each group opens at its row `start` (the group's end: none).

        So many rows as `gap` that come after a window are in none: the next one opens behind them.
        """
        if not len(groups.times):
            return cls.none()
        group, first, stop = _stretches(groups, start, reach) if not gap else _whole(groups, start)
        end_of = np.zeros(len(groups.times), np.int64)
        if not gap:
            # a stretch of one row is a window of one
            end_of[first] = first + 1
            several = np.flatnonzero(stop - first > 1)
            group, first, stop = group[several], first[several], stop[several]
        while len(group) >= LOOP_BELOW:
            end = reach.ends(group, first)
            end_of[first] = end
            more = np.flatnonzero(end + gap < stop)
            group, first, stop = group[more], end[more] + gap, stop[more]
        for one in zip(group, first.tolist(), stop.tolist(), strict=True):
            openers, ends = _loop(*one, reach, gap)
            end_of[openers] = ends
        found = np.flatnonzero(end_of)
        return cls(groups.of_rows[found], found, end_of[found])


def _whole(groups: Groups, start: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the groups that have a row from `start` on, that row, and where they end."""
    group = np.flatnonzero(start < groups.ends)
    return group, start[group], groups.ends[group]


def _stretches(groups: Groups, start: Ints, reach: Reach) -> tuple[Ints, Ints, Ints]:
    """Return the stretches of rows, each of which opens a window and ends where the next one does: their
    groups, where they begin, and where they end.
    """
    opens = reach.openers()
    skipped = np.flatnonzero(start > groups.starts)
    if len(skipped):
        opens[ranges(groups.starts[skipped], (start - groups.starts)[skipped])] = False
        skipped = skipped[start[skipped] < groups.ends[skipped]]
        opens[start[skipped]] = True
    first = np.flatnonzero(opens)
    group = groups.of_rows[first]
    return group, first, np.minimum(np.append(first[1:], len(opens)), groups.ends[group])


def _loop(group: np.int64, start: int, stop: int, reach: Reach, gap: int) -> tuple[Ints, Ints]:
    """Return the rows of one stretch that open a window, one after the other, and where each of these
    windows ends.
    """
    rows = np.arange(start, stop)
    ends = reach.ends(np.full(len(rows), group), rows)
    following = (ends + (gap - start)).tolist()
    openers, row, size = [], 0, stop - start
    while row < size:
        openers.append(row)
        row = following[row]
    opened = np.array(openers, np.int64)
    return opened + start, ends[opened]
