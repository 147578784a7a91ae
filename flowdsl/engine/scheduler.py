"""Runs a chunk's contexts through branches of steps: in slices that bound their branches, on two threads
where order inside a step does not matter.

What each piece of work records is kept apart and put together in the order of the flows and of the events, so
that a result does not depend on the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.executor import OutcomeSink, Recorder, StepExecutor, last_moment, run_steps
from flowdsl.kernels.outcome import Until

WORKERS = 2
# contexts in the first slice of flows that fan out, and the greatest number of branches of a slice
FEWEST, MOST_BRANCHES = 1 << 10, 1 << 20
# fewer contexts are processed sooner than threads start
ALONE_BELOW = 1 << 11

Steps = Sequence[StepExecutor]
Job = Callable[[Recorder], None]


class Worker:
    """Runs the branches of one trigger over the contexts of chunk after chunk."""

    def __init__(self, branches: Sequence[Steps], *, alone: bool) -> None:
        self._branches = [(steps, all(one.step.stateless for one in steps)) for steps in branches]
        self._alone = alone
        self._fans = [one for steps in branches for one in steps if one.step.fans_out]
        self._slice = FEWEST

    def run(
        self,
        contexts: ContextBatch,
        clock: int,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        trace: OutcomeSink | None = None,
    ) -> None:
        """Take a chunk's contexts through all branches, timers firing up to a clock (µs)."""
        if not self._fans:
            self._run_jobs([contexts], clock, pool, recorder, trace)
            return
        at = 0
        while True:
            size = self._slice
            pieces = [
                contexts.slice(start, start + size)
                for start in range(at, min(at + WORKERS * size, len(contexts)), size)
            ]
            at += WORKERS * size
            last = at >= len(contexts)
            before = self._extra()
            self._run_jobs(pieces or [contexts], clock if last else None, pool, recorder, trace)
            self._adapt(sum(map(len, pieces)), self._extra() - before)
            if last:
                return

    def _run_jobs(
        self,
        pieces: list[ContextBatch],
        clock: int | None,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        trace: OutcomeSink | None,
    ) -> None:
        if self._alone or sum(map(len, pieces)) < ALONE_BELOW:
            for steps, _ in self._branches:
                _in_turn(steps, pieces, clock, recorder, trace)
            return
        jobs, twins = self._jobs(pieces, clock)
        if len(jobs) == 1:
            jobs[0](recorder)
            return
        recorders = [recorder.branch() for _ in jobs]
        for _ in pool.map(_run, jobs, recorders):
            pass
        for branch in recorders:
            recorder.join(branch)
        for steps, counted in twins:
            for one, other in zip(steps, counted, strict=True):
                one.counts.add(other.counts)

    def _jobs(
        self, pieces: list[ContextBatch], clock: int | None
    ) -> tuple[list[Job], list[tuple[Steps, Steps]]]:
        """Return a job for each branch, or for each piece of one without state, whose steps have twins."""
        jobs: list[Job] = []
        twins: list[tuple[Steps, Steps]] = []
        for steps, stateless in self._branches:
            if len(pieces) == 1 or not stateless:
                jobs.append(partial(_in_turn, steps, pieces, clock))
                continue
            for number, piece in enumerate(pieces, 1):
                twin = [one.twin() for one in steps]
                twins.append((steps, twin))
                jobs.append(partial(_in_turn, twin, [piece], clock if number == len(pieces) else None))
        return jobs, twins

    def _extra(self) -> int:
        return sum(one.counts.extra_branches for one in self._fans)

    def _adapt(self, contexts: int, branches: int) -> None:
        bearable = int(MOST_BRANCHES * contexts / max(branches, 1))
        self._slice = max(FEWEST, min(4 * self._slice, bearable))


def _run(job: Job, recorder: Recorder) -> None:
    job(recorder)


def _in_turn(
    steps: Steps,
    pieces: list[ContextBatch],
    clock: int | None,
    recorder: Recorder,
    trace: OutcomeSink | None = None,
) -> None:
    *early, last = pieces
    for piece in early:
        run_steps(steps, piece, Until(last_moment(piece)), recorder, trace)
    run_steps(steps, last, Until(last_moment(last) if clock is None else clock), recorder, trace)
