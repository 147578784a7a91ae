"""Contexts buffered across chunks by windows and queues, with their event rows and variables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import CLOSED_BY_QUIET, ContextBatch, join_branches, join_closed
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import StoredVariable, Versions
from flowdsl.log.event_rows import EventRows
from flowdsl.values.columns import gather_values
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.orders import find_places, inverse
from flowdsl.values.state_fields import (
    MOST,
    ArrayField,
    DictField,
    ListField,
    ObjectField,
    OneOfField,
    OptionalField,
    TextField,
    WholeField,
)
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Refs = npt.NDArray[np.int64]


class BufferedContexts(StateObject):
    """Block of buffered contexts, in ascending order of their references."""

    saved = keeps(
        refs=ArrayField(np.int64, 0, ascending=True),
        events=ObjectField(EventRows),
        roots=ListField(TextField(), frozenset),
        branches=ListField(ArrayField(np.int32, 0), tuple),
        variables=DictField(OneOfField(StoredVariable)),
        payload=OptionalField(ObjectField(Payload)),
        closed=OptionalField(ArrayField(np.uint8, 0, CLOSED_BY_QUIET)),
        alive=ArrayField(np.bool_),
    )

    def __init__(self, contexts: ContextBatch, refs: Refs) -> None:
        self.refs = refs
        self.events: EventRows = contexts.chunk.keep(contexts.rows)
        self.roots = contexts.event_roots
        self.branches = contexts.branches
        self.variables = contexts.variables()
        for variable in self.variables.values():
            variable.settle()
        self.payload: Payload | None = contexts.payload
        self.closed = contexts.closed
        self.alive = np.ones(len(contexts), np.bool_)

    def __len__(self) -> int:
        return len(self.refs)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Any:
        sizes = {"variable": fields["variables"].values(), "branch": fields["branches"]}
        each = {name: set(map(len, several)) for name, several in sizes.items()}
        one = {
            name: 0 if fields[name] is None else len(fields[name]) for name in ("events", "alive", "closed")
        }
        rows = len(fields["refs"])
        source.check(rows, "empty")
        source.agree(refs=rows, events=one["events"], alive=one["alive"], closed=one["closed"] or rows)
        source.check(all(found <= {rows} for found in each.values()), f"not of {rows} contexts each")
        source.check(fields["payload"] is None or fields["payload"].size == rows, f"not of {rows} payloads")
        return super().from_fields(fields, source)

    def fork(self) -> BufferedContexts:
        return self._having(alive=self.alive.copy(), variables=dict(self.variables))

    def rows(self, refs: Refs) -> Index:
        """Return the rows of these references."""
        first = int(self.refs[0])
        # mostly none is missing between them
        return refs - first if self.refs[-1] - first < len(self) else find_places(self.refs, refs)

    def release(self, rows: Index, chunk: Chunk) -> ContextBatch:
        """Return contexts as contexts of the current chunk."""
        start = chunk.bring(self.events.gather(rows))
        return ContextBatch(
            chunk,
            np.arange(start, start + len(rows)),
            roots=self.roots,
            branches=tuple(b.take(rows) for b in self.branches),
            variables={name: v.take(rows) for name, v in self.variables.items()},
            payload=gather_values(self.payload, rows),
            closed=gather_values(self.closed, rows),
        )

    def swept(self) -> BufferedContexts:
        """Return the block without released contexts."""
        if self.alive.all():
            return self
        rows = np.flatnonzero(self.alive)
        return self._having(
            refs=self.refs.take(rows),
            events=self.events.gather(rows),
            branches=tuple(b.take(rows) for b in self.branches),
            variables={name: v.take(rows) for name, v in self.variables.items()},
            payload=gather_values(self.payload, rows),
            closed=gather_values(self.closed, rows),
            alive=np.ones(len(rows), np.bool_),
        )

    def goes_with(self, later: BufferedContexts) -> bool:
        """Return True if both blocks can be merged: they have the same variables, and similar sizes."""
        alike = self.variables.keys() == later.variables.keys() and len(self.branches) == len(later.branches)
        return alike and (self.payload is None) == (later.payload is None) and len(self) <= 2 * len(later)

    @staticmethod
    def concat(parts: Sequence[BufferedContexts]) -> BufferedContexts:
        """Merge blocks that have the same variables."""
        if len(parts) == 1:
            return parts[0]
        swept = [part.swept() for part in parts]
        first, payloads = swept[0], [part.payload for part in swept if part.payload is not None]
        refs = np.concatenate([part.refs for part in swept])
        return first._having(
            refs=refs,
            events=EventRows.concat([part.events for part in swept]),
            branches=join_branches(swept),
            variables={
                name: v.concat([part.variables[name] for part in swept])
                for name, v in first.variables.items()
            },
            payload=Payload.concat(payloads) if payloads else None,
            closed=join_closed(swept),
            alive=np.ones(len(refs), np.bool_),
        )

    def versions(self) -> Iterable[Versions]:
        """Yield the entity versions that the contexts refer to."""
        for variable in self.variables.values():
            yield from variable.held_versions()

    def renumber(self, mapping: Versions) -> None:
        """Apply new numbers of entity versions."""
        self.variables = {name: v.renumbered(mapping) for name, v in self.variables.items()}

    @property
    def seqs(self) -> Ints:
        """Sequence numbers of the events."""
        return self.events.frame["seq_no"].to_numpy()

    def having_events(self, frame: pl.DataFrame) -> BufferedContexts:
        """Return the same contexts with all columns of their events."""
        return self._having(events=self.events.replace(frame))

    def _having(self, **changed: Any) -> BufferedContexts:
        other = object.__new__(BufferedContexts)
        other.__dict__.update(self.__dict__, **changed)
        return other


def branch_texts(levels: Sequence[npt.NDArray[np.int32]], size: int) -> list[str | None]:
    """Return the position at each fan-out as text, such as `2.0`; None for contexts without branches."""
    if not levels:
        return [None] * size
    return [".".join(map(str, one)) for one in zip(*(level.tolist() for level in levels), strict=True)]


class ContextBuffer(StateObject):
    """Buffer of contexts by reference; references are numbers in the order of insertion.

    Blocks are joined at a geometric pace, so that there are few, however few contexts are put at a time.
    """

    saved = keeps(_blocks=ListField(ObjectField(BufferedContexts)), _next=WholeField(0, MOST))

    def __init__(self) -> None:
        self._blocks: list[BufferedContexts] = []
        self._next = 0

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Any:
        refs = np.concatenate([np.zeros(0, np.int64), *(block.refs for block in fields["_blocks"])])
        source.check(
            (np.diff(refs) > 0).all() and (not len(refs) or refs[-1] < fields["_next"]), "not in order"
        )
        return super().from_fields(fields, source)

    def has(self, refs: Refs) -> bool:
        """Return True if all of these references are in the buffer."""
        there = [block.refs[block.alive] for block in self._blocks]
        return bool(np.isin(refs, np.concatenate([np.zeros(0, np.int64), *there])).all())

    def fork(self) -> ContextBuffer:
        """Return an independent copy."""
        forked = ContextBuffer()
        forked._blocks, forked._next = [block.fork() for block in self._blocks], self._next
        return forked

    def put(self, contexts: ContextBatch) -> Refs:
        """Add contexts and return their references."""
        if not len(contexts):
            return np.zeros(0, np.int64)
        refs = np.arange(self._next, self._next + len(contexts))
        self._next += len(contexts)
        self._blocks.append(BufferedContexts(contexts, refs))
        while len(self._blocks) > 1 and self._blocks[-2].goes_with(self._blocks[-1]):
            last = self._blocks.pop()
            self._blocks[-1] = BufferedContexts.concat([self._blocks[-1], last])
        return refs

    def release(self, refs: Refs, chunk: Chunk) -> ContextBatch | None:
        """Remove contexts and return them as contexts of this chunk, in the order of `refs`"""
        if not len(refs):
            return None
        pieces, places = [], []
        for block, mine in self._where(refs):
            rows = block.rows(refs[mine])
            pieces.append(block.release(rows, chunk))
            places.append(mine)
            block.alive[rows] = False
        self._sweep()
        return ContextBatch.concat(pieces).take(inverse(np.concatenate(places)))

    def forget(self, refs: Refs) -> None:
        """Remove contexts."""
        if not len(refs):
            return
        for block, mine in self._where(refs):
            block.alive[block.rows(refs[mine])] = False
        self._sweep()

    def versions(self) -> Iterable[Versions]:
        """Yield the entity versions that buffered contexts refer to."""
        for block in self._blocks:
            yield from block.versions()

    def renumber(self, mapping: Versions) -> None:
        """Apply new numbers of entity versions."""
        for block in self._blocks:
            block.renumber(mapping)

    def lacking(self, columns: Collection[str]) -> Ints:
        """Return the sequence numbers of events that lack some of these columns."""
        lacking = [block.seqs for block in self._blocks if not set(columns) <= {*block.events.frame.columns}]
        return np.concatenate([np.zeros(0, np.int64), *lacking])

    def complete(self, columns: Collection[str], events: pl.DataFrame) -> None:
        """Add columns to all events, from a frame in the order of their numbers."""
        numbers = events["seq_no"].to_numpy()
        for number, block in enumerate(self._blocks):
            if not set(columns) <= {*block.events.frame.columns}:
                rows = np.searchsorted(numbers, block.seqs)
                self._blocks[number] = block.having_events(events[rows])

    def branches(self, refs: Refs) -> list[str | None]:
        """Return the branches of buffered contexts as text."""
        texts: list[str | None] = [None] * len(refs)
        for block, mine in self._where(refs):
            rows = block.rows(refs[mine])
            for place, text in zip(
                mine.tolist(), branch_texts([b[rows] for b in block.branches], len(rows)), strict=True
            ):
                texts[place] = text
        return texts

    def seqs(self, refs: Refs) -> Ints:
        """Return the sequence numbers of the events of buffered contexts."""
        seqs = np.zeros(len(refs), np.int64)
        for block, mine in self._where(refs):
            seqs[mine] = block.events.frame["seq_no"].to_numpy()[block.rows(refs[mine])]
        return seqs

    def _where(self, refs: Refs) -> Iterator[tuple[BufferedContexts, Index]]:
        """Yield the blocks that hold some of these references, with the places of those in `refs`"""
        firsts = [int(block.refs[0]) for block in self._blocks]
        if (refs[1:] > refs[:-1]).all():
            edges = [*np.searchsorted(refs, firsts).tolist(), len(refs)]
            yield from (
                (block, np.arange(start, end))
                for block, (start, end) in zip(self._blocks, pairwise(edges), strict=True)
                if start < end
            )
            return
        which = np.searchsorted(firsts, refs, side="right") - 1
        for number in np.flatnonzero(np.bincount(which)).tolist():
            yield self._blocks[number], np.flatnonzero(which == number)

    def _sweep(self) -> None:
        """Drop released contexts from blocks in which few remain."""
        swept = []
        for block in self._blocks:
            held = int(np.count_nonzero(block.alive))
            if held:
                swept.append(block if 2 * held > len(block) else block.swept())
        self._blocks = swept
