"""Runs contexts through branches of steps, in slices that bound their branches, on two threads where order
inside a step does not matter.

What each piece of work records is kept apart and put together in the order of the flows and of the events, so
that a result does not depend on the threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.executor import OutcomeSink, Recorder, StepExecutor, last_moment, run_steps
from flowdsl.kernels.outcome import Until

WORKERS = 2
# slices that are run or wait to be, so that no thread waits for a slice that takes long
AHEAD = WORKERS + 1
# contexts in the first slice of flows that fan out, and the greatest number of branches of a slice
FEWEST, MOST_BRANCHES = 1 << 10, 3 << 18
# fewer contexts are processed sooner than threads start
ALONE_BELOW = 1 << 11

Steps = Sequence[StepExecutor]


class _Job(NamedTuple):
    """A slice on its way through a branch; `twins` run in place of steps that have no state."""

    done: Future[None]
    recorder: Recorder
    twins: list[tuple[StepExecutor, StepExecutor]]

    def join(self, recorder: Recorder) -> None:
        """Wait for the end, and take over what came of it."""
        self.done.result()
        recorder.join(self.recorder)
        for step, twin in self.twins:
            step.counts.add(twin.counts)


class Worker:
    """Runs the branches of one trigger over the contexts of chunk after chunk."""

    def __init__(self, branches: Sequence[Steps], *, alone: bool) -> None:
        self._branches = [(steps, all(one.step.stateless for one in steps)) for steps in branches]
        self._alone = alone
        self._fans = [one for steps in branches for one in steps if one.step.fans_out]
        self._slice = FEWEST
        # slices on their way, with the number of their contexts
        self._waiting: deque[tuple[int, list[_Job]]] = deque()

    def run(
        self,
        contexts: ContextBatch,
        clock: int,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        trace: OutcomeSink | None = None,
        *,
        overlap: bool = False,
    ) -> None:
        """Take a chunk's contexts through all branches, timers firing up to a clock (µs).

        With `overlap` some may still be on their way when it ends: `settle` waits for them.
        """
        # one branch as a whole has nothing beside it
        alone = self._alone or len(contexts) < ALONE_BELOW or (len(self._branches) == 1 and not self._fans)
        if alone:
            self.settle(recorder)
        for piece, until in self._slices(contexts, clock):
            if alone:
                before = self._extra()
                for steps, _ in self._branches:
                    run_steps(steps, piece, until, recorder, trace)
                self._adapt(len(piece), self._extra() - before)
            else:
                self.settle(recorder, most=AHEAD if self._fans else WORKERS)
                self._waiting.append((len(piece), self._submit(piece, until, pool, recorder)))
        if not overlap:
            self.settle(recorder)

    def settle(self, recorder: Recorder, most: int = 1) -> None:
        """Wait until fewer than so many slices are on their way, and take over what came of the others."""
        while len(self._waiting) >= most:
            before = self._extra()
            contexts, jobs = self._waiting.popleft()
            for job in jobs:
                job.join(recorder)
            self._adapt(contexts, self._extra() - before)

    def _slices(self, contexts: ContextBatch, clock: int) -> Iterator[tuple[ContextBatch, Until]]:
        """Yield the contexts in slices that bound their branches, the last ones shared by all threads."""
        at = 0
        while self._fans:
            left = len(contexts) - at
            size = min(self._slice, max(left // WORKERS, self._slice // 2, FEWEST))
            if size >= left:
                break
            piece = contexts.slice(at, at + size)
            at += size
            yield piece, Until(last_moment(piece))
        yield contexts.slice(at, len(contexts)), Until(clock)

    def _submit(
        self, piece: ContextBatch, until: Until, pool: ThreadPoolExecutor, recorder: Recorder
    ) -> list[_Job]:
        """Start a job for each branch; one with state waits for that of the slice before."""
        jobs = []
        for number, (steps, stateless) in enumerate(self._branches):
            own, twins, earlier = recorder.branch(), [], None
            if stateless:
                twins = [(one, one.twin()) for one in steps]
                steps = [twin for _, twin in twins]
            elif self._waiting:
                earlier = self._waiting[-1][1][number].done
            jobs.append(_Job(pool.submit(_run, steps, piece, until, own, earlier), own, twins))
        return jobs

    def _extra(self) -> int:
        return sum(one.counts.extra_branches for one in self._fans)

    def _adapt(self, contexts: int, branches: int) -> None:
        bearable = int(MOST_BRANCHES * contexts / max(branches, 1))
        self._slice = max(FEWEST, min(4 * self._slice, bearable))


def _run(
    steps: Steps, piece: ContextBatch, until: Until, recorder: Recorder, earlier: Future[None] | None
) -> None:
    if earlier is not None:
        # it was submitted before, so that a thread runs it already
        earlier.result()
    run_steps(steps, piece, until, recorder)
