"""Garbage collection of a live run: ids, keys and identities of links that nothing refers to any more."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.state import State
from flowdsl.graph.link_keys import LinkKeys
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.keys import KeySpace
from flowdsl.values.key_collection import Forgetting, Inside, Numbers

# versions of entities that are moved at a time: twice those of a batch
MOVED = 1 << 15
# greatest number of them, or of links of a type, in one block: bounds the time it takes to join two
LARGEST = 1 << 16


class RunForgetting:
    """Forgets for one run, step by step, between two batches.

    Everything that keeps codes from one batch to the next is part of the run's graph, of a kernel or of the
    recorder, and lists them in `held_codes`; so does a state that was taken of the run, as long as it is
    referenced.
    """

    def __init__(self, run: LocalExecutor) -> None:
        self._run = run
        run.at_once = MOVED
        run.graph.bound(LARGEST)
        self._states: list[weakref.ref[State]] = []
        self._others: list[weakref.ref[Any]] = []
        interner = run.graph.interner
        interner.begin_forgetting()
        self._ids = Forgetting(interner.table, self._codes, self._forget_ids, first=1)
        self._tables = [self._ids]
        spaces = {id(space): space for kernel in run.kernels if (space := kernel.space) is not None}
        for space in spaces.values():
            for number, table in enumerate(space.tables):
                held, forget = partial(self._in_space, space, number), partial(space.forget, number)
                self._tables.append(Forgetting(table, held, forget))  # pyright: ignore[reportArgumentType]
        self._links: dict[str | None, Forgetting] = {}
        # links of the type that comes first are looked at first
        self._tables_of_links = deque(run.graph.links.values())

    @property
    def rounds(self) -> int:
        """Number of completed searches for unused ids."""
        return self._ids.rounds

    def keep(self, state: State) -> None:
        """Note that this state was taken of the run."""
        self._states.append(weakref.ref(state))

    def wait_for(self, reader: Any) -> None:
        """Begin no new search while `reader` exists: another thread reads data of the run through it."""
        self._others.append(weakref.ref(reader))

    def step(self) -> None:
        """Do some of the work, in proportion to what came since the last time."""
        self._states = [state for state in self._states if state() is not None]
        self._others = [reader for reader in self._others if reader() is not None]
        self._tidy_links()
        may_begin = not self._others
        for table in self._tables:
            table.step(may_begin=may_begin)
        if (identities := self._run.graph.identities) is not None:
            self._step_links(identities, may_begin=may_begin)

    def _tidy_links(self) -> None:
        """Remove some ended links of one type."""
        tables = self._tables_of_links
        for _ in range(len(tables)):
            tables.rotate(-1)
            if tables[-1].tidy():
                return

    def _step_links(self, identities: LinkKeys, *, may_begin: bool) -> None:
        """Do the same for the identities of links, which have numbers of their own: by id, and by pair and
        type.
        """
        tables = self._run.graph.tables
        if None not in self._links:
            self._links[None] = Forgetting(
                tables.ids.table, partial(self._identities, None), lambda codes: tables.ids.forget(codes + 1)
            )
        for kind in identities.kinds:
            if kind not in self._links and kind in tables.pairs:
                pairs = tables.pairs[kind]
                self._links[kind] = Forgetting(pairs, partial(self._identities, kind), pairs.forget)
        for table in self._links.values():
            table.step(may_begin=may_begin)

    def _live_states(self) -> list[State]:
        return [state for known in self._states if (state := known()) is not None]

    def _kernels(self) -> Iterator[Kernel]:
        yield from self._run.kernels
        yield from (step.kernel for state in self._live_states() for step in state.steps)

    def _codes(self) -> Iterator[Numbers | Inside]:
        self._run.graph.several.forget_dead()
        for graph in (self._run.graph, *(state.graph for state in self._live_states())):
            yield from graph.held_codes()
        for kernel in self._kernels():
            yield from kernel.held_codes()
        yield from self._run.recorder.held_codes()

    def _in_space(self, space: KeySpace, table: int) -> Iterator[Inside]:
        keys = [keys for kernel in self._kernels() if kernel.space is space for keys in kernel.keys_held()]
        return space.held_in(table, keys)

    def _identities(self, kind: str | None) -> Iterator[Inside]:
        for graph in (self._run.graph, *(state.graph for state in self._live_states())):
            yield from graph.held_identities(kind)

    def _forget_ids(self, codes: Numbers) -> None:
        self._run.graph.forget_ids(codes)
        self._run.graph.interner.forget(codes)
