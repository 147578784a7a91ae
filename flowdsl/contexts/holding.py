"""Contexts that outlive their chunk: those in windows and queues, with their event rows and variables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from flowdsl.contexts.chunk import Chunk, EventRows
from flowdsl.contexts.contexts import Contexts
from flowdsl.contexts.payload import Payload
from flowdsl.contexts.variables import Variable, Versions
from flowdsl.values.tags import Index

Refs = npt.NDArray[np.int64]


class _Block:
    """Contexts put aside together."""

    def __init__(self, contexts: Contexts) -> None:
        self.events: EventRows = contexts.chunk.keep(contexts.rows)
        self.roots = contexts.event_roots
        self.branches = contexts.branches
        self.variables: dict[str, Variable] = {}
        for name in contexts.names():
            variable = contexts.variable(name)
            assert variable is not None
            self.variables[name] = variable
        self.payload: Payload | None = contexts.payload
        self.closed = contexts.closed
        self.alive = np.ones(len(contexts), np.bool_)

    def fork(self) -> _Block:
        forked = object.__new__(_Block)
        forked.__dict__.update(self.__dict__)
        forked.alive = self.alive.copy()
        forked.variables = dict(self.variables)
        return forked

    def release(self, rows: Index, chunk: Chunk) -> Contexts:
        """Contexts of the chunk again."""
        start = chunk.bring(self.events.gather(rows))
        return Contexts(
            chunk,
            np.arange(start, start + len(rows)),
            roots=self.roots,
            branches=tuple(b.take(rows) for b in self.branches),
            variables={name: v.take(rows) for name, v in self.variables.items()},
            payload=None if self.payload is None else self.payload.take(rows),
            closed=None if self.closed is None else self.closed.take(rows),
        )


class Holding:
    """Held contexts by reference: numbers that ascend in the order in which the contexts were put."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._starts: list[int] = []
        self._next = 0

    def fork(self) -> Holding:
        """A copy that can go its own way."""
        forked = Holding()
        forked._blocks = [block.fork() for block in self._blocks]
        forked._starts, forked._next = list(self._starts), self._next
        return forked

    def put(self, contexts: Contexts) -> Refs:
        """Hold contexts; gives a reference to each."""
        if not len(contexts):
            return np.zeros(0, np.int64)
        start = self._next
        self._blocks.append(_Block(contexts))
        self._starts.append(start)
        self._next += len(contexts)
        return np.arange(start, self._next)

    def release(self, refs: Refs, chunk: Chunk, *, keep: bool = False) -> Contexts | None:
        """Held contexts as contexts of this chunk, in the order of `refs`; they are held no more."""
        if not len(refs):
            return None
        which = np.searchsorted(self._starts, refs, side="right") - 1
        pieces, places = [], []
        for number in np.unique(which).tolist():
            rows = np.flatnonzero(which == number)
            block, inside = self._blocks[number], refs[rows] - self._starts[number]
            pieces.append(block.release(inside, chunk))
            places.append(rows)
            if not keep:
                block.alive[inside] = False
        if not keep:
            self._sweep()
        back = np.empty(len(refs), np.int64)
        back[np.concatenate(places)] = np.arange(len(refs))
        return Contexts.concat(pieces).take(back)

    def forget(self, refs: Refs) -> None:
        """These are held no more."""
        which = np.searchsorted(self._starts, refs, side="right") - 1
        for number in np.unique(which).tolist():
            self._blocks[number].alive[refs[which == number] - self._starts[number]] = False
        self._sweep()

    def versions(self) -> Iterable[Versions]:
        """Entity versions that held contexts refer to."""
        for block in self._blocks:
            for variable in block.variables.values():
                yield from variable.held_versions()

    def renumber(self, mapping: Versions) -> None:
        """Entity versions got new numbers."""
        for block in self._blocks:
            block.variables = {name: v.renumbered(mapping) for name, v in block.variables.items()}

    def seqs(self, refs: Refs) -> npt.NDArray[np.int64]:
        """The sequence numbers of the events of held contexts."""
        seqs = np.zeros(len(refs), np.int64)
        which = np.searchsorted(self._starts, refs, side="right") - 1
        for number in np.unique(which).tolist():
            rows = np.flatnonzero(which == number)
            column = self._blocks[number].events.frame["seq_no"].to_numpy()
            seqs[rows] = column[refs[rows] - self._starts[number]]
        return seqs

    def _sweep(self) -> None:
        kept = [(s, b) for s, b in zip(self._starts, self._blocks, strict=True) if b.alive.any()]
        self._starts, self._blocks = [s for s, _ in kept], [b for _, b in kept]
