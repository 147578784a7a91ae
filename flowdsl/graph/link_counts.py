"""How many links of one type each id has, as of each event of the current chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.graph.sorted_run import Numbers, Seqs
from flowdsl.values.interner import Codes

_NO_KEYS = np.zeros(0, np.int64)


class LinkCounts:
    """Number of links of each id before the chunk, and the chunk's creations and ends in order.

    An id whose links the chunk does not change is answered by one array, any other by two binary searches.
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

    def of(self, ids: Codes, seen: Seqs) -> Numbers:
        """Return the number of links of each id that are live after `seen`."""
        counts = _at(self._counts, ids).astype(np.int64)
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
    """The creations and ends of a chunk, each sorted by id and event."""

    def __init__(self, born: list[tuple[Codes, Seqs]], died: list[tuple[Codes, Seqs]]) -> None:
        both = [*born, *died]
        self._scale = np.unique(np.concatenate([seqs for _, seqs in both]))
        self._first = int(self._scale[0])
        size = max(int(ids.max()) for ids, _ in both) + 1
        self._changed = np.zeros(size, np.bool_)
        for ids, _ in both:
            self._changed[ids] = True
        self._sides = [self._side(changes, size) for changes in (born, died)]

    def _side(self, changes: list[tuple[Codes, Seqs]], size: int) -> tuple[Numbers, Codes]:
        """Return the sorted keys, and the place of each id's first key."""
        if not changes:
            return _NO_KEYS, np.zeros(0, np.int32)
        ids = np.concatenate([ids for ids, _ in changes])
        place = np.searchsorted(self._scale, np.concatenate([seqs for _, seqs in changes]))
        keys = ids.astype(np.int64) << 32 | place
        keys.sort()
        begins = np.zeros(size, np.int32)
        of = keys >> 32
        first = np.flatnonzero(np.diff(of, prepend=-1))
        begins[of[first]] = first
        return keys, begins

    def apply(self, counts: Numbers, ids: Codes, seen: Seqs) -> None:
        """Add to the counts before the chunk what it has changed for these ids until `seen`."""
        if int(seen.max(initial=-1)) < self._first:
            return
        rows = np.flatnonzero(_at(self._changed, ids))
        asked = ids[rows]
        # the first change that is not seen
        wanted = asked.astype(np.int64) << 32 | np.searchsorted(self._scale, seen[rows], side="right")
        for (keys, begins), step in zip(self._sides, (1, -1), strict=True):
            if len(keys):
                until = np.searchsorted(keys, wanted)
                has = keys.take(begins.take(asked), mode="clip") >> 32 == asked
                counts[rows] += np.where(has, step * (until - begins.take(asked)), 0)


def _at(values: npt.NDArray[Any], ids: Codes) -> npt.NDArray[Any]:
    """Return `values[ids]`, 0 for ids that it has no place for."""
    inside = (ids > 0) & (ids < len(values))
    return values.take(ids) if inside.all() else np.where(inside, values.take(np.where(inside, ids, 0)), 0)
