"""The run of one part: some events of the log, at the clock of the whole log, through the local kernels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.engine.executor import StepExecutor
from flowdsl.engine.local import ChunkRun, ExecutorFactory, LocalExecutor, Reading, without_ahead
from flowdsl.engine.range import BEGINNING, micros
from flowdsl.engine.scheduler import Worker
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.event_rows import EventRows
from flowdsl.results.store import Store
from flowdsl.results.table_writer import TableRecorder
from flowdsl.spark.failures import PartRecorder
from flowdsl.spark.job import Job, PartTotals
from flowdsl.spark.rows import events_of
from flowdsl.values.json_types import Ints, Mask

# branches that run together in a task, which has less memory than a replay on one machine
_TOGETHER: Final = 1 << 18


class OwnLinks(NamedTuple):
    """The events of links that one shard has, and the events as they change the graph there, if otherwise."""

    mask: Mask
    changes: pl.DataFrame | None


class PartExecutor(LocalExecutor):
    """One partition of a replay: a run over those events that it was sent, at the clock of the whole log."""

    def __init__(
        self,
        job: Job,
        plan: Plan,
        store: Store,
        executors: ExecutorFactory = StepExecutor,
        linked: EntityGraph | None = None,
        *,
        gathers: bool = False,
    ) -> None:
        """Start a run, in a shard over a graph `linked` with what is shared out. The one part that `gathers`
        the changes of a final graph tells what met nothing.
        """
        self.broken = 0
        start, needs = linked or job.start(), plan.needs
        if job.parted and linked is None:
            # they are in the shards
            rest = frozenset(link for link in needs.links if link[0] not in job.parted)
            needs = replace(needs, links=rest)
        graph = start.start(needs, plan.rules)
        recorder = PartRecorder(store, trace=job.trace)
        recorder.whole = job.whole
        super().__init__(plan, graph, recorder, executors=partial(executors, together=_TOGETHER))
        # a task has one core, and a gate no twin
        self._workers = [Worker(branches, alone=True) for _, branches in self._entries]
        if job.final_graph:
            for frame in job.all_changes().iter_slices(job.chunk_size):
                self._change_graph(events_of(frame), reported=gathers)
            graph.frozen = True

    def take_range(self, frame: pl.DataFrame, own: Mask, job: Job, pool: ThreadPoolExecutor) -> Ints:
        """Take some of the events of a range through the flows, and return the clock at each; those that are
        not its `own` come before it, and only change the graph.
        """
        events = self._read(frame, own)
        seq = events.frame["seq_no"].to_numpy()
        times = np.where(own, micros(events.frame), BEGINNING)
        moving, still = without_ahead(times, seq, job.ahead)
        clock = self._clock(np.where(own, moving, BEGINNING), seq, job.marks)
        chunk = Chunk(events, clock, self.graph, seq_before=self.position)
        unmet = self.graph.advance(events)
        runs = job.span.runs(chunk, times)
        late = np.flatnonzero(own & (times < clock))
        self._note(chunk, late, still[own[still]], unmet[own[unmet]])
        self._take_chunk(chunk, own if runs is None else runs & own, pool)
        return clock

    def take_shard(
        self,
        frame: pl.DataFrame,
        own: Mask,
        clock: Ints,
        pool: ThreadPoolExecutor,
        links: OwnLinks | None = None,
    ) -> None:
        """Take some of the events of a shard through the flows; those that are not its `own` only change the
        graph. Where links are shared out it says which of them are of `links` of this shard.
        """
        events = self._read(frame, own)
        chunk = Chunk(events, clock, self.graph, seq_before=self.position)
        changes = None if links is None else links.changes
        unmet = self.graph.advance(events if changes is None else EventRows(changes, self.graph.interner))
        if links is not None and len(unmet := unmet[links.mask[unmet]]):
            self.recorder.note_unmatched(chunk, unmet)
        self._take_chunk(chunk, own, pool)

    def take_whole(self, frame: pl.DataFrame, job: Job, pool: ThreadPoolExecutor) -> None:
        """Take the next events of the whole log through the flows."""
        self._run_chunk(self._read(frame, None), Reading(job.span, job.marks, job.ahead, pool))

    def end(self, job: Job) -> None:
        """End the log."""
        if self.stopped is None:
            if self.position < job.last:
                # events of other partitions also move the clock, and so fire timers that are due
                self.clock = job.final_clock
                self._advance(self.clock, ending=False)
            self.move_clock(job.final_clock)
            if job.open_windows == "flush":
                self.flush()

    def part_totals(self) -> PartTotals:
        """Return the totals of this partition."""
        recorder = self.recorder
        assert isinstance(recorder, TableRecorder)
        return PartTotals(
            [(one.counts, one.kernel.held, _open(one)) for one in self.steps],
            recorder.delivered_count,
            recorder.late_count,
            recorder.ahead_count,
            recorder.unmatched_count,
            self.broken,
            self.events,
            self.position,
            None if self.began is None else (self.began, self.clock),
            self.stopped,
        )

    def _read(self, frame: pl.DataFrame, own: Mask | None) -> EventRows:
        events = EventRows(frame, self.graph.interner, self.plan.event_paths)
        events.prepare(self.plan.id_columns)
        if self.plan.event_paths:
            events.narrow(self._find_triggered(events) if own is None else self._find_triggered(events) & own)
        return events

    def _take_chunk(self, chunk: Chunk, runs: Mask, pool: ThreadPoolExecutor) -> None:
        self._run_flows(ChunkRun(chunk, runs, int(chunk.clock[-1]), pool), self.recorder)
        self.graph.commit()
        self.clock, self.position = int(chunk.clock[-1]), int(chunk.seq[-1])
        self._compact()


def _open(step: StepExecutor) -> list[tuple[tuple[int, ...], dict[str, Any]]]:
    rows = step.kernel.open()
    # by production's rules the whole plan is run in one part, and its windows are in order already
    places = step.kernel.opened_by() or [(number,) for number in range(len(rows))]
    return list(zip(places, rows, strict=True))
