"""Blocks of consecutive links of one type, indexed for lookups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

import numpy as np

from flowdsl.graph.pair_run import PairRun, Pairs
from flowdsl.graph.sorted_run import ALIVE, Seqs, SortedRun
from flowdsl.values.interner import Codes
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_texts import null_texts
from flowdsl.values.json_types import Ints, Mask, Tag

FORWARD, REVERSE = "forward", "reverse"
# least number of ended links worth removing
DEAD_ABOVE = 64
# where blocks are bounded, from how many times as many keys as there are links on these are searched for:
# tables would be large, and never used for long
FAR_APART = 4
# end of a link that was moved to another block: before any event
_MOVED = -1


class LinkBlock:
    """Links in ascending order of their numbers, sorted for each direction in use."""

    def __init__(
        self,
        numbers: Ints,
        source: Codes,
        target: Codes,
        born: Seqs,
        died: Seqs,
        documents: Documents | None = None,
        *,
        bounded: bool = False,
    ) -> None:
        self.numbers = numbers
        self.source, self.target = source, target
        self.born, self.died = born, died
        # the metadata of the links, where flows read it
        self.documents = documents
        # True if another table shares it, so that it must not change
        self.shared = False
        self.ended = int(np.count_nonzero(died != ALIVE))
        self._bounded = bounded
        self._runs: dict[str, SortedRun] = {}
        self._pairs: PairRun | None = None
        # the links before this one are in other blocks
        self._begin = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def first(self) -> int:
        """Number of the first link that is in no other block."""
        return int(self.numbers[self._begin])

    @property
    def alive(self) -> int:
        """Number of links that have not ended."""
        return len(self) - self.ended

    @property
    def crowded(self) -> bool:
        """True if most of the links have ended."""
        return self.ended > DEAD_ABOVE and 2 * self.ended > len(self)

    def own(self) -> LinkBlock:
        """Return the block itself if no other table uses it, else a copy that may be changed."""
        if not self.shared:
            return self
        own = object.__new__(LinkBlock)
        own.__dict__.update(self.__dict__)
        own.shared, own.died = False, self.died.copy()
        own._runs = {direction: run.fork() for direction, run in self._runs.copy().items()}
        own._pairs = None if self._pairs is None else self._pairs.fork()
        return own

    def having(self, documents: Documents | None) -> LinkBlock:
        """Return the block with metadata for each of its links, or with none."""
        if self.documents is documents:
            return self
        own = object.__new__(LinkBlock)
        own.__dict__.update(self.__dict__)
        own.documents, own.shared, self.shared = documents, True, True
        return own

    def run(self, direction: str) -> SortedRun:
        """Return the links sorted for one direction."""
        run = self._runs.get(direction)
        if run is None:
            keys, others = (self.target, self.source) if direction == REVERSE else (self.source, self.target)
            far_apart = self._bounded and int(keys.max(initial=0)) > FAR_APART * len(keys)
            run = SortedRun(keys, others, self.born, self.died, far_apart=far_apart)
            self._runs[direction] = run
        return run

    def sort_pairs(self) -> PairRun:
        """Return the links sorted by both ends."""
        if self._pairs is None:
            self._pairs = PairRun(self.source, self.target, self.born, self.died)
        return self._pairs

    def places(self, numbers: Ints) -> tuple[Ints, Mask]:
        """Return the places of links, and a mask of those that are here and have not ended."""
        at = numbers - self.numbers[0]
        if int(self.numbers[-1] - self.numbers[0]) != len(self) - 1:
            at = np.searchsorted(self.numbers, numbers)
        alive = self.numbers.take(at, mode="clip") == numbers
        alive &= self.died.take(at, mode="clip") == ALIVE
        return at, alive

    def kill(self, at: Ints, seqs: Seqs | int) -> None:
        """End the links at these places, none of which has ended, at these sequence numbers."""
        if not self.died.flags.writeable:
            # one value for all links of a snapshot
            self.died = self.died.copy()
        self.died[at] = seqs
        self.ended += len(at)
        for run in self._runs.values():
            run.kill(at, seqs)
        if self._pairs is not None:
            self._pairs.kill(at, seqs)

    def between(self, pairs: Pairs) -> tuple[Ints, Ints]:
        """Return every live link from a source to its target, as the row of the pair and the link."""
        row, at = self.sort_pairs().live(pairs)
        return row, self.numbers.take(at)

    def split(self, most: int) -> LinkBlock:
        """Move the live ones among the next links into a block of their own; they count as ended here."""
        begin, self._begin = self._begin, min(self._begin + most, len(self))
        at = begin + np.flatnonzero(self.died[begin : self._begin] == ALIVE)
        piece = self._take(at, bounded=True)
        self.kill(at, _MOVED)
        return piece

    @property
    def left(self) -> bool:
        """True if any link here is in no other block."""
        return self._begin < len(self)

    def _take(self, at: Ints, *, bounded: bool) -> LinkBlock:
        ends = self.source.take(at), self.target.take(at)
        documents = None if self.documents is None else self.documents.gather(at)
        lives = self.born.take(at), self.died.take(at)
        return LinkBlock(self.numbers.take(at), *ends, *lives, documents, bounded=bounded)

    def without_ended(self) -> LinkBlock:
        """Return the links that have not ended."""
        if not self.ended:
            return self
        return self._take(np.flatnonzero(self.died == ALIVE), bounded=self._bounded)

    @staticmethod
    def concat(blocks: Sequence[LinkBlock], *, bounded: bool) -> LinkBlock:
        """Merge the links of several blocks that have not ended."""
        parts = [block.without_ended() for block in blocks]
        numbers, source, target, born, died = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("numbers", "source", "target", "born", "died")
        )
        documents = [part.documents for part in parts if part.documents is not None]
        every = len(documents) == len(parts)
        joined = reduce(partial(Documents.concat, hints=()), documents) if every else None
        return LinkBlock(numbers, source, target, born, died, joined, bounded=bounded)


def no_documents(size: int) -> Documents:
    """Return empty metadata for links."""
    nothing = null_texts(size)
    return Documents(nothing, none=Tag.MISSING)
