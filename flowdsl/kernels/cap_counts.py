"""Counts of caps: how many of each key went on, in every stretch of time or by local days, weeks and
months.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

import numpy as np

from flowdsl.kernels.key_memory import KeyLists, KeyMemory
from flowdsl.kernels.windows import LOOP_BELOW, Groups
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.local_time import period_numbers
from flowdsl.values.orders import distinct, ranges, stable_order
from flowdsl.values.state_fields import ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps
from flowdsl.values.zones import Zones, zone_number

# a key and the number of a day stand in one integer; days of the years 0 to 9999 fit into so many bits
_BITS: Final = 22
_FIRST: Final = 1 << 20
# no zone is so far from another that a day there is more than so many behind
_BEHIND: Final = 2


class CapCounts(StateObject):
    """Counts of what went on, by key."""

    def __init__(self, most: int, per: Any, memory: KeyMemory | None = None) -> None:
        self._most, self._per = most, per
        self._memory = memory or KeyMemory()

    def goes_on_for(self, step: CapCounts, source: StateReader) -> CapCounts:
        """Return the same counts, for the options of a step's own."""
        source.check(type(step) is type(self), f"not a {type(step).__name__}")
        self._most, self._per = step._most, step._per
        return self

    def fork(self) -> CapCounts:
        """Return an independent copy."""
        return type(self)(self._most, self._per, self._memory.fork())

    def take(self, keys: Ints, moments: Ints, zones: Zones) -> Mask:
        """Return which contexts go on, in order of time, and count them."""
        raise NotImplementedError

    def keys_held(self) -> list[Ints]:
        """Return the keys that went on, as long as that counts."""
        raise NotImplementedError

    def counted(self, clock: int) -> int:
        """Return how many keys have something that counts at a clock."""
        raise NotImplementedError


class SlidingCounts(CapCounts):
    """The moments at which the last `most` contexts of each key went on: one more may go on `per` µs after
    the first of these.
    """

    saved = keeps(_memory=ObjectField(KeyMemory))

    def keys_held(self) -> list[Ints]:
        return [table.keys for table in self._memory.tables]

    def counted(self, clock: int) -> int:
        keys = [t.of_each[t.values > clock - self._per] for t in self._memory.tables]
        return len(distinct(np.concatenate(keys)))

    def take(self, keys: Ints, moments: Ints, zones: Zones) -> Mask:
        most, per = self._most, self._per
        if not most or not len(keys):
            return np.zeros(len(keys), np.bool_)
        groups = Groups.of(keys, moments)
        held, earlier = self._memory.find(groups.keys)
        sizes = groups.ends - groups.starts
        # of each key what went on before, and behind that its contexts here
        begins = np.cumsum(held + sizes) - held - sizes
        fresh = np.repeat(begins + held - groups.starts, sizes) + np.arange(len(keys))
        line = np.empty(len(keys) + len(earlier), np.int64)
        line[fresh] = groups.times
        line[np.repeat(begins - (np.cumsum(held) - held), held) + np.arange(len(earlier))] = earlier
        passing = np.ones(len(keys), np.bool_)
        # where no context is too early if all of them go on, all of them do
        nth = fresh - most
        early = nth >= np.repeat(begins, sizes)
        early[early] = line[nth[early]] > groups.times[early] - per
        counts = held + sizes
        if early.any():
            first = np.flatnonzero(early)
            group = np.searchsorted(groups.ends, first, side="right")
            group, at = np.unique(group, return_index=True)
            first = first[at]
            counts[group] = fresh[first] - begins[group]
            self._one_by_one(groups, group, first, line, begins, counts, passing)
        self._remember(groups.keys, begins, counts, held, line, int(moments[-1]))
        answer = np.empty(len(keys), np.bool_)
        answer[groups.order] = passing
        return answer

    def _one_by_one(
        self, groups: Groups, group: Ints, first: Ints, line: Ints, begins: Ints, counts: Ints, passing: Mask
    ) -> None:
        """Let contexts of some groups go on from their row `first`, of which the `counts` before fill a
        stretch: of all groups one context at a time. `line` becomes what went on.
        """
        for g, row in zip(group.tolist(), first.tolist(), strict=True):
            passing[row : groups.ends[g]] = False
        row = first
        while len(group) >= LOOP_BELOW:
            ends = begins[group] + counts[group]
            stop = groups.ends[group]
            row = np.maximum(row, groups.first_at_or_after(stop, line[ends - self._most] + self._per))
            more = row < stop
            group, row, ends = group[more], row[more], ends[more]
            passing[row] = True
            line[ends] = groups.times[row]
            counts[group] += 1
            row = row + 1
        for g, at in zip(group.tolist(), row.tolist(), strict=True):
            counts[g] += self._loop(groups, g, at, line, int(begins[g] + counts[g]), passing)

    def _loop(self, groups: Groups, group: int, row: int, line: Ints, end: int, passing: Mask) -> int:
        """Do the same for one group; return how many went on."""
        times = groups.times[row : groups.ends[group]].tolist()
        went = line[end - self._most : end].tolist()
        rows: list[int] = []
        at = 0
        while (at := bisect_left(times, went[len(rows)] + self._per, at)) < len(times):
            went.append(times[at])
            rows.append(row + at)
            at += 1
        passing[rows] = True
        line[end : end + len(rows)] = went[self._most :]
        return len(rows)

    def _remember(self, keys: Ints, begins: Ints, counts: Ints, held: Ints, line: Ints, clock: int) -> None:
        some = np.flatnonzero(counts > held)
        lengths = np.minimum(counts[some], self._most)
        values = line.take(ranges(begins[some] + counts[some] - lengths, lengths))
        expired = clock - self._per
        fresh = KeyLists(keys[some], np.cumsum(lengths), values)
        self._memory.remember(fresh, lambda lists: lists.values > expired)


class PeriodCounts(CapCounts):
    """Counts of the contexts of each key that went on in each local day, week or month."""

    saved = keeps(_memory=ObjectField(KeyMemory))

    def keys_held(self) -> list[Ints]:
        return [table.keys >> _BITS for table in self._memory.tables]

    def counted(self, clock: int) -> int:
        least = self._least(clock)
        keys = np.concatenate([table.keys for table in self._memory.tables])
        return len(distinct(keys[_numbers(keys) >= least] >> _BITS))

    def take(self, keys: Ints, moments: Ints, zones: Zones) -> Mask:
        if not len(keys):
            return np.zeros(0, np.bool_)
        cells = keys << _BITS | (period_numbers(self._per, moments, zones) + _FIRST)
        order = stable_order(cells)
        cells = cells[order]
        starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
        cells, sizes = cells[starts], np.diff(starts, append=len(keys))
        held, earlier = self._memory.find(cells)
        before = np.zeros(len(cells), np.int64)
        before[held > 0] = earlier
        went = np.minimum(sizes, (self._most - before).clip(0))
        rank = np.arange(len(keys)) - np.repeat(starts, sizes)
        answer = np.empty(len(keys), np.bool_)
        answer[order] = rank < np.repeat(went, sizes)
        some = np.flatnonzero(went)
        least = self._least(int(moments[-1]))
        fresh = KeyLists.single(cells[some], (before + went)[some])
        self._memory.remember(fresh, lambda lists: _numbers(lists.of_each) >= least)
        return answer

    def _least(self, clock: int) -> int:
        """Return the number of the first day, week or month that it may be somewhere at a clock."""
        utc = zone_number("UTC")
        assert utc is not None
        return int(period_numbers(self._per, np.array([clock]), utc)[0]) - _BEHIND


def _numbers(cells: Ints) -> Ints:
    return (cells & ((1 << _BITS) - 1)) - _FIRST
