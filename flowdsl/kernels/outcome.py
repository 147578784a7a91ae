"""Input and output of a kernel: values only. A kernel has no callbacks, so it can be tried at will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.expressions.row_source import Failures
from flowdsl.kernels.batch_members import ItemLists, WindowMembers
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Mask

FOREVER = int(np.iinfo(np.int64).max)
Seqs = npt.NDArray[np.int64]
# by sink, a mask of the contexts that do not reach it
Refused = Mapping[str, Mask]


class EventRefs(Protocol):
    """Contexts of which only the event and the branch are still known."""

    @property
    def seq(self) -> Seqs: ...

    @property
    def branches(self) -> tuple[npt.NDArray[np.int32], ...]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Until:
    """Time that passes in one call: timers due at or before `clock` (µs) fire, at `FOREVER` all of them;
    `ending` says that the log is over, and what comes out is provisional.
    """

    clock: int
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The contexts that end where `failures` says so."""

    contexts: ContextBatch
    failures: Failures

    @property
    def rows(self) -> Index:
        """Return the rows of `contexts` that fail."""
        return self.failures.rows


@dataclass(frozen=True, slots=True)
class Dropped:
    """Contexts that end on purpose: some rows of a batch, or with `rows=None` all of what was held since
    earlier.
    """

    contexts: ContextBatch | EventRefs
    rows: Index | None
    reason: str

    def __len__(self) -> int:
        return len(self.contexts if self.rows is None else self.rows)

    @property
    def refs(self) -> ContextBatch | EventRefs:
        """The contexts that were dropped, and no others."""
        contexts = self.contexts
        if self.rows is None:
            return contexts
        assert isinstance(contexts, ContextBatch)
        return contexts.take(self.rows)


@dataclass(frozen=True, slots=True)
class Branched:
    """The number of branches that a fan-out made of each context; of those without any, 0."""

    contexts: ContextBatch
    counts: Index


@dataclass(frozen=True, slots=True)
class Absorbed:
    """Contexts that went into batches which go on as one context each: `count` of them are no more.

    `batches` are the contexts that go on, or fail, each with the members of its window `inside`.
    """

    count: int
    batches: ContextBatch
    inside: WindowMembers

    def members(self) -> tuple[ItemLists, Index]:
        """All contexts of the windows, and which of `batches` each went into."""
        return self.inside.lists, np.repeat(np.arange(len(self.batches)), np.diff(self.inside.offsets))


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Contexts that reach sinks; `refused` says which of them do not reach one of the sinks, `capped` which
    of these because of its cap.
    """

    contexts: ContextBatch
    payload: Payload
    recipient: Column
    refused: Refused = field(default_factory=dict)
    capped: Refused = field(default_factory=dict)

    def take(self, index: Index) -> Deliveries:
        """Return the deliveries of the contexts at `index`."""
        refused, capped = (
            {sink: mask[index] for sink, mask in masks.items()} for masks in (self.refused, self.capped)
        )
        contexts, payload = self.contexts.take(index), self.payload.take(index)
        return Deliveries(contexts, payload, self.recipient.take(index), refused, capped)

    def reach_none(self, sinks: Sequence[str]) -> Mask:
        """Return a mask of the contexts that reach none of the sinks."""
        none = np.zeros(len(self.contexts), np.bool_)
        nobody: Mask = np.logical_and.reduce([self.refused.get(sink, none) for sink in sinks])
        return nobody

    @property
    def kept_by(self) -> Mapping[str, Refused]:
        """Masks of the contexts that do not reach a sink, by reason and sink."""
        preference = {s: mask & ~self.capped.get(s, np.False_) for s, mask in self.refused.items()}
        masks = {"preference": preference, "capped": self.capped}
        return {reason: found for reason, sinks in masks.items() if (found := _some(sinks))}


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """Outcome of a batch of contexts, and of held ones, at one step.

    `passed` go on, in order. What came in and is in no part of it is held by the kernel. `refused` says for
    each sink which of the contexts that came to it its preferences kept from it.
    """

    passed: ContextBatch
    failed: tuple[Failed, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    absorbed: Absorbed | None = None
    branched: Branched | None = None
    delivered: Deliveries | None = None
    refused: Refused | None = None


def _some(sinks: Refused) -> Refused:
    return {sink: mask for sink, mask in sinks.items() if mask.any()}


def failed_where(contexts: ContextBatch, failures: Failures | None) -> tuple[Failed, ...]:
    """Return the failures of a batch as a part of an outcome; empty if there are none."""
    return () if failures is None else (Failed(contexts, failures),)


def dropped_rows(contexts: ContextBatch, rows: Index, reason: str) -> tuple[Dropped, ...]:
    """Return the rows of a batch that end for a reason as a part of an outcome; nothing where there are
    none.
    """
    return (Dropped(contexts, rows, reason),) if len(rows) else ()


def fail_all(contexts: ContextBatch, message: str) -> StepOutcome:
    """Return the outcome in which every context fails for one reason."""
    every = Failures.where(np.ones(len(contexts), np.bool_), message)
    return StepOutcome(contexts.take(np.zeros(0, np.int64)), failed_where(contexts, every))


def keep_where(
    contexts: ContextBatch,
    holds: Mask,
    reason: str,
    *,
    failures: Failures | None = None,
    failed: tuple[Failed, ...] = (),
) -> StepOutcome:
    """Return the outcome in which the contexts of a mask go on, those of `failures` fail, and the others are
    dropped for a reason; `failed` are failures of before.
    """
    rest = ~holds
    if failures is not None:
        holds, rest = holds & ~failures.mask, rest & ~failures.mask
        failed += (Failed(contexts, failures),)
    dropped = dropped_rows(contexts, np.flatnonzero(rest), reason)
    return StepOutcome(contexts.take(np.flatnonzero(holds)), failed, dropped)


def dropped_held(members: EventRefs, reason: str) -> tuple[Dropped, ...]:
    """Return contexts held since earlier that end for a reason as a part of an outcome; nothing where there
    are none.
    """
    return (Dropped(members, None, reason),) if len(members) else ()
