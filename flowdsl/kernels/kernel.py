"""Kernels, which run steps: a kernel takes batch after batch of contexts, and remembers what it must between
them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from flowdsl.batches.buffer import ContextBuffer
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import Versions
from flowdsl.expressions.row_source import Failures
from flowdsl.kernels.held_rows import HeldRows
from flowdsl.kernels.keys import Held, Keys, KeySpace
from flowdsl.kernels.outcome import Failed, StepOutcome, Until, fail_all, failed_where
from flowdsl.text import short_repr
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.state_objects import StateObject, StateReader


class Kernel(StateObject):
    """Runs one step. The base class is one that remembers nothing.

    What a kernel remembers it declares in `saved`; the rest it has from its step.
    """

    def goes_on_from(self, earlier: Kernel, source: StateReader) -> None:
        """Take over the memory of another kernel of the same step, as it was read from a saved state."""
        source.check(type(earlier) is type(self), f"what {type(earlier).__name__} remembers")
        for name in self.saved:
            value = getattr(earlier, name)
            # keys and buckets have their options from the step
            own = getattr(self, name)
            source.check((value is None) == (own is None), f"not what this step remembers as {name}")
            setattr(self, name, value.goes_on_for(own, source) if hasattr(value, "goes_on_for") else value)
        self.check(source)

    def check(self, source: StateReader) -> None:
        """Refuse a saved state whose parts contradict one another."""

    @property
    def space(self) -> KeySpace | None:
        """Numbering of its keys, if it has keys."""
        return getattr(self, "_space", None)

    def keys_held(self) -> Iterable[Held]:
        """Return the keys that it remembers, in arrays that are never changed."""
        return ()

    def held_codes(self) -> Iterator[Any]:
        yield from super().held_codes()
        if self.space is not None:
            yield from self.space.codes_in(self.keys_held())

    @property
    def holding(self) -> ContextBuffer | None:
        """The contexts that it holds whole."""
        return None

    @property
    def held(self) -> int:
        """Return how many contexts are held in windows or queues."""
        return 0

    def remembers(self, clock: int) -> str:
        """Describe what would be lost with it at a clock (µs); empty if nothing."""
        return ""

    def members(self, interner: Interner) -> HeldRows:
        """Return the contexts that it holds; asked of a kernel that was read without its step, too."""
        return HeldRows.none()

    def most_branches(self, contexts: ContextBatch) -> Index | None:
        """Return how many branches each context makes at most; None for a step that makes none."""
        return None

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        """Return the outcome of contexts, which follow those of earlier calls in order, and of held ones."""
        raise NotImplementedError

    def fork(self) -> Self:
        """Return a kernel that continues from here independently of this one.

        What it remembers is forked where it can be; the rest is replaced, never changed, and keys are only
        ever added to their space.
        """
        forked = copy.copy(self)
        for name in self.saved:
            value = getattr(self, name)
            if hasattr(value, "fork"):
                setattr(forked, name, value.fork())
        return forked

    def held_versions(self) -> Iterable[Versions]:
        """Entity versions that held contexts refer to."""
        return () if self.holding is None else self.holding.versions()

    def renumber(self, mapping: Versions) -> None:
        """Apply new numbers of entity versions."""
        if self.holding is not None:
            self.holding.renumber(mapping)

    def next_deadline(self) -> int | None:
        """Return when the next timer is due that would fire without another event, as a clock in µs; None
        where there is none.
        """
        due = self.deadlines()
        return int(due.min()) if len(due) else None

    def deadlines(self) -> Ints:
        """Return when all these timers are due, in any order."""
        return np.zeros(0, np.int64)

    def open(self) -> list[dict[str, Any]]:
        """Return what is held, a row for each window or queued context."""
        return []

    def opened_by(self) -> list[tuple[int, ...]]:
        """Return for each row of `open` the event and the branch that it began with."""
        return []


class NoDirectionKernel(Kernel):
    """Follows links in a direction that does not exist, where such a flow is let in: every context fails."""

    def __init__(self, direction: str) -> None:
        self._message = f"direction {short_repr(direction)} is neither 'forward' nor 'reverse'"

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        return fail_all(contexts, self._message)


def read_keys(space: KeySpace | None, contexts: ContextBatch) -> tuple[Keys, Failures | None]:
    """Return the key of each context, and which of them have none; without a space of keys all have the same
    one.
    """
    return (np.zeros(len(contexts), np.int64), None) if space is None else space.keys(contexts)


def split_keyed(
    space: KeySpace | None, contexts: ContextBatch
) -> tuple[ContextBatch, Keys, tuple[Failed, ...]]:
    """Return the contexts that have a key, with it, and the others as failures."""
    keys, failures = read_keys(space, contexts)
    if failures is None:
        return contexts, keys, ()
    good = np.flatnonzero(~failures.mask)
    return contexts.take(good), keys[good], failed_where(contexts, failures)
