"""Counts of the links of one type that each id has, as of each event of the current chunk."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.graph.sorted_run import Seqs
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Ints
from flowdsl.values.orders import distinct, sort_stably

# sequence numbers of a chunk that are no further apart than this fit into a key
_NEAR: Final = 1 << 30


class LinkCounts:
    """Number of links of each id before the chunk, and the chunk's creations and ends in order.

    An id whose links the chunk does not change is answered by one array, the others by one sort.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(1, np.int32)
        self._owned = True
        # (id, sequence number), one for each link that the chunk creates or ends
        self._born: list[tuple[Codes, Seqs]] = []
        self._died: list[tuple[Codes, Seqs]] = []
        self._sorted: _Changes | None = None

    def fork(self) -> LinkCounts:
        """Return a copy-on-write fork, for use between two chunks."""
        forked = LinkCounts()
        self._owned = forked._owned = False
        forked._counts = self._counts
        forked._born, forked._died = self._born.copy(), self._died.copy()
        return forked

    def start(self, ids: Codes) -> None:
        """Count links that there are before the chunk."""
        if len(ids):
            self._add(ids, 1)

    def born(self, ids: Codes, seqs: Seqs) -> None:
        """Count links that begin at these sequence numbers."""
        self._change(self._born, ids, seqs)

    def died(self, ids: Codes, seqs: Seqs) -> None:
        """Count links that end at these sequence numbers."""
        self._change(self._died, ids, seqs)

    def _change(self, changes: list[tuple[Codes, Seqs]], ids: Codes, seqs: Seqs) -> None:
        if len(ids):
            changes.append((ids, seqs))
            self._sorted = None

    def of(self, ids: Codes, seen: Seqs) -> Ints:
        """Return the number of links of each id that are live after `seen`."""
        counts = _values_at(self._counts, ids).astype(np.int64)
        if not self._born and not self._died:
            return counts
        # flows run on several threads: each may make it, and they are all the same
        changes = self._sorted = self._sorted or _Changes(self._born, self._died)
        changes.apply(counts, ids, seen)
        return counts

    def commit(self) -> None:
        """Apply the chunk's changes to the counts before the next one."""
        for changes, step in ((self._born, 1), (self._died, -1)):
            for ids, _ in changes:
                self._add(ids, step)
        self._born, self._died, self._sorted = [], [], None

    def _add(self, ids: Codes, step: int) -> None:
        size = int(ids.max()) + 1
        if size > len(self._counts):
            grown = np.zeros(max(size, 2 * len(self._counts)), np.int32)
            grown[: len(self._counts)] = self._counts
            self._counts, self._owned = grown, True
        elif not self._owned:
            self._counts, self._owned = self._counts.copy(), True
        if len(ids) * 8 > len(self._counts):
            self._counts += step * np.bincount(ids, minlength=len(self._counts)).astype(np.int32)
        else:
            np.add.at(self._counts, ids, np.int32(step))


class _Changes:
    """The creations and ends of a chunk: which id has one more link, or one less, from which event on."""

    def __init__(self, born: list[tuple[Codes, Seqs]], died: list[tuple[Codes, Seqs]]) -> None:
        changes = [*born, *died]
        self._ids = np.concatenate([ids for ids, _ in changes])
        seqs = np.concatenate([seqs for _, seqs in changes])
        self._first = int(seqs.min())
        # where numbers are far apart, their ranks replace them
        self._last = int(seqs.max()) - self._first
        self._scale = distinct(seqs) if self._last >= _NEAR else None
        self._places = self._place(seqs)
        size = sum(len(ids) for ids, _ in born)
        self._steps = np.where(np.arange(len(seqs)) < size, np.int32(1), np.int32(-1))
        self._changed = np.zeros(int(self._ids.max()) + 1, np.bool_)
        self._changed[self._ids] = True

    def _place(self, seqs: Seqs) -> Ints:
        """Return numbers that are in the order of sequence numbers; -1 before the first change."""
        if self._scale is not None:
            return np.searchsorted(self._scale, seqs, side="right") - 1
        return (seqs - self._first).clip(-1, self._last)

    def apply(self, counts: Ints, ids: Codes, seen: Seqs) -> None:
        """Add to the counts before the chunk what it has changed for these ids until `seen`."""
        rows = np.flatnonzero(_values_at(self._changed, ids) & (seen >= self._first))
        if not len(rows):
            return
        asked = ids[rows]
        wanted = np.zeros(len(self._changed), np.bool_)
        wanted[asked] = True
        mine = np.flatnonzero(wanted[self._ids])
        # one sort of (id, event, whether it is a query): a change counts for queries at its own event
        bits = int(self._places.max()).bit_length()
        changes = self._ids[mine].astype(np.int64) << bits | self._places[mine]
        questions = asked.astype(np.int64) << bits | self._place(seen[rows])
        keys, order = sort_stably(np.concatenate([changes << 1, questions << 1 | 1]))
        steps = np.concatenate([self._steps[mine], np.zeros(len(rows), np.int32)]).take(order)
        total = np.cumsum(steps, dtype=np.int32)
        of = keys >> (bits + 1)
        new = np.ones(len(of), np.bool_)
        np.not_equal(of[1:], of[:-1], out=new[1:])
        begins = np.flatnonzero(new)
        total -= np.repeat(total[begins] - steps[begins], np.diff(begins, append=len(of)))
        question = np.flatnonzero(order >= len(mine))
        counts[rows[order[question] - len(mine)]] += total[question]


def _values_at(values: npt.NDArray[Any], ids: Codes) -> npt.NDArray[Any]:
    """Return `values[ids]`, 0 for ids beyond its end."""
    inside = (ids > 0) & (ids < len(values))
    return values.take(ids) if inside.all() else np.where(inside, values.take(np.where(inside, ids, 0)), 0)
