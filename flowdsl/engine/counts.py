"""Counts of the outcomes of contexts at a step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.crashes import Crash
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.values.json_types import Index, Ints

# numbers of branches that are counted in an array
_USUAL = 1 << 16


class FanOutHistogram:
    """Histogram of branches per context of a fan-out, and the place of the largest number."""

    def __init__(self) -> None:
        # contexts by number of branches; the few with more branches than fit are counted in `_huge`
        self._usual: Ints = np.zeros(0, np.int64)
        self._huge: Counter[int] = Counter()
        self.largest = 0
        self.seq_no = 0

    def count(self, branches: Index, contexts: ContextBatch) -> None:
        """Count the branches of these contexts; contexts without any were dropped and do not count."""
        largest = int(branches.max(initial=0))
        if largest >= _USUAL:
            self._huge.update(branches[branches >= _USUAL].tolist())
        self._add_usual(np.bincount(branches[branches < _USUAL] if largest >= _USUAL else branches))
        if largest and largest >= self.largest:
            at = int(branches.argmax())
            self._meet(largest, int(contexts.slice(at, at + 1).seq[0]))

    def add(self, other: FanOutHistogram) -> None:
        """Add the counts of another histogram."""
        self._add_usual(other._usual)
        self._huge.update(other._huge)
        self._meet(other.largest, other.seq_no)

    def counts(self) -> list[tuple[int, int]]:
        """Return (number of branches, number of contexts) pairs, ascending, from 1 branch on."""
        usual = np.flatnonzero(self._usual)
        usual = usual[usual > 0]
        return [*zip(usual.tolist(), self._usual[usual].tolist(), strict=True), *sorted(self._huge.items())]

    def _add_usual(self, counts: Ints) -> None:
        if len(counts) > len(self._usual):
            self._usual, counts = counts.copy(), self._usual
        self._usual[: len(counts)] += counts

    def _meet(self, largest: int, seq_no: int) -> None:
        # of equally large ones the earliest, however the work was cut
        if (largest, -seq_no) > (self.largest, -self.seq_no):
            self.largest, self.seq_no = largest, seq_no


@dataclass
class StepCounts:
    """Counts of the contexts that entered a step, by outcome."""

    held_before: int = 0
    entered: int = 0
    extra_branches: int = 0
    passed: int = 0
    failed: int = 0
    absorbed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """By sink, what its preferences kept from it."""
    capped: Counter[str] = field(default_factory=Counter)
    """By sink, what its cap kept from it."""
    seconds: float = 0.0
    sizes: FanOutHistogram = field(default_factory=FanOutHistogram)
    crash: Crash | None = None
    """The first context at which production crashes, where one does."""

    def count(self, entered: int, outcome: StepOutcome) -> None:
        """Count the outcomes of the contexts that entered, and of those that were held."""
        self.entered += entered
        self.passed += len(outcome.passed)
        for one in outcome.failed:
            self.failed += len(one.rows)
        for drop in outcome.dropped:
            self.dropped[drop.reason] += len(drop)
        if outcome.absorbed is not None:
            self.absorbed += outcome.absorbed.count
        if outcome.branched is not None:
            self.extra_branches += int((outcome.branched.counts - 1).clip(0).sum())
            self.sizes.count(outcome.branched.counts, outcome.branched.contexts)
        if outcome.refused:
            self.refused.update({sink: int(np.count_nonzero(mask)) for sink, mask in outcome.refused.items()})

    def add(self, other: StepCounts) -> None:
        """Add the counts of a twin of the step."""
        self.entered += other.entered
        self.extra_branches += other.extra_branches
        self.passed += other.passed
        self.failed += other.failed
        self.absorbed += other.absorbed
        self.dropped += other.dropped
        self.refused += other.refused
        self.capped += other.capped
        self.seconds += other.seconds
        self.sizes.add(other.sizes)
        self.meet(other.crash)

    def meet(self, crash: Crash | None) -> None:
        """Keep the earlier of a crash and the one that is known."""
        if crash is not None and (self.crash is None or crash < self.crash):
            self.crash = crash


@dataclass(frozen=True)
class StepTotals:
    """The totals of a step at the end of a run: its counts, and what its windows and queues hold.

    `open` has a row for each window or queued context: `held`, `last_seq_no`, `opened_at` and `due_at` (µs).
    """

    step: CompiledStep
    counts: StepCounts
    held: int
    open: list[dict[str, Any]]
