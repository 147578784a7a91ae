"""Contexts that wait until a moment which is known when they come: a queueing rate limit, and a wait.

They are kept in runs sorted by when they are due, so that the ones to release stand at the beginnings, and
what waits longer is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.batches.buffer import ContextBuffer, Refs
from flowdsl.batches.context_batch import CLOSED_AT_END, NOT_CLOSED, RELEASED, ContextBatch
from flowdsl.batches.later import Later
from flowdsl.kernels.held_rows import HeldRows
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import Until
from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.orders import lexical_order, order_within
from flowdsl.values.state_fields import ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# more runs are joined: each is looked at whenever time goes on
_RUNS: Final = 32
# and longer ones are left alone
_LONG: Final = 1 << 17


@dataclass(frozen=True)
class _SortedRun(Arrays):
    """Contexts sorted by when they are due, by rank, and by how they came: what waits since when."""

    refs: Refs
    due: Ints
    rank: Ints
    since: Ints

    @classmethod
    def sorted(cls, refs: Refs, due: Ints, rank: Ints, since: Ints) -> _SortedRun:
        run = cls(refs, due, rank, since)
        order = lexical_order(due, rank, refs)
        return run if order is None else run.take(order)

    def split(self, at: int) -> tuple[_SortedRun, _SortedRun]:
        """Return the first rows and the others, which share the arrays of this run."""
        arrays = (self.refs, self.due, self.rank, self.since)
        return _SortedRun(*(array[:at] for array in arrays)), _SortedRun(*(array[at:] for array in arrays))

    @classmethod
    def merged(cls, runs: Sequence[_SortedRun]) -> _SortedRun:
        """Return the rows of some runs in order."""
        every = _SortedRun.concat(runs)
        return every if len(runs) < 2 else cls.sorted(every.refs, every.due, every.rank, every.since)


class ReleaseQueue(StateObject):
    """Holds contexts, each until the moment when it goes on."""

    saved = keeps(holding=ObjectField(ContextBuffer), _runs=ListField(ObjectField(_SortedRun)))

    def __init__(self) -> None:
        self.holding = ContextBuffer()
        self._runs: list[_SortedRun] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def fork(self) -> ReleaseQueue:
        """Return a queue that goes on from here without changing this one."""
        forked = ReleaseQueue()
        forked.holding, forked._runs = self.holding.fork(), list(self._runs)
        return forked

    def check(self, source: StateReader) -> None:
        """Refuse what was read where its parts do not go together."""
        source.check(self.holding.has(self._all().refs), "a queue of contexts that are not held")
        in_order = all((np.diff(run.due) >= 0).all() for run in self._runs)
        source.check(in_order, "a queue that is not in order")

    def run(self, contexts: ContextBatch, moments: Ints, ranks: Ints | None, until: Until) -> ContextBatch:
        """Return what goes on, of those that come and of those that wait, in order.

        Parameters
        ----------
        contexts
            Those that come.
        moments
            When each goes on; its own moment if that is at once.
        ranks
            By what those due at the same moment are sorted; None if by how they came.
        until
            The time that passes.
        """
        fires = moments <= until.clock
        earlier = self._due(until)
        now = np.flatnonzero(fires)
        if ranks is None:
            ranks = np.zeros(len(moments), np.int64)
        out = self._release(contexts, moments, ranks, now, earlier, ending=until.ending)
        if len(now) < len(moments):
            self._hold(contexts, moments, ranks, np.flatnonzero(~fires))
        return out

    def _due(self, until: Until) -> _SortedRun:
        """Take out those that go on by then, in order."""
        due, runs = [], []
        for run in self._runs:
            count = int(np.searchsorted(run.due, until.clock, side="right"))
            fires, rest = run.split(count)
            if count:
                due.append(fires)
            if len(rest):
                runs.append(rest)
        self._runs = runs
        return _SortedRun.merged(due)

    def _release(
        self,
        contexts: ContextBatch,
        moments: Ints,
        ranks: Ints,
        now: Ints,
        earlier: _SortedRun,
        *,
        ending: bool,
    ) -> ContextBatch:
        fresh = contexts.take(now)
        waited = moments[now] > fresh.moment
        held = self.holding.release(earlier.refs, contexts.chunk)
        if held is None and not waited.any():
            return fresh
        parts = [fresh] if held is None else [held, fresh]
        first = len(earlier)
        moment = np.concatenate([earlier.due, moments[now]])
        late = np.concatenate([np.ones(first, np.bool_), waited])
        closed = _close(parts, late, ending=ending)

        def sees(rows: Any) -> npt.NDArray[np.int32]:
            seen: npt.NDArray[np.int32] = np.concatenate([np.full(first, -1, np.int32), fresh.seen])[rows]
            waited = np.flatnonzero(late[rows])
            seen[waited] = np.maximum(contexts.chunk.seen_at(moment[rows][waited]), seen[waited])
            return seen

        out = ContextBatch.concat(parts).place(moment, Later(lambda: sees(slice(None))), closed)
        if not len(now):
            return out
        # of what goes on at one moment: what an event brought, then what timers release before the next
        # event, those of an earlier step before those of this one; among each other by rank, or as they came
        group = np.where(late, 2, np.where(closed == NOT_CLOSED, 0, 1))
        rank = np.where(late, np.concatenate([earlier.rank, ranks[now]]), 0)
        order = order_within(
            moment, lambda rows: lexical_order(moment[rows], sees(rows), group[rows], rank[rows])
        )
        return out if order is None else out.take(order)

    def _hold(self, contexts: ContextBatch, moments: Ints, ranks: Ints, later: Ints) -> None:
        waiting = contexts.take(later)
        refs = self.holding.put(waiting)
        self._runs.append(_SortedRun.sorted(refs, moments[later], ranks[later], waiting.moment))
        runs = self._runs
        while len(runs) > 1 and (len(runs[-2]) <= min(2 * len(runs[-1]), _LONG) or len(runs) > _RUNS):
            runs[-2:] = [_SortedRun.merged(runs[-2:])]

    def _all(self) -> _SortedRun:
        """Return all that wait, in the order in which they came."""
        every = _SortedRun.concat(self._runs)
        return every.take(np.argsort(every.refs))

    def next_deadline(self) -> int | None:
        """Return when the first of them goes on; None if there is none."""
        return min((int(run.due[0]) for run in self._runs), default=None)

    def deadlines(self) -> Ints:
        """Return when each of them goes on, in any order."""
        return np.concatenate([np.zeros(0, np.int64), *(run.due for run in self._runs)])

    def members(self) -> HeldRows:
        """Return the contexts that wait."""
        every = self._all()
        return HeldRows(self.holding.seqs(every.refs), self.holding.branches(every.refs), every.since, None)

    def open(self) -> list[dict[str, Any]]:
        """Return a row for each context that waits."""
        every = self._all()
        columns = (self.holding.seqs(every.refs), every.since, every.due)
        return [
            {"held": 1, "last_seq_no": seq, "opened_at": since, "due_at": due}
            for seq, since, due in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def opened_by(self) -> list[tuple[int, ...]]:
        """Return the event and the branch of each context that waits."""
        every = self._all()
        branches = (
            () if text is None else map(int, text.split(".")) for text in self.holding.branches(every.refs)
        )
        seqs = self.holding.seqs(every.refs).tolist()
        return [(seq, *branch) for seq, branch in zip(seqs, branches, strict=True)]


class WaitingKernel(Kernel):
    """Base of kernels that hold contexts, each until the moment that is known when it comes."""

    _waiting: ReleaseQueue

    @property
    def held(self) -> int:
        return len(self._waiting)

    @property
    def holding(self) -> ContextBuffer:
        return self._waiting.holding

    def members(self, interner: Interner) -> HeldRows:
        return self._waiting.members()

    def check(self, source: StateReader) -> None:
        self._waiting.check(source)

    def next_deadline(self) -> int | None:
        return self._waiting.next_deadline()

    def deadlines(self) -> Ints:
        return self._waiting.deadlines()

    def open(self) -> list[dict[str, Any]]:
        return self._waiting.open()

    def opened_by(self) -> list[tuple[int, ...]]:
        return self._waiting.opened_by()


def _close(parts: list[ContextBatch], late: Mask, *, ending: bool) -> npt.NDArray[np.uint8]:
    closed = np.concatenate([np.zeros(len(p), np.uint8) if p.closed is None else p.closed for p in parts])
    if ending:
        return np.full(len(closed), CLOSED_AT_END, np.uint8)
    return np.where(late & (closed == NOT_CLOSED), np.uint8(RELEASED), closed)
