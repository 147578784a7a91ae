"""The steps of a plan at work: kernels in a tree, each with the count of what became of its contexts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import Versions
from flowdsl.engine.crashes import STOPPED, Crash
from flowdsl.engine.recipient_filter import RecipientFilter, refusals
from flowdsl.errors import FlowError
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import Stage
from flowdsl.kernels.kernel import EventRefs, Kernel, Refused
from flowdsl.operators.base import Kind
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Mask

# numbers of branches that are counted in an array
_USUAL = 1 << 16
# branches that go on together: more only cost memory
STREAMED = 1 << 21


class FanOutHistogram:
    """How many branches a fan-out made of each context: how often each number came, and where the largest was."""

    def __init__(self) -> None:
        # by number of branches; the few that are larger than it has room for are counted one by one
        self._usual: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._huge: Counter[int] = Counter()
        self.largest = 0
        self.seq_no = 0

    def count(self, branches: Index, contexts: ContextBatch) -> None:
        """Take in the branches of these contexts; those without any were dropped and do not count."""
        largest = int(branches.max(initial=0))
        if largest >= _USUAL:
            self._huge.update(branches[branches >= _USUAL].tolist())
        self._add_usual(np.bincount(branches[branches < _USUAL] if largest >= _USUAL else branches))
        if largest and largest >= self.largest:
            at = int(branches.argmax())
            self._meet(largest, int(contexts.slice(at, at + 1).seq[0]))

    def add(self, other: FanOutHistogram) -> None:
        """Count what was counted elsewhere."""
        self._add_usual(other._usual)
        self._huge.update(other._huge)
        self._meet(other.largest, other.seq_no)

    def counts(self) -> list[tuple[int, int]]:
        """Each number of branches, from 1 on, and how many contexts had so many."""
        usual = np.flatnonzero(self._usual)
        usual = usual[usual > 0]
        return [*zip(usual.tolist(), self._usual[usual].tolist(), strict=True), *sorted(self._huge.items())]

    def _add_usual(self, counts: npt.NDArray[np.int64]) -> None:
        if len(counts) > len(self._usual):
            self._usual, counts = counts.copy(), self._usual
        self._usual[: len(counts)] += counts

    def _meet(self, largest: int, seq_no: int) -> None:
        # of equally large ones the earliest, however the work was cut
        if (largest, -seq_no) > (self.largest, -self.seq_no):
            self.largest, self.seq_no = largest, seq_no


@dataclass
class StepCounts:
    """What became of the contexts that entered a step."""

    held_before: int = 0
    entered: int = 0
    extra_branches: int = 0
    passed: int = 0
    failed: int = 0
    absorbed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """By sink, what its preferences kept from it."""
    seconds: float = 0.0
    sizes: FanOutHistogram = field(default_factory=FanOutHistogram)
    crash: Crash | None = None
    """The first context at which production crashes, where one does."""

    def add(self, other: StepCounts) -> None:
        """Count what another tally of the same step counted."""
        self.entered += other.entered
        self.extra_branches += other.extra_branches
        self.passed += other.passed
        self.failed += other.failed
        self.absorbed += other.absorbed
        self.dropped += other.dropped
        self.refused += other.refused
        self.seconds += other.seconds
        self.sizes.add(other.sizes)
        self.meet(other.crash)

    def meet(self, crash: Crash | None) -> None:
        """Note a crash, if it is before the one that is known."""
        if crash is not None and (self.crash is None or crash < self.crash):
            self.crash = crash


class Recorder(Protocol):
    """Takes down what comes out of a run."""

    def delivered(
        self,
        stage: Stage,
        contexts: ContextBatch,
        payload: Payload,
        recipient: Column,
        refused: Refused | None,
    ) -> None:
        """Contexts that reached sinks; `refused` says which of them did not reach one of the sinks."""
        ...

    def failed(self, stage: Stage, contexts: ContextBatch, failures: Failures) -> None: ...

    def dropped(self, stage: Stage, contexts: ContextBatch, rows: Index, reason: str) -> None: ...

    def dropped_earlier(self, stage: Stage, members: EventRefs, reason: str) -> None: ...

    def late(self, chunk: Chunk, rows: Index) -> None:
        """Events older than the clock at which they were processed."""
        ...

    def ahead(self, chunk: Chunk, rows: Index) -> None:
        """Events dated in the future that leave the clock where it is."""
        ...

    def unmatched(self, chunk: Chunk, rows: Index) -> None:
        """Deletions that met no link and no entity."""
        ...

    def branch(self) -> Recorder:
        """A recorder for one piece of work, whose records are put in their place by `join`."""
        ...

    def join(self, branch: Any) -> None:
        """Take over what a piece of work recorded."""
        ...

    def held_versions(self) -> Iterable[Versions]:
        """Entity versions that it still refers to."""
        ...

    def held_codes(self) -> Iterator[Any]:
        """Codes of ids that it still refers to."""
        ...

    def renumber(self, mapping: Versions) -> None:
        """Entity versions got new numbers."""
        ...


class Observer(Protocol):
    """Watches every step, for `explain`."""

    def step(self, stage: Stage, entered: ContextBatch, passed: ContextBatch) -> None: ...

    def dropped(self, stage: Stage, contexts: ContextBatch, rows: Index, reason: str) -> None: ...

    def dropped_earlier(self, stage: Stage, members: EventRefs, reason: str) -> None: ...

    def failed(self, stage: Stage, contexts: ContextBatch, failures: Failures) -> None: ...

    def gathered(self, stage: Stage, members: EventRefs, batches: ContextBatch, which: Index) -> None: ...

    def delivered(
        self, stage: Stage, contexts: ContextBatch, payload: Payload, recipient: Column
    ) -> None: ...

    def refused(self, stage: Stage, contexts: ContextBatch, refused: Refused) -> None:
        """Of contexts that reached sinks, which did not reach one of them."""
        ...


class StepExecutor:
    """One step of the tree: its kernel, its tally, and the steps after it."""

    def __init__(self, stage: Stage, kernel: Kernel | None = None, *, spares: bool = False) -> None:
        self.stage = stage
        self.spares = spares
        self.kernel = kernel or stage.step.kernel(stage.rules)
        self.tally = StepCounts(held_before=self.kernel.held)
        self.next = [StepExecutor(s, spares=spares) for s in stage.next]
        self.horizon = 0
        self.ending = False
        self.gates: Mapping[str, RecipientFilter] = {}
        # where production stops in the contexts that are run
        self.stop: Crash | None = None
        # the last event that was fanned out, and how many branches it has so far
        self._fanned = (-1, 0)
        self._recorder: Recorder | None = None
        self._observer: Observer | None = None

    def everywhere(self) -> Iterator[StepExecutor]:
        """This stage and all after it."""
        yield self
        for stage in self.next:
            yield from stage.everywhere()

    def tell(self, recorder: Recorder, observer: Observer | None = None) -> None:
        """Who is told of outcomes from now on."""
        for stage in self.everywhere():
            stage._recorder, stage._observer = recorder, observer or stage._observer

    def hush(self) -> Observer | None:
        """Tell nobody who watches of outcomes; whoever did."""
        observer, self._observer = self._observer, None
        return observer

    def twin(self) -> StepExecutor:
        """The same steps with the same kernels, which remember nothing, and counts of their own."""
        twin = StepExecutor(self.stage, self.kernel, spares=self.spares)
        twin.gates = self.gates
        twin.next = [stage.twin() for stage in self.next]
        return twin

    def count(self, twin: StepExecutor) -> None:
        """Add what a twin counted."""
        for one, other in zip(self.everywhere(), twin.everywhere(), strict=True):
            one.tally.add(other.tally)

    def push(self, contexts: ContextBatch, horizon: int, *, ending: bool = False) -> None:
        """Take contexts through this step and all after it, timers firing up to `horizon`."""
        *early, last = self._streamed(contexts)
        for piece in early:
            # a later piece may still have contexts of this moment: timers due by then fire before all of them
            self._push(piece, int(np.max(piece.moment[-1:])), ending=False)
        self._push(last, horizon, ending=ending)

    def _streamed(self, contexts: ContextBatch) -> list[ContextBatch]:
        """Contexts in pieces that make no more branches each than can go on together."""
        most = self.kernel.most_branches(contexts) if len(contexts) > 1 else None
        if most is None or int(most.sum()) <= STREAMED:
            return [contexts]
        total, pieces, at = np.cumsum(most), [], 0
        while at < len(contexts):
            before = int(total[at - 1]) if at else 0
            end = max(int(np.searchsorted(total, before + STREAMED, side="right")), at + 1)
            pieces.append(contexts.slice(at, end))
            at = end
        return pieces

    def _push(self, contexts: ContextBatch, horizon: int, *, ending: bool) -> None:
        self.horizon, self.ending = horizon, ending
        started = time.perf_counter()
        passed = run_spared(self, contexts) if self.spares else self.kernel.run(contexts, self)
        if self.stop is not None:
            passed = self._before(self.stop, passed)
        self.tally.seconds += time.perf_counter() - started
        self.tally.entered += len(contexts)
        self.tally.passed += len(passed)
        if self._observer is not None:
            self._observer.step(self.stage, contexts, passed)
        for stage in self.next:
            stage.push(passed, horizon, ending=ending)

    def _before(self, stop: Crash, passed: ContextBatch) -> ContextBatch:
        """Without the branches that production does not come to any more."""
        behind = stop.behind(passed)
        if not behind.any():
            return passed
        self.dropped(passed, np.flatnonzero(behind), STOPPED)
        return passed.take(np.flatnonzero(~behind))

    @property
    def observed(self) -> bool:
        """Whether somebody watches single contexts."""
        return self._observer is not None

    # -- what kernels tell -----------------------------------------------------------------------------

    def dropped(self, contexts: ContextBatch, rows: Index, reason: str) -> None:
        """These contexts end here, on purpose."""
        if len(rows):
            self.tally.dropped[reason] += len(rows)
            self._told().dropped(self.stage, contexts, rows, reason)
            if self._observer is not None:
                self._observer.dropped(self.stage, contexts, rows, reason)

    def dropped_earlier(self, members: EventRefs, reason: str) -> None:
        """Contexts held since earlier end here."""
        if len(members.seq):
            self.tally.dropped[reason] += len(members.seq)
            self._told().dropped_earlier(self.stage, members, reason)
            if self._observer is not None:
                self._observer.dropped_earlier(self.stage, members, reason)

    def failed(self, contexts: ContextBatch, failures: Failures) -> None:
        """The contexts where `failures` says so end here."""
        if self.stage.rules.crashes and (crashed := failures.crashed) is not None:
            if self.stop is not None and self.stop.step == self.stage.number:
                here = crashed & self.stop.at(contexts)
                self.dropped(contexts, np.flatnonzero(here), STOPPED)
                rest = failures.only(~here)
                if rest is None:
                    return
                failures = rest
            else:
                flow, step = self.stage.flows[0], self.stage.number
                self.tally.meet(Crash.first(contexts, failures, crashed, flow, step))
        self.tally.failed += int(np.count_nonzero(failures.codes))
        self._told().failed(self.stage, contexts, failures)
        if self._observer is not None:
            self._observer.failed(self.stage, contexts, failures)

    def branched(self, contexts: ContextBatch, branches: Index) -> None:
        """A fan-out made so many branches of each of these contexts."""
        self.tally.extra_branches += int((branches - 1).clip(0).sum())
        self.tally.sizes.count(branches, contexts)

    def too_many(self, contexts: ContextBatch, branches: Index, most: int) -> Mask | None:
        """Which contexts would give their event more than `most` branches, with those made before; None where none does."""
        if not len(contexts):
            return None
        seq = contexts.seq
        event, made = self._fanned
        begins = np.flatnonzero(np.diff(seq, prepend=seq[0] - 1))
        total = np.cumsum(branches)
        # of each context, what its event has up to and with it
        before = np.where(begins > 0, total[begins - 1], 0)
        before[0] -= made if seq[0] == event else 0
        so_far = total - np.repeat(before, np.diff(begins, append=len(seq)))
        self._fanned = int(seq[-1]), int(so_far[-1])
        over: Mask = so_far > most
        return over if over.any() else None

    def absorbed(self, count: int) -> None:
        """So many contexts went into batches that go on as one each."""
        self.tally.absorbed += count

    def gathered(self, members: EventRefs, batches: ContextBatch, which: Index) -> None:
        """The contexts in batches that go on, and which of `batches` each went into."""
        if self._observer is not None:
            self._observer.gathered(self.stage, members, batches, which)

    @property
    def last(self) -> bool:
        """Whether no deliver step follows."""
        return self.stage.last

    def refusals(self, payload: Payload, recipient: Column) -> Refused | None:
        """Which contexts the preferences that a sink keeps hold back, by sink; None where nobody is held back."""
        refused = refusals(self.gates, self.stage.step.sinks, payload, recipient)  # type: ignore[attr-defined]
        self.tally.refused.update({sink: int(np.count_nonzero(mask)) for sink, mask in refused.items()})
        return refused or None

    def delivered(
        self, contexts: ContextBatch, payload: Payload, recipient: Column, refused: Refused | None = None
    ) -> None:
        """These contexts reached sinks; `refused` says which of them did not reach one of the sinks."""
        self._told().delivered(self.stage, contexts, payload, recipient, refused)
        if self._observer is not None:
            self._observer.delivered(self.stage, contexts, payload, recipient)
            if refused:
                self._observer.refused(self.stage, contexts, refused)

    @contextmanager
    def tentatively(self) -> Iterator[None]:
        """Within it outcomes count only if it ends without an error."""
        recorder, tally = self._told(), self.tally
        branch = recorder.branch()
        self._recorder, self.tally = branch, StepCounts()
        try:
            yield
            recorder.join(branch)
            tally.add(self.tally)
        finally:
            self._recorder, self.tally = recorder, tally

    def _told(self) -> Recorder:
        assert self._recorder is not None
        return self._recorder


# -- an error that nobody expected -----------------------------------------------------------------------


class _Unheard:
    """A step run of which nobody hears: it is tried out which contexts a kernel can take."""

    horizon, ending, observed = 0, False, False

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def run_spared(step: StepExecutor, contexts: ContextBatch) -> ContextBatch:
    """What goes on, where an unexpected error fails the contexts that met it, and no others.

    A kernel that remembers nothing is tried on halves until those contexts are found. One that remembers may have
    taken note of some already: all that came with them fail.
    """
    try:
        with step.tentatively():
            return step.kernel.run(contexts, step)
    # whatever it is, it must not stop the other flows; it is told as the failure of these contexts
    except Exception as error:
        culprits = _culprits(step, contexts, error)
    codes = np.zeros(len(contexts), np.int32)
    for number, (rows, _) in enumerate(culprits, 1):
        codes[rows] = number
    step.failed(contexts, Failures(codes, tuple(_said(error) for _, error in culprits)))
    good = contexts.take(np.flatnonzero(codes == 0))
    return run_spared(step, good) if len(good) else good


def _culprits(step: StepExecutor, contexts: ContextBatch, error: Exception) -> list[tuple[Index, Exception]]:
    """The contexts that raise, in groups that do so together, each with its error."""
    everything = np.arange(len(contexts))
    if step.stage.step.kind not in (Kind.PER_EVENT, Kind.SINK) or isinstance(error, FlowError):
        return [(everything, error)]
    return list(_searched(step, contexts, everything, error))


def _searched(
    step: StepExecutor, contexts: ContextBatch, rows: Index, error: Exception
) -> Iterator[tuple[Index, Exception]]:
    """The contexts among `rows` that raise, each with its error; `error` is what all of `rows` together raised."""
    if len(rows) == 1:
        yield rows, error
        return
    found = False
    for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        try:
            step.kernel.run(contexts.take(half), _Unheard())
        # the same error as before, or another one: it is what is looked for
        except Exception as again:
            found = True
            yield from _searched(step, contexts, half, again)
    if not found:
        # they cannot be told apart: only together they raise
        yield rows, error


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
