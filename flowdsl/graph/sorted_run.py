"""Links sorted by the id that lookups start from."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Index, Ints, Mask
from flowdsl.values.orders import ranges

ALIVE = np.iinfo(np.int64).max
# below this size, keys are found by search; above it, by a table of start positions
SEARCHED_BELOW = 4096
Seqs = npt.NDArray[np.int64]


class LinkOrder:
    """An order of the links of a block, which the copies of a run share."""

    def __init__(self, links: Ints) -> None:
        # of a block of millions they are kept for long
        self.links = links.astype(np.int32)

    @cached_property
    def places(self) -> npt.NDArray[np.int32]:
        """Place of each link in it."""
        places = np.empty(len(self.links), np.int32)
        places[self.links] = np.arange(len(self.links), dtype=np.int32)
        return places


class LinkRun:
    """Links of a block in an order of their own, with the sequence numbers at which each begins and ends."""

    def __init__(self, order: Ints, born: Seqs, died: Seqs) -> None:
        self._order = LinkOrder(order)
        self.last_born = int(born.max(initial=-1))
        # of links from before the first event it need not be kept when each began
        self._born = born.take(order) if self.last_born >= 0 else None
        self.deaths = int(np.count_nonzero(died != ALIVE))
        # nor when each ended, where none has
        self._died = died.take(order) if self.deaths else None

    @property
    def order(self) -> npt.NDArray[np.int32]:
        """The links in this order."""
        return self._order.links

    def fork(self) -> Self:
        """Return a copy-on-write fork."""
        forked = object.__new__(type(self))
        forked.__dict__.update(self.__dict__)
        forked._died = None if self._died is None else self._died.copy()
        return forked

    def kill(self, at: Ints, seqs: Seqs | int) -> None:
        """End the links at these places of the block, none of which has ended, at these sequence numbers."""
        if self._died is None:
            self._died = np.full(len(self.order), ALIVE)
        self._died[self._order.places.take(at)] = seqs
        self.deaths += len(at)

    def born(self, place: Ints) -> Seqs:
        """Return the beginnings of the links at some places of this run."""
        return np.full(len(place), -1) if self._born is None else self._born.take(place)

    def died(self, place: Index) -> Seqs:
        """Return the ends of the links at some places of this run."""
        return np.full(len(place), ALIVE) if self._died is None else self._died.take(place)

    def live_at(self, place: Index, seen: Seqs) -> Mask:
        """Mark the places of this run whose link is live after the sequence number `seen` of each."""
        live: Mask = self.died(place) > seen
        if self._born is not None:
            live &= self._born.take(place) <= seen
        return live

    def all_live(self, seen: Seqs) -> bool:
        """Return True if every link is live after each of these sequence numbers."""
        return not self.deaths and self.last_born <= int(seen.min(initial=ALIVE))


class SortedRun(LinkRun):
    """Links sorted by key and place in their block, so that the links of a key are adjacent."""

    def __init__(
        self, keys: Codes, others: Codes, born: Seqs, died: Seqs, *, far_apart: bool = False
    ) -> None:
        """Sort links; `far_apart` is for many times as many keys as links."""
        # one sort of (key, position) packed into an integer is several times faster than a stable argsort
        packed = keys.astype(np.int64) << 32 | np.arange(len(keys))
        packed.sort()
        order = np.bitwise_and(packed, 0xFFFFFFFF, out=packed)
        super().__init__(order, born, died)
        self._far_apart = far_apart
        self._searched = far_apart or len(keys) < SEARCHED_BELOW
        self.keys, self.others = keys.take(order), others.take(order)
        self._starts: Ints | None = None
        self._first: Codes | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def first_others(self, ids: Codes) -> Codes:
        """Return the other end of each id's very first link in this run, live or not, or 0."""
        if self._far_apart:
            at = np.searchsorted(self.keys, ids)
            hit = self.keys.take(at, mode="clip") == ids
            return np.where(hit, self.others.take(at, mode="clip"), np.int32(0))
        if self._first is None:
            first = np.zeros(int(self.keys[-1]) + 1 if len(self) else 1, np.int32)
            # assigned backwards: of several links of a key the first one stays
            first[self.keys[::-1]] = self.others[::-1]
            self._first = first
        known = ids < len(self._first)
        return self._first.take(ids) if known.all() else self._first.take(np.where(known, ids, 0))

    def bounds(self, ids: Codes) -> tuple[Ints, Ints]:
        """Return the start and end of each id's links in this run."""
        if self._far_apart:
            # most ids have no links here
            start = np.searchsorted(self.keys, ids)
            end, hit = start.copy(), np.flatnonzero(self.keys.take(start, mode="clip") == ids)
            end[hit] = np.searchsorted(self.keys, ids[hit], side="right")
            return start, end
        if self._searched:
            return np.searchsorted(self.keys, ids, side="left"), np.searchsorted(self.keys, ids, side="right")
        if self._starts is None:
            self._starts = np.concatenate([[0], np.cumsum(np.bincount(self.keys))])
        known = ids.clip(0, len(self._starts) - 2)
        start, end = self._starts.take(known), self._starts.take(known + 1)
        outside = ids != known
        return start, np.where(outside, start, end) if outside.any() else end

    def first(self, ids: Codes, seen: Seqs) -> Codes:
        """Return the other end of each id's earliest link that is live after `seen`, or 0."""
        if self.all_live(seen):
            return self.first_others(ids)
        place = self.first_places(ids, seen)
        return np.where(place < 0, np.int32(0), self.others.take(place, mode="clip"))

    def first_places(self, ids: Codes, seen: Seqs) -> Ints:
        """Return the place in this run of each id's earliest link that is live after `seen`, or -1."""
        start, end = self.bounds(ids)
        there = start < end
        place = start.clip(0, len(self) - 1)
        right = there & self.live_at(place, seen)
        found = np.where(right, start, -1)
        rest = np.flatnonzero(there & ~right)
        if len(rest):
            _first_of_several(self, ids, seen, rest, found)
        return found


def _first_of_several(run: SortedRun, ids: Codes, seen: Seqs, rest: Ints, found: Ints) -> None:
    """Precompute, for keys whose first link is not valid, from which event each later link becomes the first
    valid one.

    Link i is the first from the latest end among those before it (and its own birth) until its own end. Those
    spans ascend within a key, so one binary search finds the link for a moment. Only keys in need are worked
    on.
    """
    keys, which = np.unique(ids[rest], return_inverse=True)
    key_row, place = spread(*run.bounds(keys.astype(np.int32)))
    # sequence numbers that matter, as small integers, so that (key, number) packs into one
    born, died, asked = run.born(place), run.died(place), seen[rest]
    scale, small = np.unique(np.concatenate([born, died, asked]), return_inverse=True)
    width = len(scale) + 1
    born, died, asked = np.split(small, [len(born), len(born) + len(died)])
    base = key_row * width
    latest = np.maximum.accumulate(base + died)
    before = np.concatenate([[-1], latest[:-1]])
    before = np.maximum(before, base) - base
    since = np.maximum(before, born)
    lives = since < died
    # later links are created later, so `since` ascends within a key
    starts = (base + since)[lives]
    at = np.searchsorted(starts, which * width + asked, side="right") - 1
    candidates = np.flatnonzero(lives)[at.clip(0)] if len(starts) else np.zeros(len(rest), np.int64)
    good = (at >= 0) & (len(starts) > 0)
    good &= (key_row[candidates] == which) & (died[candidates] > asked)
    found[rest[good]] = place[candidates[good]]


def spread(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Concatenate the ranges `start … end-1` of all rows: the row, and the number."""
    counts = end - start
    return np.repeat(np.arange(len(counts)), counts), ranges(start, counts)
