"""Executors of steps that run in the tasks of a cluster, where a step may be at home in another stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.executor import Recorder, StepExecutor
from flowdsl.kernels.outcome import StepOutcome, Until
from flowdsl.spark.layout import Gate
from flowdsl.values.json_types import Index

Pairs = npt.NDArray[np.int64]


class AbsentExecutor(StepExecutor):
    """A step that runs in another stage: nothing comes of what enters it."""

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        return StepOutcome(_none_of(contexts))

    def streamed(self, contexts: ContextBatch) -> list[ContextBatch]:
        return [contexts]


class SilentExecutor(StepExecutor):
    """A step that was counted in an earlier stage, and is run again for what it lets pass."""

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        return StepOutcome(self._outcome(contexts, until).passed)


class GateExecutor(StepExecutor):
    """A gate in a shard: runs the contexts of the shard, and leaves the others to theirs."""

    def __init__(self, *args: Any, gate: Gate, shard: int, shards: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate, self._shard, self._shards = gate, shard, shards

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        if len(contexts):
            mine = self._gate.shards(contexts, self._shards) == self._shard
            contexts = contexts.take(np.flatnonzero(mine))
        return super().run(contexts, until, recorder)


class RoutingExecutor(StepExecutor):
    """A gate in a range of the log: notes which events have to go to which shards."""

    def __init__(self, *args: Any, gate: Gate, shards: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate, self._shards = gate, shards
        self._routed: list[Pairs] = []

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        if len(contexts):
            pairs = contexts.rows.astype(np.int64) * self._shards + self._gate.shards(contexts, self._shards)
            self._routed.append(np.unique(pairs))
        return StepOutcome(_none_of(contexts))

    def streamed(self, contexts: ContextBatch) -> list[ContextBatch]:
        # nothing is read of the graph here
        return [contexts]

    def routed(self) -> list[Pairs]:
        """Return rows of the chunk and their shards, as row times number of shards plus shard, since the last
        call.
        """
        found, self._routed = self._routed, []
        return found


def _none_of(contexts: ContextBatch) -> ContextBatch:
    none: Index = np.zeros(0, np.int64)
    return contexts.take(none)
