"""Blocks of consecutive links of one type, indexed for lookups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flowdsl.graph.sorted_run import ALIVE, Numbers, Seqs, SortedRun, spread
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Mask

FORWARD, REVERSE = "forward", "reverse"
# index by both ends, not a lookup direction
BETWEEN = "between"
# least number of ended links worth removing
DEAD_ABOVE = 64
# where blocks are bounded, from how many times as many keys as there are links on these are searched for:
# tables would be large, and never used for long
FAR_APART = 4
# end of a link that was moved to another block: before anything
_MOVED = -1


class LinkBlock:
    """Links in ascending order of their numbers, sorted for each direction in use."""

    def __init__(
        self, numbers: Numbers, source: Codes, target: Codes, born: Seqs, died: Seqs, *, bounded: bool = False
    ) -> None:
        self.numbers = numbers
        self.source, self.target = source, target
        self.born, self.died = born, died
        # True if another table shares it, so that it must not change
        self.shared = False
        self.ended = int(np.count_nonzero(died != ALIVE))
        self._bounded = bounded
        self._runs: dict[str, SortedRun] = {}
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
        return own

    def run(self, direction: str) -> SortedRun:
        """Return the links sorted for one direction."""
        run = self._runs.get(direction)
        if run is None:
            keys, others = (self.target, self.source) if direction == REVERSE else (self.source, self.target)
            keys = pair_keys(keys, others) if direction == BETWEEN else keys
            far_apart = direction == BETWEEN
            if self._bounded and not far_apart:
                far_apart = int(keys.max(initial=0)) > FAR_APART * len(keys)
            run = SortedRun(keys, others, self.born, self.died, far_apart=far_apart)
            self._runs[direction] = run
        return run

    def places(self, numbers: Numbers) -> tuple[Numbers, Mask]:
        """Return the places of links, and a mask of those that are here and have not ended."""
        at = numbers - self.numbers[0]
        if int(self.numbers[-1] - self.numbers[0]) != len(self) - 1:
            at = np.searchsorted(self.numbers, numbers)
        alive = self.numbers.take(at, mode="clip") == numbers
        alive &= self.died.take(at, mode="clip") == ALIVE
        return at, alive

    def kill(self, at: Numbers, seqs: Seqs | int) -> None:
        """End the links at these places, none of which has ended, at these sequence numbers."""
        self.died[at] = seqs
        self.ended += len(at)
        for run in self._runs.values():
            run.kill(at, seqs)

    def between(self, sources: Codes, targets: Codes, keys: Codes) -> tuple[Numbers, Numbers]:
        """Return every live link from a source to its target, as the row of the pair and the link."""
        run = self.run(BETWEEN)
        row, place = spread(*run.bounds(keys))
        at = run.order.take(place)
        found = (self.source.take(at) == sources[row]) & (self.target.take(at) == targets[row])
        found &= run.died.take(place) == ALIVE
        return row[found], self.numbers.take(at[found])

    def split(self, most: int) -> LinkBlock:
        """Move the live ones among the next links into a block of their own; they count as ended here."""
        begin, self._begin = self._begin, min(self._begin + most, len(self))
        at = begin + np.flatnonzero(self.died[begin : self._begin] == ALIVE)
        piece = self._taken(at, bounded=True)
        self.kill(at, _MOVED)
        return piece

    @property
    def left(self) -> bool:
        """True if any link here is in no other block."""
        return self._begin < len(self)

    def _taken(self, at: Numbers, *, bounded: bool) -> LinkBlock:
        ends = self.source.take(at), self.target.take(at)
        return LinkBlock(
            self.numbers.take(at), *ends, self.born.take(at), self.died.take(at), bounded=bounded
        )

    def without_ended(self) -> LinkBlock:
        """Return the links that have not ended."""
        if not self.ended:
            return self
        return self._taken(np.flatnonzero(self.died == ALIVE), bounded=self._bounded)

    @staticmethod
    def joined(blocks: Sequence[LinkBlock], *, bounded: bool) -> LinkBlock:
        """Merge the links of several blocks that have not ended."""
        parts = [block.without_ended() for block in blocks]
        columns = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("numbers", "source", "target", "born", "died")
        )
        return LinkBlock(*columns, bounded=bounded)


def pair_keys(sources: Codes, targets: Codes) -> Codes:
    """Return a hash of each pair of ends; collisions are rare."""
    mixed = sources.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ targets.astype(np.uint64)
    return (mixed * np.uint64(0xC2B2AE3D27D4EB4F) >> np.uint64(33)).astype(np.int32)
