"""Runs contexts through compiled steps: one after the other, each on what the one before it let pass.

Data only goes down. A kernel returns an outcome, the outcome is counted and written down, and what passed is
handed to the steps that follow.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import Versions
from flowdsl.engine.counts import StepCounts
from flowdsl.engine.crashes import Crash
from flowdsl.engine.recipient_filter import RecipientFilter, apply_preferences
from flowdsl.engine.sink_caps import SinkCaps
from flowdsl.errors import FlowError, text_of_error
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import Failed, StepOutcome, Until
from flowdsl.values.json_types import Index

# greatest number of branches that are processed together: more only cost memory
STREAMED = 1 << 20


class OutcomeSink(Protocol):
    """Takes the outcomes of steps."""

    def write(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the outcomes of the contexts that entered a step, and of those that it held."""
        ...


class Recorder(OutcomeSink, Protocol):
    """Writes down what comes out of a run."""

    def note_late(self, chunk: Chunk, rows: Index) -> None:
        """Write down events older than the clock at which they were processed."""
        ...

    def note_ahead(self, chunk: Chunk, rows: Index) -> None:
        """Write down events dated in the future that leave the clock where it is."""
        ...

    def note_unmatched(self, chunk: Chunk, rows: Index) -> None:
        """Write down deletions that matched no link and no entity."""
        ...

    def branch(self) -> Recorder:
        """Return a recorder for one piece of work, whose records are put in their place by `join`."""
        ...

    def join(self, branch: Any) -> None:
        """Take over what a piece of work recorded."""
        ...

    def held_versions(self) -> Iterable[Versions]:
        """Return the entity versions that it still refers to."""
        ...

    def held_codes(self) -> Iterator[Any]:
        """Return the codes of ids that it still refers to."""
        ...

    def renumber(self, mapping: Versions) -> None:
        """Take over new numbers of entity versions."""
        ...


class StepExecutor:
    """One step of a run: its kernel, and the counts of the outcomes of its contexts.

    With `spares`, an unexpected error fails only the contexts that caused it.
    """

    def __init__(
        self,
        step: CompiledStep,
        kernel: Kernel,
        gates: Mapping[str, RecipientFilter],
        *,
        caps: SinkCaps | None = None,
        spares: bool = False,
        together: int | None = None,
    ) -> None:
        self.step = step
        self.kernel = kernel
        self.counts = StepCounts(held_before=kernel.held)
        # where production stops in the contexts that are run
        self.stop: Crash | None = None
        # branches that go on together
        self.together = STREAMED if together is None else together
        self._gates = gates
        self._caps = caps if caps is not None and caps.concerns(step) else None
        self._spares = spares

    def twin(self) -> StepExecutor:
        """Return the same step, whose kernel remembers nothing, with counts of its own."""
        return type(self)(
            self.step,
            self.kernel.fork(),
            self._gates,
            caps=self._caps,
            spares=self._spares,
            together=self.together,
        )

    def run(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        """Run contexts through the step, firing timers up to a moment; count and record the outcome."""
        started = time.perf_counter()
        if self._spares:
            outcome = self._run_sparing(contexts, until, recorder)
        else:
            outcome = self._outcome(contexts, until)
            recorder.write(self.step, contexts, self.kept_back(outcome))
        if self.holds(outcome):
            assert self._caps is not None
            self._caps.hold(self.step, contexts, outcome)
        self.counts.count(len(contexts), outcome)
        if self.step.can_crash:
            self.counts.meet(Crash.among(self.step, outcome))
        self.counts.seconds += time.perf_counter() - started
        return outcome

    def has_work(self, contexts: ContextBatch) -> bool:
        """Return True if something may come out: without contexts only timers can do something."""
        return len(contexts) > 0 or self.step.timed

    def holds(self, outcome: StepOutcome) -> bool:
        """Return True if the deliveries wait until the caps of their sinks have counted them."""
        return self._caps is not None and outcome.delivered is not None

    def kept_back(self, outcome: StepOutcome) -> StepOutcome:
        """Return the outcome without deliveries that wait for caps."""
        return replace(outcome, delivered=None) if self.holds(outcome) else outcome

    def stream(self, contexts: ContextBatch) -> list[ContextBatch]:
        """Cut contexts so that no piece makes more branches than are processed together."""
        most = self.kernel.most_branches(contexts) if len(contexts) > 1 else None
        if most is None or int(most.sum()) <= self.together:
            return [contexts]
        total, pieces, at = np.cumsum(most), [], 0
        while at < len(contexts):
            before = int(total[at - 1]) if at else 0
            end = max(int(np.searchsorted(total, before + self.together, side="right")), at + 1)
            pieces.append(contexts.slice(at, end))
            at = end
        return pieces

    def _outcome(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        outcome = self.kernel.run(contexts, until)
        if self._gates:
            outcome = apply_preferences(self._gates, self.step, outcome)
        return outcome if self.stop is None else self.stop.cut(self.step, outcome)

    def _run_sparing(self, contexts: ContextBatch, until: Until, recorder: Recorder) -> StepOutcome:
        """Return the outcome of the contexts that raise no error; the others fail.

        A kernel that remembers nothing is tried on halves until those contexts are found. One that remembers
        may have taken note of some already: all that came with them fail.
        """
        try:
            outcome = self._outcome(contexts, until)
            branch = recorder.branch()
            branch.write(self.step, contexts, outcome)
            if self.holds(outcome):
                # now it is known that they can be written
                branch = recorder.branch()
                branch.write(self.step, contexts, self.kept_back(outcome))
            recorder.join(branch)
            return outcome
        # whatever it is, it must not stop the other flows: these contexts fail with it
        except Exception as error:
            culprits = self._culprits(contexts, error)
        codes = np.zeros(len(contexts), np.int32)
        for number, (rows, _) in enumerate(culprits, 1):
            codes[rows] = number
        failed = Failed(contexts, Failures(codes, tuple(text_of_error(error) for _, error in culprits)))
        good = contexts.take(np.flatnonzero(codes == 0))
        recorder.write(self.step, contexts, StepOutcome(good, failed=(failed,)))
        rest = self._run_sparing(good, until, recorder) if len(good) else StepOutcome(good)
        return replace(rest, failed=(failed, *rest.failed))

    def _culprits(self, contexts: ContextBatch, error: Exception) -> list[tuple[Index, Exception]]:
        """Return the contexts that raise, in groups that do so together, each with its error."""
        everything = np.arange(len(contexts))
        if not self.step.stateless or isinstance(error, FlowError):
            return [(everything, error)]
        return list(self._search(contexts, everything, error))

    def _search(
        self, contexts: ContextBatch, rows: Index, error: Exception
    ) -> Iterator[tuple[Index, Exception]]:
        """Yield the contexts among `rows` that raise, each with its error; `error` is what all of `rows`
        together raised.
        """
        if len(rows) == 1:
            yield rows, error
            return
        found = False
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            try:
                self.kernel.fork().run(contexts.take(half), Until(0))
            # the same error as before, or another one: it is what is looked for
            except Exception as again:
                found = True
                yield from self._search(contexts, half, again)
        if not found:
            # they raise only together
            yield rows, error


def run_steps(
    steps: Sequence[StepExecutor],
    contexts: ContextBatch,
    until: Until,
    recorder: Recorder,
    trace: OutcomeSink | None = None,
) -> None:
    """Take contexts through the steps of a branch, which follow the ones that feed them."""
    first = steps[0].step
    _run_places(steps, range(first.size), {first.after: contexts}, until, recorder, trace)


def _run_places(
    steps: Sequence[StepExecutor],
    places: range,
    passed: dict[int, ContextBatch],
    until: Until,
    recorder: Recorder,
    trace: OutcomeSink | None,
) -> None:
    """Take what the step before them has let pass through consecutive steps that it feeds."""
    for place in places:
        step = steps[place]
        entered = passed[step.step.after]
        if not step.has_work(entered):
            passed[place] = entered
            if trace is not None:
                trace.write(step.step, entered, StepOutcome(entered))
            continue
        behind = range(place + 1, place + step.step.size)
        if step.step.fans_out:
            *early, entered = step.stream(entered)
            for piece in early:
                own = {step.step.after: piece}
                here = range(place, behind.stop)
                _run_places(steps, here, own, replace(until, clock=last_moment(piece)), recorder, trace)
        outcome = step.run(entered, until, recorder)
        if trace is not None and not step.holds(outcome):
            trace.write(step.step, entered, outcome)
        *early, passed[place] = _pieces(outcome.passed, step.together)
        for piece in early:
            _run_places(
                steps, behind, {place: piece}, replace(until, clock=last_moment(piece)), recorder, trace
            )


def _pieces(contexts: ContextBatch, most: int) -> list[ContextBatch]:
    """Cut contexts into pieces of at most `most`: one event may have more branches."""
    return [contexts.slice(at, at + most) for at in range(0, len(contexts), most)] or [contexts]


def last_moment(contexts: ContextBatch) -> int:
    """Return how far timers fire with a piece of a batch: its last moment.

    A later piece may still have contexts of this moment: timers due by then fire before all of them.
    """
    return int(np.max(contexts.moment[-1:]))
