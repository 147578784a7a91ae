"""How a chunk's contexts go through the stages: in slices that bound their branches, on two threads where order
inside a step does not matter.

What each piece of work records is kept apart and put together in the order of the flows and of the events, so
that a result does not depend on the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.executor import Recorder, StepExecutor
from flowdsl.operators.base import Kind

WORKERS = 2
# contexts in the first slice of flows that fan out, and branches that a slice may have: more only cost memory
FEWEST, MOST_BRANCHES = 1 << 10, 1 << 20
# fewer contexts than this are done before a thread would have begun
ALONE_BELOW = 1 << 11

Job = Callable[[Recorder], tuple[StepExecutor, StepExecutor] | None]


class Worker:
    """Runs the stages of one trigger over the contexts of chunk after chunk."""

    def __init__(self, stages: list[StepExecutor], recorder: Recorder, *, alone: bool) -> None:
        self._stages = stages
        self._recorder = recorder
        self._alone = alone
        self._fans = any(one.stage.step.branches for stage in stages for one in stage.everywhere())
        self._slice = FEWEST

    def run(
        self, contexts: ContextBatch, horizon: int, pool: ThreadPoolExecutor, recorder: Recorder | None = None
    ) -> None:
        """Take a chunk's contexts through all stages, timers firing up to `horizon`; a `recorder` of its own is told."""
        usual, self._recorder = self._recorder, recorder or self._recorder
        try:
            self._run(contexts, horizon, pool)
        finally:
            self._recorder = usual

    def _run(self, contexts: ContextBatch, horizon: int, pool: ThreadPoolExecutor) -> None:
        at = 0
        while True:
            size = self._slice if self._fans else max(len(contexts), 1)
            pieces = [
                contexts.slice(start, start + size)
                for start in range(at, min(at + WORKERS * size, len(contexts)), size)
            ]
            at += WORKERS * size
            last = at >= len(contexts)
            before = self._branches()
            self._together(pieces or [contexts], horizon if last else None, pool)
            self._adapt(sum(len(piece) for piece in pieces), self._branches() - before)
            if last:
                return

    def _together(self, pieces: list[ContextBatch], horizon: int | None, pool: ThreadPoolExecutor) -> None:
        alone = self._alone or sum(map(len, pieces)) < ALONE_BELOW
        jobs: list[Job] = []
        for stage in self._stages:
            if alone or len(pieces) == 1 or not _stateless(stage):
                jobs.append(partial(_in_turn, stage, pieces, horizon))
            else:
                jobs += [partial(_apart, stage, piece, horizon) for piece in pieces]
        if alone or len(jobs) == 1:
            for job in jobs:
                job(self._recorder)
            return
        recorders = [self._recorder.branch() for _ in jobs]
        done = list(pool.map(_run, jobs, recorders))
        for recorder, counted in zip(recorders, done, strict=True):
            self._recorder.join(recorder)
            if counted is not None:
                stage, twin = counted
                stage.count(twin)

    def _branches(self) -> int:
        return sum(one.tally.extra_branches for stage in self._stages for one in stage.everywhere())

    def _adapt(self, contexts: int, branches: int) -> None:
        bearable = int(MOST_BRANCHES * contexts / max(branches, 1))
        self._slice = max(FEWEST, min(4 * self._slice, bearable))


def calls_functions(stages: Iterator[StepExecutor]) -> bool:
    """Whether a step calls a function of the user's: such functions stay on the user's thread."""
    return any(one.stage.step.paths is None for one in stages)


def _run(job: Job, recorder: Recorder) -> tuple[StepExecutor, StepExecutor] | None:
    return job(recorder)


def _in_turn(
    stage: StepExecutor, pieces: list[ContextBatch], horizon: int | None, recorder: Recorder
) -> None:
    stage.tell(recorder)
    for number, piece in enumerate(pieces):
        until = horizon if number == len(pieces) - 1 else None
        stage.push(piece, _last_moment(piece) if until is None else until)


def _apart(
    stage: StepExecutor, piece: ContextBatch, horizon: int | None, recorder: Recorder
) -> tuple[StepExecutor, StepExecutor]:
    twin = stage.twin()
    twin.tell(recorder)
    twin.push(piece, _last_moment(piece) if horizon is None else horizon)
    return stage, twin


def _last_moment(piece: ContextBatch) -> int:
    """A later piece may still have contexts of this moment: timers due by then fire before all of them."""
    return int(np.max(piece.moment[-1:]))


def _stateless(stage: StepExecutor) -> bool:
    return all(one.stage.step.kind in (Kind.PER_EVENT, Kind.SINK) for one in stage.everywhere())
