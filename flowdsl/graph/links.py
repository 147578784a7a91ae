"""The links of one type: who is linked to whom as of a given event, in the order in which links were created.

Links are numbered in that order. A *run* holds some of them sorted by the id that look-ups start from; runs are
merged at a geometric pace as the log adds links. Each link knows the sequence numbers between which it lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.values.interner import Codes
from flowdsl.values.ranges import ranges
from flowdsl.values.state_fields import CODES, ArrayField, ChoiceField, ListField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

ALIVE = np.iinfo(np.int64).max
FORWARD, REVERSE = "forward", "reverse"
# not a direction that anybody looks along: links by both of their ends
_BETWEEN = "between"
# in fewer links than this a key is searched for; in more there is a table of where each key starts
SEARCHED_BELOW = 4096
# so many dead links at least are worth being left out
DEAD_ABOVE = 64
# and so many that all are numbered anew
COMPACT_ABOVE = 1 << 12
Seqs = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]


class SortedRun:
    """Some links sorted by (key, number): all that a key is linked to lies side by side."""

    def __init__(
        self, numbers: Numbers, keys: Codes, others: Codes, born: Seqs, died: Seqs, *, far_apart: bool = False
    ) -> None:
        """`far_apart`: there may be many times as many keys as there are links."""
        # one sort of (key, position) packed into an integer is several times faster than a stable argsort
        packed = keys.astype(np.int64) << 32 | np.arange(len(keys))
        packed.sort()
        self._order = packed & 0xFFFFFFFF
        self.numbers = numbers
        self._searched = far_apart or len(numbers) < SEARCHED_BELOW
        self._dense = len(numbers) > 0 and int(numbers[-1] - numbers[0]) == len(numbers) - 1
        self.keys = keys.take(self._order)
        self.others = others.take(self._order)
        self.born = born.take(self._order)
        self.died = died.take(self._order)
        self.last_born = int(born.max(initial=-1))
        self.deaths = int((self.died != ALIVE).sum())
        self._place: Numbers | None = None
        self._starts: Numbers | None = None
        self._first: Codes | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def fork(self) -> SortedRun:
        """A run that can lose links without this one noticing."""
        forked = object.__new__(SortedRun)
        forked.__dict__.update(self.__dict__)
        forked.died = self.died.copy()
        return forked

    def kill(self, numbers: Numbers, seqs: Seqs) -> None:
        """Those of the links that are in this run end at these sequence numbers."""
        if self._dense:
            at = numbers - self.numbers[0]
            inside = (at >= 0) & (at < len(self.numbers))
        else:
            at = np.searchsorted(self.numbers, numbers)
            inside = (at < len(self.numbers)) & (self.numbers.take(at, mode="clip") == numbers)
        if not inside.any():
            return
        if self._place is None:
            self._place = np.empty(len(self._order), np.int64)
            self._place[self._order] = np.arange(len(self._order))
        self.died[self._place[at[inside]]] = seqs[inside]
        self.deaths += int(inside.sum())

    def numbers_at(self, places: Numbers) -> Numbers:
        """The links at some places of this run."""
        numbers: Numbers = self.numbers.take(self._order.take(places))
        return numbers

    def first_others(self, ids: Codes) -> Codes:
        """The other end of each id's very first link in this run, dead or alive; 0 where there is none."""
        if self._first is None:
            self._first = np.zeros(int(self.keys[-1]) + 1 if len(self) else 1, np.int32)
            # assigned backwards: of several links of a key the first one stays
            self._first[self.keys[::-1]] = self.others[::-1]
        known = ids < len(self._first)
        return self._first.take(ids) if known.all() else self._first.take(np.where(known, ids, 0))

    def bounds(self, ids: Codes) -> tuple[Numbers, Numbers]:
        """Where the links of each id start and end in this run."""
        if self._searched:
            return np.searchsorted(self.keys, ids, side="left"), np.searchsorted(self.keys, ids, side="right")
        if self._starts is None:
            self._starts = np.concatenate([[0], np.cumsum(np.bincount(self.keys))])
        known = ids.clip(0, len(self._starts) - 2)
        start, end = self._starts.take(known), self._starts.take(known + 1)
        outside = ids != known
        return start, np.where(outside, start, end) if outside.any() else end


class LinkTable(StateObject):
    """All links of one type, with a list of runs for each direction that is asked for."""

    saved = keeps(
        source=CODES,
        target=CODES,
        born=ArrayField(np.int64, -1),
        died=ArrayField(np.int64, -1),
        directions=ListField(ChoiceField({FORWARD: FORWARD, REVERSE: REVERSE})),
    )

    def __init__(self) -> None:
        self.source = np.zeros(0, np.int32)
        self.target = np.zeros(0, np.int32)
        self.born = np.zeros(0, np.int64)
        self.died = np.zeros(0, np.int64)
        self.size = 0
        self._runs: dict[str, list[SortedRun]] = {}
        self._owned = True
        # how many of them have ended
        self._ended = 0

    def held_codes(self) -> Iterator[Codes]:
        yield self.source[: self.size]
        yield self.target[: self.size]

    def said(self) -> dict[str, Any]:
        columns = {name: getattr(self, name)[: self.size] for name in ("source", "target", "born", "died")}
        return {**columns, "directions": [d for d in (FORWARD, REVERSE) if d in self._runs]}

    @classmethod
    def restored(cls, said: dict[str, Any], source: StateReader) -> LinkTable:
        directions = said.pop("directions")
        source.agree(**{name: len(column) for name, column in said.items()})
        table = cls()
        if len(said["source"]):
            table.add(said["source"], said["target"], said["born"], said["died"])
        for direction in directions:
            table.prepare(direction)
        table.commit()
        return table

    def fork(self) -> LinkTable:
        """A table that goes on from here without changing this one."""
        forked = LinkTable()
        forked.source, forked.target = self.source, self.target
        forked.born, forked.died, forked.size = self.born, self.died, self.size
        forked._runs = {direction: list(runs) for direction, runs in self._runs.items()}
        forked._owned = self._owned = False
        forked._ended = self._ended
        return forked

    def prepare(self, direction: str) -> None:
        """Have the runs of a direction ready."""
        if direction not in self._runs:
            self._runs[direction] = [self._run(direction, np.arange(self.size))] if self.size else []

    def add(self, sources: Codes, targets: Codes, born: Seqs, died: Seqs) -> int:
        """Add links in the order of their creation; the first one gets the number returned."""
        start, end = self.size, self.size + len(sources)
        self._own(end)
        self.source[start:end], self.target[start:end] = sources, targets
        self.born[start:end], self.died[start:end] = born, died
        self.size = end
        self._ended += int(np.count_nonzero(died != ALIVE))
        for direction, runs in self._runs.items():
            runs.append(self._run(direction, np.arange(start, end)))
        return start

    def kill(self, numbers: Numbers, seqs: Seqs) -> None:
        """These links end at these sequence numbers."""
        self._own(self.size)
        self.died[numbers] = seqs
        self._ended += len(numbers)
        for runs in self._runs.values():
            for run in runs:
                run.kill(numbers, seqs)

    def between(self, sources: Codes, targets: Codes) -> tuple[Numbers, Numbers]:
        """Every link alive now from a source to its target: the row of the two, and the link."""
        self.prepare(_BETWEEN)
        keys = _pair_keys(sources, targets)
        rows, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for run in self._runs[_BETWEEN]:
            row, place = _ranges(*run.bounds(keys))
            number = run.numbers_at(place)
            same = (self.source[number] == sources[row]) & (self.target[number] == targets[row])
            alive = same & (self.died[number] == ALIVE)
            rows.append(row[alive])
            numbers.append(number[alive])
        return np.concatenate(rows), np.concatenate(numbers)

    def commit(self) -> None:
        """The chunk is over: join small runs, and rebuild those that are mostly dead, without the dead."""
        for direction, runs in self._runs.items():
            while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
                last, before = runs.pop(), runs.pop()
                runs.append(self._run(direction, self._alive(np.concatenate([before.numbers, last.numbers]))))
            for i, run in enumerate(runs):
                if run.deaths > DEAD_ABOVE and run.deaths * 2 > len(run):
                    runs[i] = self._run(direction, self._alive(run.numbers))
            runs[:] = [run for run in runs if len(run)]

    @property
    def crowded(self) -> bool:
        """Whether most of the links have ended."""
        return self._ended > COMPACT_ABOVE and 2 * self._ended > self.size

    def compact(self) -> Numbers:
        """Forget the links that have ended; gives the new number of each, -1 where it is none."""
        alive = np.flatnonzero(self.died[: self.size] == ALIVE)
        mapping = np.full(self.size, -1, np.int64)
        mapping[alive] = np.arange(len(alive))
        self.source, self.target = self.source[alive], self.target[alive]
        self.born, self.died = self.born[alive], self.died[alive]
        self.size, self._ended, self._owned = len(alive), 0, True
        for direction, runs in self._runs.items():
            kept = (mapping[run.numbers] for run in runs)
            self._runs[direction] = [self._run(direction, n[n >= 0]) for n in kept if (n >= 0).any()]
        return mapping

    def expand(self, direction: str, ids: Codes, seen: Seqs) -> tuple[Numbers, Codes]:
        """Every link of each id alive after sequence number `seen`: the row of the id, and the other end's code."""
        earliest = int(seen.min(initial=ALIVE))
        rows, others = [], []
        for run in self._runs[direction]:
            row, place = _ranges(*run.bounds(ids))
            if run.deaths or run.last_born > earliest:
                after = seen[row]
                keep = (run.died[place] > after) & (run.born[place] <= after)
                row, place = row[keep], place[keep]
            if len(row):
                rows.append(row)
                others.append(run.others.take(place))
        if not rows:
            return np.zeros(0, np.int64), np.zeros(0, np.int32)
        if len(rows) == 1:
            return rows[0], others[0]
        # each piece is ascending: a stable sort merges them, older links first
        row, other = np.concatenate(rows), np.concatenate(others)
        order = np.argsort(row, kind="stable")
        return row[order], other[order]

    def most(self, direction: str, ids: Codes) -> Numbers:
        """How many links each id has at most, those that ended included."""
        counts = np.zeros(len(ids), np.int64)
        for run in self._runs[direction]:
            start, end = run.bounds(ids)
            counts += end - start
        return counts

    def first(self, direction: str, ids: Codes, seen: Seqs) -> Codes:
        """The other end of the earliest link of each id alive after `seen`; 0 where there is none."""
        found = np.zeros(len(ids), np.int32)
        looking = np.arange(len(ids))
        for run in self._runs[direction]:
            if not len(looking):
                break
            got = _first_in(run, ids[looking], seen[looking])
            found[looking] = got
            looking = looking[got == 0]
        return found

    def _alive(self, numbers: Numbers) -> Numbers:
        alive: Numbers = numbers[self.died[numbers] == ALIVE]
        return alive

    def _run(self, direction: str, numbers: Numbers) -> SortedRun:
        keys, others = (self.target, self.source) if direction == REVERSE else (self.source, self.target)
        keys, others, between = keys[numbers], others[numbers], direction == _BETWEEN
        keys = _pair_keys(keys, others) if between else keys
        return SortedRun(numbers, keys, others, self.born[numbers], self.died[numbers], far_apart=between)

    def _own(self, size: int) -> None:
        """Have arrays that may be changed, with room for so many links."""
        if self._owned and size <= len(self.source):
            return
        room = max(size, len(self.source) + len(self.source) // 2)
        self.source, self.target = _grown(self.source, room), _grown(self.target, room)
        self.born, self.died = _grown(self.born, room), _grown(self.died, room)
        if not self._owned:
            self._runs = {d: [run.fork() for run in runs] for d, runs in self._runs.items()}
            self._owned = True


def _first_in(run: SortedRun, ids: Codes, seen: Seqs) -> Codes:
    if not run.deaths and run.last_born <= int(seen.min(initial=ALIVE)):
        return run.first_others(ids)
    start, end = run.bounds(ids)
    there = start < end
    found = np.where(there, run.others.take(start, mode="clip"), 0).astype(np.int32)
    place = start.clip(0, len(run) - 1)
    right = there & (run.died.take(place) > seen) & (run.born.take(place) <= seen)
    rest = np.flatnonzero(there & ~right)
    found[rest] = 0
    if len(rest):
        _first_of_several(run, ids, seen, rest, found)
    return found


def _first_of_several(run: SortedRun, ids: Codes, seen: Seqs, rest: Numbers, found: Codes) -> None:
    """Where the very first link is dead or not born yet: from when on is each later one the first alive?

    Link i is the first from the latest end among those before it (and its own birth) until its own end. Those
    spans ascend within a key, so one binary search finds the link for a moment. Only keys in need are worked on.
    """
    keys, which = np.unique(ids[rest], return_inverse=True)
    key_row, place = _ranges(*run.bounds(keys.astype(np.int32)))
    # sequence numbers that matter, as small integers, so that (key, number) packs into one
    born, died, asked = run.born[place], run.died[place], seen[rest]
    scale, small = np.unique(np.concatenate([born, died, asked]), return_inverse=True)
    width = len(scale) + 1
    born, died, asked = np.split(small, [len(born), len(born) + len(died)])
    base = key_row * width
    latest = np.maximum.accumulate(base + died)
    before = np.concatenate([[-1], latest[:-1]])
    before = np.maximum(before, base) - base
    since = np.maximum(before, born)
    lives = since < died
    # a later link is born after an earlier one, so `since` ascends within a key
    starts = (base + since)[lives]
    at = np.searchsorted(starts, which * width + asked, side="right") - 1
    candidates = np.flatnonzero(lives)[at.clip(0)] if len(starts) else np.zeros(len(rest), np.int64)
    good = (at >= 0) & (len(starts) > 0)
    good &= (key_row[candidates] == which) & (died[candidates] > asked)
    found[rest[good]] = run.others[place[candidates[good]]]


def _pair_keys(sources: Codes, targets: Codes) -> Codes:
    """A number for each two ends; few others have the same."""
    mixed = sources.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ targets.astype(np.uint64)
    return (mixed * np.uint64(0xC2B2AE3D27D4EB4F) >> np.uint64(33)).astype(np.int32)


def _ranges(start: Numbers, end: Numbers) -> tuple[Numbers, Numbers]:
    """All of `start … end-1` for each row, one after the other: the row, and the number."""
    counts = end - start
    return np.repeat(np.arange(len(counts)), counts), ranges(start, counts)


def _grown(array: Any, size: int) -> Any:
    grown = np.empty(size, array.dtype)
    grown[: len(array)] = array
    return grown
