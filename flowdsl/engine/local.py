"""The engine of one machine: reads a log chunk by chunk and takes each chunk through all flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
import polars as pl

from flowdsl.batches.chunk import Chunk, Micros
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import EntityVariable, Versions
from flowdsl.engine.counts import StepCounts, StepTotals
from flowdsl.engine.crashes import Crash, Stopped
from flowdsl.engine.executor import OutcomeSink, Recorder, StepExecutor, run_steps
from flowdsl.engine.range import BEGINNING, CHUNK, LARGE_CHUNK, ReplayRange, micros
from flowdsl.engine.recipient_filter import RecipientFilter
from flowdsl.engine.scans import scan
from flowdsl.engine.scheduler import WORKERS, Worker
from flowdsl.engine.sink_caps import SinkCaps
from flowdsl.engine.state import State, StepState, flows_of
from flowdsl.events import JSON_COLUMNS
from flowdsl.flow.plan import CompiledStep, Entry, Plan
from flowdsl.graph.state import GraphEvents, GraphState
from flowdsl.graph.versions import Compaction
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import FOREVER, Until
from flowdsl.log import EventSource
from flowdsl.log.columns import empty_events, readable
from flowdsl.log.document_paths import take_off
from flowdsl.log.event_rows import EventRows
from flowdsl.log.pushdown import ScanFilter
from flowdsl.operators.scope import TRIGGER_VARIABLES
from flowdsl.progress import Tick, noop, wait_with_progress
from flowdsl.values.json_types import Index, Ints, Mask

ALL_AT_ONCE = 1 << 62
# fewer events are prepared sooner than a thread starts
PREPARED_APART = 1 << 14
# the events among those of a frame that do not move the clock (µs), which is as given before them: `seq_no`,
# `clock`
Judge = Callable[[pl.DataFrame, int], pl.DataFrame]
ExecutorFactory = Callable[..., StepExecutor]


@dataclass(frozen=True)
class Reading:
    """Range of a log that is read, its clock marks, the events that do not move the clock, and threads."""

    span: ReplayRange
    marks: pl.DataFrame
    ahead: pl.DataFrame
    pool: ThreadPoolExecutor


@dataclass(frozen=True)
class ChunkRun:
    """The run of the flows over a chunk: on which of its events, or all, and up to when timers fire (µs)."""

    chunk: Chunk
    runs: Mask | None
    horizon: int
    pool: ThreadPoolExecutor


class LocalExecutor:
    """One replay: the compiled steps, the graph and the clock, taken through a log."""

    def __init__(
        self,
        plan: Plan,
        graph: GraphState,
        recorder: Recorder,
        trace: OutcomeSink | None = None,
        steps: Iterable[StepState] = (),
        *,
        spares: bool = False,
        gates: Mapping[str, RecipientFilter] | None = None,
        executors: ExecutorFactory = StepExecutor,
    ) -> None:
        """Start a run; `steps` is what the steps of the plan remember. `spares`: an unexpected error of a
        step fails the contexts that met it, and the run goes on. `executors` makes what runs a step.
        """
        self.plan = plan
        self.graph = graph
        self.recorder = recorder
        self.clock = BEGINNING
        self.position = 0
        # the first event behind the end, where the log has one
        self._behind = FOREVER
        # text columns of which most of the last chunk was needed as codes
        self._coded: tuple[str, ...] = ()
        self.events = 0
        # the clock (µs) at the first event of this run
        self.began: int | None = None
        # where production stopped, by rules by which it can
        self.stopped: Stopped | None = None
        self._may_stop = plan.may_stop
        # versions of entities that are moved after a chunk, once many are unused
        self.at_once = ALL_AT_ONCE
        self._compaction: Compaction | None = None
        given = {step.fingerprint: step.kernel for step in steps}
        kernels = [_kernel_of(step, given) for step in plan.cap_steps]
        self.caps = SinkCaps(plan, kernels) if kernels else None  # type: ignore[arg-type]

        def executor(step: CompiledStep) -> StepExecutor:
            return executors(step, _kernel_of(step, given), gates or {}, caps=self.caps, spares=spares)

        branches = [[list(map(executor, branch)) for branch in entry.branches] for entry in plan.entries]
        self._entries = list(zip(plan.entries, branches, strict=True))
        self.steps = list(chain.from_iterable(chain.from_iterable(branches)))
        self._timed = [one for one in self.steps if one.step.timed]
        self._trace = trace
        alone = self._runs_alone()
        self._workers = [Worker(steps_of, alone=alone) for steps_of in branches]
        # what is known of a chunk as a whole must be known before the next one
        self._overlaps = not (alone or self._may_stop or self.caps)

    def _runs_alone(self) -> bool:
        """Return True if a trace, functions of the user or fetchers expect a single thread."""
        calls_functions = any(step.paths is None for step in self.plan.steps)
        return self._trace is not None or bool(self.graph.fetchers) or calls_functions

    def run(
        self,
        source: EventSource,
        span: ReplayRange,
        *,
        chunk_size: int | None = None,
        progress: Tick = noop,
        columns: frozenset[str] | None = None,
        judge: Judge | None = None,
    ) -> None:
        """Take the events after the current position through the flows; none where production has stopped.

        `judge` says which events do not move the clock, where the log itself does not say it.
        """
        if self.stopped is not None:
            return
        marks, ahead = source.clock_marks(), source.ahead_marks()
        wanted = self.plan.event_columns if columns is None else columns
        passed: list[int] = []
        interest = self._interest(marks, ahead, span, passed.append, whole=judge is not None)
        size = chunk_size or _chunk_size(source, self.plan)
        prepared = scan(
            source,
            (self.graph.interner, self.graph.tables),
            (wanted, size, self.plan.interest, self.plan.id_columns, self.graph.scanned),
            lambda: self._prepare(source.chunks(wanted, size, self.position, interest), span),
            whole=self.position == 0 and span.endless,
        )
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="flowdsl-run") as pool:
            reading = Reading(span, marks, ahead, pool)
            for events, read in prepared:
                if judge is not None:
                    reading = replace(reading, ahead=judge(events.frame, self.clock))
                self._run_chunk(events, reading, read)
                self._coded = tuple(events.mostly_coded)
                more = sum(passed.pop() for _ in range(len(passed)))
                self.events += more
                progress(len(events) + more)
                if self.stopped is not None:
                    return
            self._settle_workers()
        self.events += sum(passed)
        self._mark_clock(marks, self._behind)

    def _interest(
        self,
        marks: pl.DataFrame,
        ahead: pl.DataFrame,
        span: ReplayRange,
        passed: Callable[[int], None],
        *,
        whole: bool,
    ) -> ScanFilter:
        """Return what of a log matters from here on; `passed` is called with the number of events left out,
        unless the `whole` is wanted.
        """
        # a mark may put the clock past events to come: they are late, and are reported with their ids
        latest = marks["clock"].cast(pl.Datetime("us", "UTC")).to_physical().max() if marks.height else None
        return replace(
            self.plan.interest,
            clock=self.clock if latest is None else max(self.clock, int(latest)),  # type: ignore[arg-type]
            stop=(span.stop, span.stop_time),
            # if production may stop, the number of events before must be known
            passed=None if self.plan.timed or self._may_stop or whole else passed,
            ahead=tuple(ahead["seq_no"].to_list()),
        )

    def follow(
        self, frame: pl.DataFrame, marks: pl.DataFrame, ahead: pl.DataFrame, pool: ThreadPoolExecutor
    ) -> None:
        """Take the next events of a log through the flows; `marks` are the clock marks made before the last
        of them.

        `ahead` says which of them do not move the clock.
        """
        events = EventRows(readable(frame), self.graph.interner, self.plan.event_paths)
        if not len(events):
            return
        events.prepare(self.plan.id_columns)
        self._run_chunk(events, Reading(ReplayRange(), marks, ahead, pool))
        self._settle_workers()

    def move_clock(self, clock: int) -> None:
        """Move the clock (µs) without an event: timers fire up to it."""
        if clock > self.clock:
            self.clock = clock
            self._advance(clock, ending=False)

    def next_deadline(self) -> int | None:
        """Return the earliest deadline of a timer (µs), or None if none is set."""
        due = (one.kernel.next_deadline() for one in self._timed)
        return min((clock for clock in due if clock is not None), default=None)

    def last_deadline(self, until: int) -> int | None:
        """Return the latest deadline of a timer up to `until` (µs), or None."""
        first = self.next_deadline()
        if first is None or first > until:
            return None
        due = [d for one in self._timed if len(d := one.kernel.deadlines())]
        return max(int(passed.max()) for d in due if len(passed := d[d <= until]))

    def _prepare(
        self, frames: Iterable[pl.DataFrame], span: ReplayRange
    ) -> Iterator[tuple[EventRows, GraphEvents]]:
        """Yield frames with their ids as codes and their JSON parsed, and the changes they make to the graph:
        much of the work of a simple flow, done while the previous frame is run.
        """

        def prepare(frame: pl.DataFrame) -> tuple[EventRows, GraphEvents]:
            # texts in several pieces take a multiple of the time to gather
            rows, read = take_off(readable(frame.rechunk()), self.plan.event_paths)
            events = EventRows(rows, self.graph.interner, self.plan.event_paths)
            events.prepare({*self.plan.id_columns, *self._coded})
            # the masks of types are kept with the events
            met = self._find_triggered(events)
            if self.plan.event_paths:
                events.narrow(met)
            for path, values in read.items():
                events.documents(path[0]).know(path[1:], values)
            for path in self.plan.event_paths:
                events.column(path)
            return events, self.graph.read(events)

        with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-prepare") as pool:
            waiting: Callable[[], tuple[EventRows, GraphEvents]] | None = None
            for whole in _ramp(frames):
                frame, ended = span.cut(whole)
                if ended:
                    self._behind = int(whole["seq_no"][frame.height])
                if frame.height:
                    coming = partial(prepare, frame)
                    if frame.height >= PREPARED_APART:
                        coming = partial(wait_with_progress, pool.submit(coming))
                    if waiting is not None:
                        yield waiting()
                    waiting = coming
                if ended:
                    break
            if waiting is not None:
                yield waiting()

    def _find_triggered(self, events: EventRows) -> Mask:
        """Return which events some trigger takes."""
        met: Mask = np.logical_or.reduce([_meets(entry, events) for entry in self.plan.entries])
        return met

    def gather_final_graph(self, source: EventSource, span: ReplayRange, progress: Tick = noop) -> None:
        """Apply the whole log to the graph, and freeze it."""
        for frame in source.chunks(self.plan.event_columns, CHUNK, self.position):
            frame, ended = span.cut(frame)
            self._change_graph(readable(frame))
            progress(frame.height)
            if ended:
                break
        self.graph.frozen = True

    def _change_graph(self, frame: pl.DataFrame, *, reported: bool = True) -> None:
        """Apply events to the graph alone; deletions that match nothing are `reported`, or not."""
        events = EventRows(frame, self.graph.interner)
        unmet = self.graph.advance(events)
        if reported and len(unmet):
            clock = np.zeros(len(events), np.int64)
            self.recorder.note_unmatched(Chunk(events, clock, self.graph), unmet)
        self.graph.commit()

    def state(self) -> State:
        """Return the state from which a next run continues."""
        flows = flows_of(self.plan)
        labels = [label for label, _ in flows]
        steps = tuple(_state_of(one, labels) for one in self.steps if one.kernel.saved)
        if self.caps is not None:
            steps += self.caps.states()
        return State(self.graph, self.clock, self.position, steps, flows, stopped=self.stopped)

    @property
    def kernels(self) -> list[Kernel]:
        """Kernels of the steps, and those of the caps of sinks."""
        caps = () if self.caps is None else self.caps.kernels
        return [*(one.kernel for one in self.steps), *caps]

    def _settle(self, recorder: Recorder, trace: OutcomeSink | None) -> None:
        if self.caps is not None:
            counts = {id(one.step): one.counts for one in self.steps}
            self.caps.settle(self.graph.interner, counts, recorder, trace)

    def totals(self, *, with_open: bool = True) -> list[StepTotals]:
        """Return the outcomes of the contexts at every step, and with `with_open` the windows and queues that
        hold some.
        """
        return [
            StepTotals(one.step, one.counts, one.kernel.held, one.kernel.open() if with_open else [])
            for one in self.steps
        ]

    def flush(self) -> None:
        """End the log: windows close and queues empty as if time went on."""
        self._advance(FOREVER, ending=True)

    def _run_chunk(self, events: EventRows, reading: Reading, read: GraphEvents | None = None) -> None:
        changes = read or self.graph.read(events)
        if self._overlaps and self._compaction is None and not self.graph.changed_by(changes):
            # what is still on its way sees the same graph
            self._run_events(events, reading, changes, overlap=True)
            return
        self._settle_workers()
        self._run_events(events, reading, changes)
        self.graph.commit()
        self._compact()

    def _run_events(
        self, events: EventRows, reading: Reading, changes: GraphEvents, *, overlap: bool = False
    ) -> None:
        times = micros(events.frame)
        seq = events.frame["seq_no"].to_numpy()
        moving, still = without_ahead(times, seq, reading.ahead)
        clock = self._clock(moving, seq, reading.marks)
        chunk = Chunk(events, clock, self.graph, seq_before=self.position)
        unmet = self.graph.advance(events, changes)
        run = ChunkRun(chunk, reading.span.runs(chunk, times), int(clock[-1]), reading.pool)
        through = len(seq)
        if self._may_stop and (crash := self._crash(run)) is not None:
            through = int(np.searchsorted(seq, crash.seq_no)) + 1
            self._run_until(crash, replace(run, horizon=int(clock[through - 1])))
        late = np.flatnonzero(times[:through] < clock[:through])
        self._note(chunk, late, still[still < through], unmet[unmet < through])
        if not self._may_stop:
            self._run_flows(run, self.recorder, self._trace, overlap=overlap)
        if self.began is None:
            self.began = int(clock[0])
        self.clock, self.position = int(clock[through - 1]), int(seq[through - 1])
        self.events += through

    def _note(self, chunk: Chunk, late: Index, ahead: Index, unmatched: Index) -> None:
        """Write down the events that are late, dated in the future, or delete what is not there."""
        if len(late):
            self.recorder.note_late(chunk, late)
        if len(ahead):
            self.recorder.note_ahead(chunk, ahead)
        if len(unmatched):
            self.recorder.note_unmatched(chunk, unmatched)

    def _crash(self, run: ChunkRun) -> Crash | None:
        """Take a chunk through the flows if production does not stop in it; the crash, and nothing done, if
        it does.
        """
        before = [(one.kernel, one.counts) for one in self.steps]
        recorder = self.recorder.branch()
        for one in self.steps:
            one.kernel, one.counts = one.kernel.fork(), StepCounts()
        self._run_flows(run, recorder)
        crash = min((one.counts.crash for one in self.steps if one.counts.crash is not None), default=None)
        undone = crash is not None or self._trace is not None
        for one, (kernel, counts) in zip(self.steps, before, strict=True):
            if undone:
                one.kernel = kernel
            else:
                counts.add(one.counts)
            one.counts = counts
        if not undone:
            self.recorder.join(recorder)
        elif crash is None:
            # the trace has nothing of it yet
            self._run_flows(run, self.recorder, self._trace)
        return crash

    def _run_flows(
        self, run: ChunkRun, recorder: Recorder, trace: OutcomeSink | None = None, *, overlap: bool = False
    ) -> None:
        for (entry, _), worker in zip(self._entries, self._workers, strict=True):
            contexts = self._trigger(entry, run)
            worker.run(contexts, run.horizon, run.pool, recorder, trace, overlap=overlap)
        self._settle(recorder, trace)

    def _settle_workers(self) -> None:
        for worker in self._workers:
            worker.settle(self.recorder)

    def _run_until(self, crash: Crash, run: ChunkRun) -> None:
        """Take what is before a crash through the flows; of its event the flows after its flow see
        nothing.
        """
        for entry, branches in self._entries:
            triggered = self._trigger(entry, run)
            for branch in branches:
                flow = branch[0].step.flows[0]
                last = crash.seq_no if flow <= crash.flow else crash.seq_no - 1
                for one in branch if flow == crash.flow else ():
                    one.stop = crash
                contexts = triggered.take(np.flatnonzero(triggered.seq <= last))
                worker = Worker([branch], alone=True)
                worker.run(contexts, run.horizon, run.pool, self.recorder, self._trace)
        step = next(s for s in self.plan.steps if s.flows[0] == crash.flow and s.number == crash.step)
        self.stopped = Stopped(
            crash.seq_no,
            self.plan.flows[crash.flow].name,
            crash.step,
            step.method,
            ".".join(map(str, crash.branch)) or None,
            crash.reason,
        )

    def _clock(self, times: Micros, seq: Ints, marks: pl.DataFrame) -> Micros:
        if not marks.height and times[0] >= self.clock and bool((times[1:] >= times[:-1]).all()):
            return times
        clock = times.copy()
        clock[0] = max(clock[0], self.clock)
        if marks.height:
            # a mark after event n moves the clock for event n + 1 and later
            inside = marks.filter(pl.col("seq_no") < int(seq[-1]))
            places = np.searchsorted(seq, inside["seq_no"].to_numpy(), side="right")
            np.maximum.at(
                clock, places, inside["clock"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
            )
        return np.maximum.accumulate(clock)

    def _mark_clock(self, marks: pl.DataFrame, until: int) -> None:
        """Apply the clock marks after the last event: timers fire up to them."""
        if not marks.height:
            return
        inside = marks.filter((pl.col("seq_no") >= self.position) & (pl.col("seq_no") < until))
        if inside.height:
            clocks = inside["clock"].cast(pl.Datetime("us", "UTC")).to_physical()
            self.move_clock(int(clocks.max()))  # type: ignore[arg-type]

    def _advance(self, horizon: int, *, ending: bool) -> None:
        if not self._timed and self._trace is None:
            return
        chunk = self.empty_chunk()
        for entry, branches in self._entries:
            nothing = ContextBatch(chunk, np.zeros(0, np.int64), roots=self._roots(entry))
            for branch in branches:
                run_steps(branch, nothing, Until(horizon, ending), self.recorder, self._trace)
        self._settle(self.recorder, self._trace)

    def _trigger(self, entry: Entry, run: ChunkRun) -> ContextBatch:
        """Return a context for each event that a trigger takes."""
        mask = _meets(entry, run.chunk.events)
        if run.runs is not None:
            mask = mask & run.runs
        rows = np.flatnonzero(mask)
        before = {"before": EntityVariable(run.chunk.graph.before.take(rows))} if entry.before else None
        return ContextBatch(run.chunk, rows, roots=self._roots(entry), variables=before)

    def _roots(self, entry: Entry) -> frozenset[str]:
        own = ("event",) if self.plan.rules.event_variable else ()
        return frozenset({*TRIGGER_VARIABLES[entry.trigger.kind], *own})

    def chunk_apart(self) -> Chunk:
        """Return a chunk without events, over the versions of entities as they are: another thread may
        read them.
        """
        return self.empty_chunk(replace(self.graph, versions=self.graph.versions.fork()))

    def empty_chunk(self, graph: GraphState | None = None) -> Chunk:
        """Return a chunk without events, over the graph as it is."""
        events = EventRows(empty_events().drop(JSON_COLUMNS), self.graph.interner)
        return Chunk(events, np.zeros(0, np.int64), graph or self.graph, seq_before=self.position)

    def _compact(self) -> None:
        if self._compaction is None:
            if not self.graph.crowded(lambda: sum(map(len, self._held_versions()))):
                return
            self._compaction = self.graph.compaction(self._held_versions)
        # while a checkpoint is written what it reads keeps its numbers
        if self._compaction.step(self.at_once) and not self.graph.shared:
            # where no step may take long, numbers are exchanged some at a time, too
            if self.at_once < ALL_AT_ONCE and not self.graph.renumber_some(self._compaction.mapping):
                return
            mapping, self._compaction = self._compaction.finish(), None
            self.graph.renumber(mapping)
            self.recorder.renumber(mapping)
            for one in self.steps:
                one.kernel.renumber(mapping)

    def _held_versions(self) -> Iterator[Versions]:
        for one in self.steps:
            yield from one.kernel.held_versions()
        yield from self.recorder.held_versions()


def _chunk_size(source: EventSource, plan: Plan) -> int:
    """Return how many events are read at once.

    Fewer take less memory, and more take less time: steps that remember go through what they hold for each
    chunk. Functions of the user's may take so long that someone wants to see progress.
    """
    large = source.in_memory or not (plan.stateless or plan.event_columns.intersection(JSON_COLUMNS))
    return LARGE_CHUNK if large and all(step.paths is not None for step in plan.steps) else CHUNK


def _ramp(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield frames, a large first one in two: its beginning is run while the rest is prepared."""
    for number, frame in enumerate(frames):
        if number or frame.height <= CHUNK:
            yield frame
        else:
            yield from (frame.head(CHUNK), frame.slice(CHUNK))


def without_ahead(times: Micros, seq: Ints, ahead: pl.DataFrame) -> tuple[Micros, Ints]:
    """Return times with the clock itself in place of what does not move it, and where that is."""
    if not ahead.height:
        return times, np.zeros(0, np.int64)
    numbers = ahead["seq_no"].to_numpy()
    place = np.searchsorted(numbers, seq).clip(0, len(numbers) - 1)
    rows = np.flatnonzero(numbers[place] == seq)
    moving = times.copy()
    moving[rows] = ahead["clock"].cast(pl.Int64).to_numpy()[place[rows]]
    return moving, rows


def _kernel_of(step: CompiledStep, given: Mapping[str, Kernel]) -> Kernel:
    if step.fingerprint in given:
        return given[step.fingerprint].fork()
    return step.operator.kernel(step.rules)


def _state_of(run: StepExecutor, labels: Sequence[str]) -> StepState:
    step = run.step
    flows = tuple(labels[flow] for flow in step.flows)
    return StepState(step.fingerprint, flows, step.number, step.method, step.operator.text, run.kernel.fork())


def _meets(entry: Entry, events: EventRows) -> Mask:
    """Return which events a trigger takes."""
    mask, wanted = events.of_kinds(entry.trigger.kind), entry.trigger.filter
    return mask if wanted is None else mask & events.of_type(*wanted)
