"""Links of one type as of a given event, in order of creation.

Links are numbered in that order, permanently. A *block* holds consecutive links and, for each direction in
use, a *run* of them sorted by the id that lookups start from. Blocks are merged at a geometric pace as the
log adds links, which also removes ended links. Each link has the sequence numbers of its creation and its
end. In live runs, where no step may take long, blocks are bounded, and one at a time is rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from flowdsl.graph.link_blocks import FORWARD, REVERSE, LinkBlock, no_documents
from flowdsl.graph.link_counts import LinkCounts
from flowdsl.graph.pair_run import Pairs
from flowdsl.graph.sorted_run import ALIVE, Seqs, spread
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_types import Ints, Mask, Tag
from flowdsl.values.orders import stable_order
from flowdsl.values.paths import Path
from flowdsl.values.state_fields import (
    CODES,
    ArrayField,
    ChoiceField,
    ListField,
    ObjectField,
    OptionalField,
    WholeField,
)
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# no limit on the size of blocks
UNBOUNDED = 1 << 62
# where blocks are bounded, how many links may be moved for each that comes or ends, so that there are fewer
# blocks
EACH = 4
# uses of links besides those of an id in a direction: whether two ids are linked, how many links an id has,
# and their metadata
BETWEEN = "between"
COUNTED = {FORWARD: "forward count", REVERSE: "reverse count"}
METADATA = "metadata"
USES = (FORWARD, REVERSE, BETWEEN, *COUNTED.values(), METADATA)
# limit on the number of links of one type
MOST_LINKS = 1 << 48


class LinkTable(StateObject):
    """All links of one type, in consecutive blocks.

    `largest` is the maximum number of links in a block, and so of links moved at once. Older blocks may be
    larger; once most of their links have ended, the rest is moved out step by step.
    """

    saved = keeps(
        numbers=ArrayField(np.int64, 0, MOST_LINKS, ascending=True),
        source=CODES,
        target=CODES,
        next=WholeField(0, MOST_LINKS),
        uses=ListField(ChoiceField({use: use for use in USES})),
        documents=OptionalField(ObjectField(Documents)),
    )

    def __init__(self) -> None:
        self.largest = UNBOUNDED
        # the number of the next link
        self.next = 0
        self._blocks: list[LinkBlock] = []
        self._directions: list[str] = []
        self._counts: dict[str, LinkCounts] = {}
        self._by_pair = False
        # whether the metadata of links is kept
        self.documented = False
        # links that may still be moved to merge blocks
        self._due = 0
        # links moved in all
        self.moved = 0

    @classmethod
    def of(cls, sources: Codes, targets: Codes) -> LinkTable:
        """Build a table of links that exist before the first event, numbered from 0."""
        table = cls()
        born, died = (np.broadcast_to(np.int64(seq), len(sources)) for seq in (-1, ALIVE))
        table.add(sources, targets, born, died)
        return table

    @property
    def size(self) -> int:
        """Number of links, including ended ones that were not removed yet."""
        return sum(map(len, self._blocks))

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    @property
    def ends(self) -> tuple[Codes, Codes]:
        """Sources and targets of all live links, in order."""
        _, sources, targets = self._alive()
        return sources, targets

    def held_codes(self) -> Iterator[Codes]:
        for block in self._blocks:
            yield block.source
            yield block.target

    def to_fields(self) -> dict[str, Any]:
        # creation times no longer matter
        numbers, sources, targets = self._alive()
        parts = [block.without_ended() for block in self._blocks] if self.documented else []
        documents = LinkBlock.concat(parts, bounded=False).documents if parts else None
        return {
            "numbers": numbers,
            "source": sources,
            "target": targets,
            "next": self.next,
            "uses": [use for use in USES if self.serves(use)],
            "documents": documents,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> LinkTable:
        numbers, table = fields["numbers"], cls()
        source.agree(numbers=len(numbers), source=len(fields["source"]), target=len(fields["target"]))
        source.check(not len(numbers) or numbers[-1] < fields["next"], "with a link of a number to come")
        documents = fields["documents"]
        source.agree(numbers=len(numbers), documents=len(numbers if documents is None else documents))
        if len(numbers):
            born, died = np.full(len(numbers), -1), np.full(len(numbers), ALIVE)
            table._append(LinkBlock(numbers, fields["source"], fields["target"], born, died, documents))
        for use in fields["uses"]:
            table.prepare(use)
        table.next = fields["next"]
        return table

    def fork(self) -> LinkTable:
        """Return a copy-on-write fork."""
        forked = LinkTable()
        for block in self._blocks:
            block.shared = True
        forked._blocks, forked._directions = self._blocks.copy(), self._directions.copy()
        forked.largest, forked.next = self.largest, self.next
        forked._counts = {use: counts.fork() for use, counts in self._counts.items()}
        forked._by_pair, forked.documented = self._by_pair, self.documented
        return forked

    def serves(self, use: str) -> bool:
        """Return True if the table is prepared for a use."""
        if use in COUNTED.values():
            return use in self._counts
        return {BETWEEN: self._by_pair, METADATA: self.documented}.get(use, use in self._directions)

    def prepare(self, use: str) -> None:
        """Make the table ready for one of `USES`."""
        if self.serves(use):
            return
        if use == METADATA:
            self.document()
        elif use == BETWEEN:
            self._by_pair = True
        elif use in COUNTED.values():
            counts = self._counts[use] = LinkCounts()
            for block in self._blocks:
                counts.start((block.source if use == COUNTED[FORWARD] else block.target)[block.died == ALIVE])
        else:
            self._directions.append(use)
        for block in self._blocks:
            self._index(block)

    def _index(self, block: LinkBlock) -> None:
        for direction in self._directions:
            block.run(direction)
        if self._by_pair:
            block.sort_pairs()

    def document(self, first: Documents | None = None) -> None:
        """Keep the metadata of links from here on; `first` is that of the links in the first block."""
        for place, block in enumerate(self._blocks):
            given = first if place == 0 and first is not None else no_documents(len(block))
            self._blocks[place] = block.having(given if block.documents is None else block.documents)
        self.documented = True

    def add(
        self, sources: Codes, targets: Codes, born: Seqs, died: Seqs, documents: Documents | None = None
    ) -> int:
        """Add links in order of creation, and return the number of the first one."""
        start, self.next = self.next, self.next + len(sources)
        if len(sources):
            numbers = np.arange(start, self.next)
            if self.documented and documents is None:
                documents = no_documents(len(numbers))
            lives = sources, targets, born, died, documents if self.documented else None
            self._append(LinkBlock(numbers, *lives, bounded=self._bounded))
            self._due += EACH * len(sources)
            ended = np.flatnonzero(died != ALIVE)
            self._count("born", sources, targets, born)
            self._count("died", sources[ended], targets[ended], died[ended])
        return start

    def _count(self, what: str, sources: Codes, targets: Codes, seqs: Seqs) -> None:
        for use, counts in self._counts.items():
            getattr(counts, what)(sources if use == COUNTED[FORWARD] else targets, seqs)

    def alive(self, numbers: Ints) -> Mask:
        """Mark the links that have not ended."""
        alive = np.zeros(len(numbers), np.bool_)
        for place, rows in self._where(numbers):
            alive[rows] = self._blocks[place].places(numbers[rows])[1]
        return alive

    def kill(self, numbers: Ints, seqs: Seqs) -> Mask:
        """End links at these sequence numbers; return a mask of those that had not ended before."""
        ended = np.zeros(len(numbers), np.bool_)
        for place, rows in self._where(numbers):
            at, alive = self._blocks[place].places(numbers[rows])
            if alive.any():
                block = self._blocks[place] = self._blocks[place].own()
                at, when = at[alive], seqs[rows[alive]]
                block.kill(at, when)
                ended[rows] = alive
                if self._counts:
                    self._count("died", block.source[at], block.target[at], when)
        self._due += EACH * len(numbers)
        return ended

    def between(self, sources: Codes, targets: Codes) -> tuple[Ints, Ints]:
        """Return every live link from a source to its target, as the row of the pair and the link."""
        self.prepare(BETWEEN)
        pairs = Pairs.of(sources, targets)
        found = [block.between(pairs) for block in self._blocks]
        rows, numbers = ([np.zeros(0, np.int64), *(pair[side] for pair in found)] for side in (0, 1))
        return np.concatenate(rows), np.concatenate(numbers)

    def commit(self) -> None:
        """Finish the chunk: merge the last blocks, and remove ended links if blocks are unbounded."""
        for counts in self._counts.values():
            counts.commit()
        blocks = self._blocks
        start, size = len(blocks) - 1, len(blocks[-1]) if blocks else 0
        # larger ones are merged between two batches
        largest = self.largest // 2 if self._bounded else self.largest
        while start > 0 and len(blocks[start - 1]) <= min(2 * size, largest - size):
            start -= 1
            size += len(blocks[start])
        if start < len(blocks) - 1:
            self._join(start, len(blocks))
        if not self._bounded:
            for place in reversed(range(len(blocks))):
                if blocks[place].crowded:
                    self._join(place, place + 1)

    def tidy(self) -> bool:
        """Do a bounded amount of cleanup: remove ended links or merge small blocks; return False if there is
        none to do.

        Half as many links are moved as there are in the largest block, at most.
        """
        if not self._bounded:
            return False
        blocks, self._due = self._blocks, min(self._due, self.largest)
        if crowded := [place for place, block in enumerate(blocks) if block.crowded]:
            place = max(crowded, key=lambda place: blocks[place].ended)
            if len(blocks[place]) <= self.largest:
                self._join(place, place + 1)
            else:
                large = blocks[place].own()
                self._put(place, place + 1, [large.split(max(self.largest // 2, 1)), large])
            return True
        few = [one.alive + other.alive for one, other in pairwise(blocks)]
        least = min(few, default=UNBOUNDED)
        if 2 * least > self.largest or least > self._due:
            return False
        self._due -= least
        place = few.index(least)
        self._join(place, place + 2)
        return True

    def expand(self, direction: str, ids: Codes, seen: Seqs) -> tuple[Ints, Codes]:
        """Return every link of each id that is live after sequence number `seen`: the row of the id, and the
        code of the other end.
        """
        earliest = int(seen.min(initial=ALIVE))
        rows, others = [], []
        for block in self._blocks:
            run = block.run(direction)
            row, place = spread(*run.bounds(ids))
            if run.deaths or run.last_born > earliest:
                keep = run.live_at(place, seen[row])
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

    def most(self, direction: str, ids: Codes) -> Ints:
        """Return an upper bound of each id's number of links, which counts ended ones."""
        counts = np.zeros(len(ids), np.int64)
        for block in self._blocks:
            start, end = block.run(direction).bounds(ids)
            counts += end - start
        return counts

    def first(self, direction: str, ids: Codes, seen: Seqs) -> Codes:
        """Return the other end of each id's earliest link that is live after `seen`, or 0."""
        found = np.zeros(len(ids), np.int32)
        for block in self._blocks:
            looking = np.flatnonzero(found == 0)
            if len(looking) == len(ids) > 0:
                found = block.run(direction).first(ids, seen)
            elif len(looking):
                found[looking] = block.run(direction).first(ids[looking], seen[looking])
        return found

    def first_metadata(self, direction: str, ids: Codes, seen: Seqs, below: Path) -> Column:
        """Return what the metadata of each id's earliest link that is live after `seen` has at a path."""
        parts, where = [Column(1, Tag.MISSING)], np.zeros(len(ids), np.int64)
        looking, size = np.arange(len(ids)), 1
        for block in self._blocks:
            if not len(looking):
                break
            run = block.run(direction)
            place = run.first_places(ids[looking], seen[looking])
            hit = place >= 0
            if hit.any():
                assert block.documents is not None
                found = block.documents.column(below).take(run.order.take(place[hit]))
                parts.append(found)
                where[looking[hit]] = size + np.arange(len(found))
                size, looking = size + len(found), looking[~hit]
        return Column.concat(parts).take(where)

    def linked(self, sources: Codes, targets: Codes, seen: Seqs) -> Mask:
        """Mark the pairs between which a link is live after `seen`."""
        pairs = Pairs.of(sources, targets)
        # in the order of their hashes they meet the tables of the blocks from front to back
        order = stable_order(pairs.hashes.astype(np.int64))
        pairs, seen = pairs.take(order), seen.take(order)
        found, rest = np.zeros(len(order), np.bool_), order
        for block in self._blocks:
            hit = block.sort_pairs().linked(pairs, seen)
            if hit.any():
                found[rest[hit]] = True
                left = np.flatnonzero(~hit)
                rest, pairs, seen = rest[left], pairs.take(left), seen.take(left)
        return found

    def counts(self, direction: str, ids: Codes, seen: Seqs) -> Ints:
        """Return how many links of each id are live after `seen`."""
        return self._counts[COUNTED[direction]].of(ids, seen)

    @property
    def _bounded(self) -> bool:
        return self.largest < UNBOUNDED

    def _where(self, numbers: Ints) -> Iterator[tuple[int, Ints]]:
        """Yield the blocks that may contain links, with their places in `numbers`"""
        which = np.searchsorted([block.first for block in self._blocks], numbers, side="right")
        for place in np.flatnonzero(np.bincount(which)).tolist():
            if place:
                yield place - 1, np.flatnonzero(which == place)

    def _append(self, block: LinkBlock) -> None:
        self._index(block)
        self._blocks.append(block)

    def _join(self, start: int, end: int) -> None:
        """Merge consecutive blocks into one, or none if all their links have ended."""
        joined = LinkBlock.concat(self._blocks[start:end], bounded=self._bounded)
        self._put(start, end, [joined])

    def _put(self, start: int, end: int, blocks: Sequence[LinkBlock]) -> None:
        """Replace blocks by others, the first of which is new."""
        self.moved += len(blocks[0])
        if len(blocks[0]):
            self._index(blocks[0])
        self._blocks[start:end] = [block for block in blocks if len(block) and block.left]

    def _alive(self) -> tuple[Ints, Codes, Codes]:
        parts = [block.without_ended() for block in self._blocks]
        if len(parts) == 1:
            return parts[0].numbers, parts[0].source, parts[0].target
        none = np.zeros(0, np.int32)
        return (
            np.concatenate([np.zeros(0, np.int64), *(part.numbers for part in parts)]),
            np.concatenate([none, *(part.source for part in parts)]),
            np.concatenate([none, *(part.target for part in parts)]),
        )
