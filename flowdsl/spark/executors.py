"""Executors of steps that run in the tasks of a cluster, where a step may be at home in another stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.executor import Recorder, StepExecutor
from flowdsl.kernels.outcome import Branched, Failed, StepOutcome, Until, dropped_rows
from flowdsl.operators.fan_out import Branches, FanOutKernel
from flowdsl.spark.job import Job
from flowdsl.spark.layout import Gate
from flowdsl.spark.spread_fans import Copies
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.orders import distinct

Pairs = npt.NDArray[np.int64]


class AbsentExecutor(StepExecutor):
    """A step that runs in another stage; contexts that enter it have no outcome here."""

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        return StepOutcome(_none_of(contexts))

    def stream(self, contexts: ContextBatch) -> list[ContextBatch]:
        return [contexts]


class SilentExecutor(StepExecutor):
    """A step that an earlier stage counted, run again without counting for the contexts that it passes."""

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        return StepOutcome(self._outcome(contexts, until).passed)


class GateExecutor(StepExecutor):
    """A gate in a shard: runs the contexts of the shard, and leaves the others to theirs."""

    def __init__(self, *args: Any, gate: Gate, shard: int, job: Job, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate, self._shard, self._shards = gate, shard, job.shards
        self._shares = job.spread.get(gate.end) if gate.ids and gate.heavy else None
        if gate.heavy:
            assert isinstance(self.kernel, FanOutKernel)
            self.kernel.share = self._share

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        if not len(contexts):
            return super().run(contexts, until, recorder)
        number, tasks = self._places(contexts)
        contexts, number = contexts.take(np.flatnonzero(number < tasks)), number[number < tasks]
        if not number.any():
            return super().run(contexts, until, recorder)
        # the contexts of other shards, some branches of which go on here, are counted there
        outcome = self._here(self._outcome(contexts, until), len(contexts.branches))
        own = contexts.take(np.flatnonzero(number == 0))
        recorder.write(self.step, own, outcome)
        self.counts.count(len(own), outcome)
        return outcome

    def _here(self, outcome: StepOutcome, levels: int) -> StepOutcome:
        """Return an outcome without the contexts of other shards, which those shards count."""
        failed = [
            Failed(one.contexts, kept)
            for one in outcome.failed
            if (kept := one.failures.only(self._own(one.contexts, levels))) is not None
        ]
        dropped = [
            part
            for one in outcome.dropped
            if isinstance(one.contexts, ContextBatch) and one.rows is not None
            for part in dropped_rows(
                one.contexts, one.rows[self._own(one.contexts, levels)[one.rows]], one.reason
            )
        ]
        branched = outcome.branched
        if branched is not None:
            own = np.flatnonzero(self._own(branched.contexts, levels))
            branched = Branched(branched.contexts.take(own), branched.counts[own])
        return replace(outcome, failed=tuple(failed), dropped=tuple(dropped), branched=branched)

    def _own(self, contexts: ContextBatch, levels: int) -> Mask:
        if len(contexts.branches) > levels:
            return np.ones(len(contexts), np.bool_)
        number, _ = self._places(contexts)
        own: Mask = number == 0
        return own

    def _places(self, contexts: ContextBatch) -> tuple[Pairs, Pairs]:
        """Return the place of this shard among the shards of each context, from 0 on, and their number."""
        first = self._gate.shards(contexts, self._shards)
        return (self._shard - first) % self._shards, self._gate.tasks(contexts)

    def _share(self, contexts: ContextBatch, found: Branches) -> Branches:
        """Return the branches that go on here: where there is a share of the links here, all that are found,
        behind those of earlier shares, or else some of those of all links.
        """
        number, tasks = self._places(contexts)
        if self._shares is None:
            return found.take(np.flatnonzero(found.place % tasks[found.row] == number[found.row]))
        earlier, counts = np.zeros(len(contexts), np.int32), found.counts.copy()
        seq, heavy = contexts.chunk.seq_seen(contexts.seen), self._gate.heavy_at(contexts)
        for row in np.flatnonzero(heavy >= 0).tolist():
            place = int(heavy[row]), int(number[row])
            earlier[row], counts[row] = self._shares.counts_at(int(seq[row]), *place)
        return found._replace(place=found.place + earlier[found.row], counts=counts)


class RoutingExecutor(StepExecutor):
    """A gate in a range of the log: notes which events have to go to which shards."""

    def __init__(self, *args: Any, gate: Gate, shards: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate, self._shards = gate, shards
        self._routed: list[Pairs] = []

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        if len(contexts):
            gate, shards = self._gate, self._shards
            copies = Copies.of(gate.shards(contexts, shards), gate.tasks(contexts), shards)
            pairs = contexts.rows.astype(np.int64)[copies.rows] * shards + copies.shards
            self._routed.append(distinct(pairs))
        return StepOutcome(_none_of(contexts))

    def stream(self, contexts: ContextBatch) -> list[ContextBatch]:
        # nothing is read of the graph here
        return [contexts]

    def route(self) -> list[Pairs]:
        """Return rows of the chunk and their shards, as row times number of shards plus shard, since the last
        call.
        """
        found, self._routed = self._routed, []
        return found


def _none_of(contexts: ContextBatch) -> ContextBatch:
    none: Index = np.zeros(0, np.int64)
    return contexts.take(none)
