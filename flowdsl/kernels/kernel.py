"""What runs a step: a kernel takes batch after batch of contexts, and remembers what it must between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.batches.buffer import ContextBuffer
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import Versions
from flowdsl.expressions.row_source import Failures
from flowdsl.kernels.held_rows import HeldRows
from flowdsl.kernels.keys import Held, KeySpace
from flowdsl.values.columns import Column
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.state_objects import StateObject, StateReader

# by sink, which contexts do not reach it
Refused = Mapping[str, Mask]
FOREVER = int(np.iinfo(np.int64).max)


class StepContext(Protocol):
    """One step at work on one batch: the time up to which timers fire, and where outcomes are told."""

    @property
    def horizon(self) -> int:
        """Timers due at or before this clock (µs) fire now."""
        ...

    @property
    def ending(self) -> bool:
        """Whether the log is over, and what is held comes out as if time went on."""
        ...

    @property
    def observed(self) -> bool:
        """Whether somebody watches single contexts: only then is it worth saying which went into a batch."""
        ...

    def dropped(self, contexts: ContextBatch, rows: Index, reason: str) -> None:
        """These contexts end here, on purpose."""
        ...

    def dropped_earlier(self, members: EventRefs, reason: str) -> None:
        """Contexts held since earlier end here."""
        ...

    def failed(self, contexts: ContextBatch, failures: Failures) -> None:
        """The contexts where `failures` says so end here."""
        ...

    def branched(self, contexts: ContextBatch, branches: Index) -> None:
        """A fan-out made so many branches of each of these contexts."""
        ...

    def too_many(self, contexts: ContextBatch, branches: Index, most: int) -> Mask | None:
        """Which contexts would give their event more than `most` branches, with those made before; None where none does."""
        ...

    def absorbed(self, count: int) -> None:
        """So many contexts went into batches that go on as one each."""
        ...

    def gathered(self, members: EventRefs, batches: ContextBatch, which: Index) -> None:
        """Where observed: the contexts in batches that go on, and which of `batches` each went into."""
        ...

    @property
    def last(self) -> bool:
        """Whether no deliver step follows."""
        ...

    def refusals(self, payload: Payload, recipient: Column) -> Refused | None:
        """Which contexts the preferences that a sink keeps hold back, by sink; None where nobody is held back."""
        ...

    def delivered(
        self, contexts: ContextBatch, payload: Payload, recipient: Column, refused: Refused | None = None
    ) -> None:
        """These contexts reached sinks; `refused` says which of them did not reach one of the sinks."""
        ...


class EventRefs(Protocol):
    """Contexts of which only the event and the branch are still known."""

    @property
    def seq(self) -> npt.NDArray[np.int64]: ...

    @property
    def branches(self) -> tuple[npt.NDArray[np.int32], ...]: ...


class Kernel(StateObject):
    """Runs one step. The base class is one that remembers nothing.

    What a kernel remembers it declares in `saved`; the rest it has from its step.
    """

    def goes_on_from(self, earlier: Kernel, source: StateReader) -> None:
        """Remember what another kernel of the same step did, as it was read."""
        source.check(type(earlier) is type(self), f"what {type(earlier).__name__} remembers")
        for name in self.saved:
            value = getattr(earlier, name)
            # keys and buckets have their options from the step
            own = getattr(self, name)
            source.check((value is None) == (own is None), f"not what this step remembers as {name}")
            setattr(self, name, value.goes_on_for(own, source) if hasattr(value, "goes_on_for") else value)
        self.check(source)

    def check(self, source: StateReader) -> None:
        """Refuse what was read where its parts do not go together."""

    @property
    def space(self) -> KeySpace | None:
        """The numbers of its keys."""
        return getattr(self, "_space", None)

    def keys_held(self) -> Iterable[Held]:
        """The keys that it remembers, in arrays that nobody changes."""
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
        """How many contexts are held in windows or queues."""
        return 0

    def remembers(self, clock: int) -> str:
        """What would be lost with it at a clock (µs), in words; empty where that is nothing."""
        return ""

    def members(self, interner: Interner) -> HeldRows:
        """The contexts that it holds; asked of a kernel that was read without its step, too."""
        return HeldRows.none()

    def most_branches(self, contexts: ContextBatch) -> Index | None:
        """How many branches each context makes at most; None for a step that makes none."""
        return None

    def run(self, contexts: ContextBatch, step: StepContext) -> ContextBatch:
        """The contexts that go on, in order; `contexts` come in order, after those of earlier calls."""
        raise NotImplementedError

    def fork(self) -> Kernel:
        """A kernel that goes on from here without changing this one."""
        return self

    def held_versions(self) -> Iterable[Versions]:
        """Entity versions that held contexts refer to."""
        return ()

    def renumber(self, mapping: Versions) -> None:
        """Entity versions got new numbers."""

    def next_deadline(self) -> int | None:
        """When the next timer is due that would fire without another event, as a clock in µs; None where there is none."""
        due = self.deadlines()
        return int(due.min()) if len(due) else None

    def deadlines(self) -> npt.NDArray[np.int64]:
        """When all these timers are due, in any order."""
        return np.zeros(0, np.int64)

    def open(self) -> list[dict[str, Any]]:
        """What is held, a row for each window or queued context."""
        return []


class NoDirectionKernel(Kernel):
    """Follows links in a direction that does not exist, where such a flow is let in: every context fails."""

    def __init__(self, direction: str) -> None:
        self._message = f"direction {direction!r:.60} is neither 'forward' nor 'reverse'"

    def run(self, contexts: ContextBatch, step: StepContext) -> ContextBatch:
        if len(contexts):
            step.failed(contexts, Failures(np.ones(len(contexts), np.int32), (self._message,)))
        return contexts.take(np.zeros(0, np.int64))
