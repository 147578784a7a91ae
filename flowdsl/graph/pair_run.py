"""Links sorted by both of their ends, for the question whether two ids are linked."""

from __future__ import annotations

from typing import Final

import numpy as np

from flowdsl.graph.sorted_run import ALIVE, LinkRun, Seqs, spread
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.orders import distinct

# links of a bucket that are tried one after the other; a bucket that has more is mostly one pair with many
# links
_TRIED: Final = 4
# bits of a hash
_BITS: Final = 31


class PairRun(LinkRun):
    """Links sorted by a hash of both ends and by their place in the block, with a table of hashes' first
    bits.

    Such a bucket has about one link, so most pairs are found at the first place that is looked at.
    """

    def __init__(self, sources: Codes, targets: Codes, born: Seqs, died: Seqs) -> None:
        links = Pairs.of(sources, targets)
        packed = links.hashes.astype(np.int64) << 32 | np.arange(len(links))
        packed.sort()
        order = packed & 0xFFFFFFFF
        super().__init__(order, born, died)
        self._shift = _BITS - min(len(links).bit_length(), _BITS)
        buckets = packed >> (32 + self._shift)
        counts = np.bincount(buckets, minlength=1 << (_BITS - self._shift))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self._pairs = links.pairs.take(order)

    def linked(self, asked: Pairs, seen: Seqs) -> Mask:
        """Mark the pairs between which a link of this block is live after `seen`."""
        at, end = self._bounds(asked.hashes)
        timeless = self.all_live(seen)
        found = np.zeros(len(asked), np.bool_)
        if not len(self._pairs):
            return found
        looking, pairs, place = np.arange(len(asked)), asked.pairs, at
        for tried in range(1, _TRIED + 1):
            # behind its bucket there is no such pair
            hit = np.flatnonzero(self._pairs.take(place, mode="clip") == pairs)
            if not timeless:
                hit = hit[self.live_at(place[hit], seen[looking[hit]])]
            found[looking[hit]] = True
            looking = np.flatnonzero((at + tried < end) & ~found)
            if not len(looking):
                return found
            pairs, place = asked.pairs.take(looking), at.take(looking) + tried
        found[looking] = self._count_many(asked.take(looking), seen[looking])
        return found

    def live(self, asked: Pairs) -> tuple[Ints, Ints]:
        """Return every live link between the ends of a pair, as the row of the pair and its place in the
        block.
        """
        row, place = self._all(asked.hashes)
        found = self._pairs.take(place) == asked.pairs[row]
        found &= self.died(place) == ALIVE
        return row[found], self.order.take(place[found]).astype(np.int64)

    def _bounds(self, hashes: Codes) -> tuple[Codes, Codes]:
        buckets = hashes >> self._shift
        return self._starts.take(buckets), self._starts.take(buckets + 1)

    def _all(self, hashes: Codes) -> tuple[Ints, Ints]:
        start, end = self._bounds(hashes)
        return spread(start.astype(np.int64), end.astype(np.int64))

    def _count_many(self, asked: Pairs, seen: Seqs) -> Mask:
        """Mark the pairs that have had more links until `seen` than have ended: each distinct pair's links
        are looked at once, however many ask.
        """
        pairs, first, which = np.unique(asked.pairs, return_index=True, return_inverse=True)
        row, place = self._all(asked.hashes[first])
        mine = self._pairs.take(place) == pairs[row]
        row, place = row[mine], place[mine]
        born, died = self.born(place), self.died(place)
        scale = distinct(np.concatenate([born, died, seen]))
        width = len(scale) + 1
        wanted = which * width + np.searchsorted(scale, seen)
        begun, over = (
            np.searchsorted(np.sort(row * width + np.searchsorted(scale, moments)), wanted, side="right")
            for moments in (born, died)
        )
        mask: Mask = begun > over
        return mask


class Pairs:
    """Pairs of ids, each as one number, and with a hash of both; collisions of hashes are rare."""

    def __init__(self, pairs: Ints, hashes: Codes) -> None:
        self.pairs, self.hashes = pairs, hashes

    @classmethod
    def of(cls, sources: Codes, targets: Codes) -> Pairs:
        """Return the pairs of these ends."""
        mixed = sources.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ targets.astype(np.uint64)
        hashes = (mixed * np.uint64(0xC2B2AE3D27D4EB4F) >> np.uint64(64 - _BITS)).astype(np.int32)
        return cls(sources.astype(np.int64) << 32 | targets.astype(np.int64), hashes)

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, index: Ints) -> Pairs:
        """Return the pairs at `index`."""
        return Pairs(self.pairs.take(index), self.hashes.take(index))
