"""Tasks of a replay on Spark: streams of Arrow batches through the local kernels.

A task reads the rows of its partition in order, holds one chunk of them at a time, and gives back parts of
the tables of the result, the numbers of the run, and, from a range of the log, the events that go to shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.engine.executor import StepExecutor
from flowdsl.engine.local import ExecutorFactory
from flowdsl.errors import DataError
from flowdsl.flow.plan import CompiledStep, Plan
from flowdsl.spark.blocks import (
    EVENTS,
    LINKS,
    NUMBERS,
    Block,
    blocks_in,
    join_blocks,
    outputs_in,
    stretches,
    table_of,
    to_arrow,
    to_batches,
    to_bytes,
)
from flowdsl.spark.events import where_graph_changes
from flowdsl.spark.executors import AbsentExecutor, GateExecutor, RoutingExecutor, SilentExecutor
from flowdsl.spark.job import Job
from flowdsl.spark.layout import Layout
from flowdsl.spark.outputs import Outputs
from flowdsl.spark.part_executor import OwnLinks, PartExecutor
from flowdsl.spark.parted_links import GivenLinks
from flowdsl.spark.rows import (
    Batches,
    events_of,
    frame_of,
    in_parts,
    numbers_in,
    read_stretch,
    without_bad_json,
)
from flowdsl.spark.spread_fans import move_links
from flowdsl.values.json_types import Ints, Mask


class RangeStage:
    """Runs the steps without memory over ranges of the log, and sends events to shards.

    A partition holds some ranges, one after the other.
    """

    number = 0

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Take the rows of a partition."""
        job = self.job
        plan = job.plan()
        layout = job.layout(plan)
        run: _RangeRun | None = None
        starts = np.array(job.starts) if job.in_place else None
        parts = in_files(batches, job, plan) if job.files else in_parts(batches, job.chunk_size, starts)
        with ThreadPoolExecutor(1) as pool:
            for part, frame in parts:
                if run is None or part != run.part:
                    if run is not None:
                        yield from run.ended()
                    run = _RangeRun(job, plan, layout, part)
                yield from run.taken(frame, pool)
            if run is not None:
                yield from run.ended()


def in_files(batches: Batches, job: Job, plan: Plan) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the rows of the ranges with the given numbers, which this process reads from files."""
    changes = where_graph_changes(plan, job.parted) if not job.final_graph else pl.lit(value=False)
    unread = {"link_id"} - plan.event_columns
    for part in numbers_in(batches):
        for rows in read_stretch(job.files[part], plan.event_columns | unread, job.chunk_size):
            rows = rows.with_columns(changes.alias("changes"), own=pl.lit(value=True))
            yield part, rows.drop(unread)


class _RangeRun:
    def __init__(self, job: Job, plan: Plan, layout: Layout, part: int) -> None:
        self._job, self._layout, self.part = job, layout, part
        self._routers: list[RoutingExecutor] = []
        self._outputs = Outputs(job, RangeStage.number, part)
        executors = _by_place(plan, self._executor)
        self._run = PartExecutor(job, plan, self._outputs, executors, gathers=part == 0)
        self._run.clock = job.clocks[part]
        self._last: int | None = None
        self._taken, self._ordered = 0, True
        self._past = job.changes_before(part)

    def _executor(self, place: int, *args: Any, **options: Any) -> StepExecutor:
        if place in self._layout.gates:
            gate = self._layout.gates[place]
            router = RoutingExecutor(*args, gate=gate, shards=self._job.shards, **options)
            self._routers.append(router)
            return router
        return (AbsentExecutor if place in self._layout.behind else StepExecutor)(*args, **options)

    def taken(self, frame: pl.DataFrame, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        own = frame["own"].to_numpy()
        self._taken += int(np.count_nonzero(own))
        self._check_order(frame["seq_no"].filter(frame["own"]))
        if not self._ordered:
            return
        for past in self._past:
            self._ran(past, np.zeros(past.height, np.bool_), pool)
        frame, clock = self._ran(frame, own, pool)
        yield from self._outputs.taken()
        if self._layout.gates:
            assert self._job.schema is not None
            yield from to_batches(self._send(frame, own, clock), self._job.schema)

    def ended(self) -> Iterator[pa.RecordBatch]:
        totals = replace(self._run.part_totals(), part=self.part, taken=self._taken, ordered=self._ordered)
        self._outputs.add_totals(totals)
        yield from self._outputs.taken()

    def _ran(self, frame: pl.DataFrame, own: Mask, pool: ThreadPoolExecutor) -> tuple[pl.DataFrame, Ints]:
        """Run rows; return the events that ran, and the clock at each."""
        if self._job.raw:
            frame, broken = without_bad_json(frame)
            self._run.broken += int(np.count_nonzero(own[broken]))
        return frame, self._run.take_range(events_of(frame), own, self._job, pool)

    def _send(self, frame: pl.DataFrame, own: Mask, clock: Ints) -> Iterator[Block]:
        """Yield the events that go to shards: those with contexts for them, and to all of them those that
        change the graph.
        """
        if not own.any():
            return
        shards, first = self._job.shards, int(frame["seq_no"].filter(frame["own"])[0])
        moved = move_links(frame, own, self._job.parted, shards, self._job.spread)
        rows, to = moved.rows, moved.shards
        for pairs in (pairs for router in self._routers for pairs in router.route()):
            rows, to = np.append(rows, pairs // shards), np.append(to, pairs % shards)
        # by shard and row; of those that are there twice, the one that is there for its contexts
        mine = np.arange(len(rows)) >= len(moved.rows)
        order = np.sort((to * frame.height + rows) * 2 + ~mine)
        sent = order[np.diff(order >> 1, prepend=-1) > 0]
        to, row = np.divmod(sent >> 1, frame.height)
        events = frame.select(pl.exclude("part", "own", "changes"), clock=clock)
        table = to_arrow(events[row].with_columns(own=pl.Series(sent & 1 == 0)))
        for shard, start, end in stretches(to):
            yield Block(shard, first, EVENTS, to_bytes(table.slice(start, end - start)))
        changing = events.filter(own & frame["changes"].to_numpy()).with_columns(own=pl.lit(value=False))
        if changing.height:
            known = self._job.changes is not None
            content = to_bytes(to_arrow(changing.select("seq_no", "clock") if known else changing))
            for shard in range(shards):
                yield Block(shard, first, NUMBERS if known else EVENTS, content)

    def _check_order(self, numbers: pl.Series) -> None:
        """Refuse duplicate sequence numbers, and note if they do not ascend: files promise no order."""
        before = numbers.shift(1, fill_value=self._last)
        twice = numbers.filter((numbers == before).fill_null(value=False))
        if len(twice):
            raise DataError(
                f"seq_no {twice[0]} occurs more than once", allowed="numbers that put the events in one order"
            )
        self._ordered = self._ordered and not (numbers < before).any()
        self._last = numbers[-1] if len(numbers) else self._last


class ShardStage:
    """Runs the steps with memory over all events of some keys; outputs of the ranges pass through."""

    number = 1

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Take the rows of a partition, which is one shard."""
        job = self.job
        run: _ShardRun | None = None
        with ThreadPoolExecutor(1) as pool:
            for batch in batches:
                outputs = outputs_in(batch, job.schema)
                if outputs is not None:
                    yield outputs
                for block in blocks_in(batch):
                    run = run or _ShardRun(job, block.part)
                    yield from run.taken(block, pool)
            if run is not None:
                yield from run.ended(pool)


class _ShardRun:
    def __init__(self, job: Job, part: int) -> None:
        self._job, self._part, self._plan = job, part, job.plan()
        self._layout = job.layout(self._plan)
        self._outputs = Outputs(job, ShardStage.number, part, ordered=False)
        self._waiting, self._chunk = _Blocks(), _Blocks()

    def _executor(self, place: int, *args: Any, **options: Any) -> StepExecutor:
        layout = self._layout
        if place in layout.gates:
            gate = layout.gates[place]
            return GateExecutor(*args, gate=gate, shard=self._part, job=self._job, **options)
        if place in layout.behind:
            return StepExecutor(*args, **options)
        return (SilentExecutor if place in layout.feeding else AbsentExecutor)(*args, **options)

    @cached_property
    def _links(self) -> GivenLinks:
        return GivenLinks(self._job.start(), self._job.parted)

    @cached_property
    def _run(self) -> PartExecutor:
        executors = _by_place(self._plan, self._executor)
        if not self._job.parted:
            return PartExecutor(self._job, self._plan, self._outputs, executors)
        graph = self._links.graph()
        del self._links
        return PartExecutor(self._job, self._plan, self._outputs, executors, graph)

    def taken(self, block: Block, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        """Take the next block, and yield results of earlier ones."""
        if block.name == LINKS:
            # they come first
            self._links.add(frame_of(table_of(block.content)))
            return
        if block.seq_no != self._chunk.seq_no:
            yield from self._put_behind(pool)
            self._chunk = _Blocks(block.seq_no)
        self._chunk.add(block)

    def _put_behind(self, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        """Append the blocks of a complete chunk to the waiting ones; run those first if they are many."""
        if self._waiting.rows + self._chunk.rows > self._job.chunk_size:
            yield from self._ran(pool)
        self._waiting.extend(self._chunk)

    def _ran(self, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        """Run the waiting blocks."""
        waiting, self._waiting = self._waiting, _Blocks()
        if waiting.rows:
            frame = waiting.frame(self._job)
            clock, own = frame["clock"].to_numpy(), frame["own"].to_numpy()
            self._run.take_shard(events_of(frame), own, clock, pool, self._own_links(frame))
            yield from self._outputs.taken()

    def _own_links(self, frame: pl.DataFrame) -> OwnLinks | None:
        """Return which events are of links that this shard has and no other, and what they do here."""
        job, every = self._job, np.ones(frame.height, np.bool_)
        if not job.parted:
            return None
        moved = move_links(frame, every, job.parted, job.shards, job.spread)
        here = moved.shards == self._part
        made, ended = ~every, ~every
        made[moved.rows[here & ~moved.ending]] = True
        ended[moved.rows[here & moved.ending]] = True
        if not job.spread:
            return OwnLinks(made, None)
        # where another shard makes the link, or this one has not met it, the event does nothing
        mine = pl.Series(made | ended) | ~pl.col("link_type").is_in([*job.parted])
        changes = frame.select(
            pl.exclude("kind", "link_type"),
            pl.when(pl.Series(ended & ~made)).then(pl.lit("link.deleted")).otherwise("kind").alias("kind"),
            pl.when(mine).then("link_type").alias("link_type"),
        )
        return OwnLinks(made | ended, events_of(changes))

    def ended(self, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        """End the log, and yield the results of that."""
        yield from self._put_behind(pool)
        yield from self._ran(pool)
        self._run.end(self._job)
        self._outputs.add_totals(self._run.part_totals())
        yield from self._outputs.taken()


class _Blocks:
    """Blocks of one chunk of the log, or of several that follow one another."""

    def __init__(self, seq_no: int | None = None) -> None:
        self.seq_no = seq_no
        self.rows = 0
        self._tables: dict[str, list[pa.Table]] = {EVENTS: [], NUMBERS: []}

    def add(self, block: Block) -> None:
        """Take another block."""
        table = table_of(block.content)
        self._tables[block.name].append(table)
        self.rows += len(table)

    def extend(self, more: _Blocks) -> None:
        """Take the blocks of the chunk behind these."""
        for name, tables in more._tables.items():
            self._tables[name] += tables
        self.rows += more.rows

    def frame(self, job: Job) -> pl.DataFrame:
        """Return all events, in order, each once: what changes the graph comes to all shards, and besides,
        where it has contexts, as their own.
        """
        frames = [frame_of(join_blocks(self._tables[EVENTS]))] if self._tables[EVENTS] else []
        if self._tables[NUMBERS]:
            numbers = frame_of(join_blocks(self._tables[NUMBERS]))
            known = job.all_changes()
            changes = known[known["seq_no"].search_sorted(numbers["seq_no"])]
            frames.append(changes.with_columns(numbers["clock"], own=pl.lit(value=False)))
        frame = pl.concat(frames, how="diagonal_relaxed")
        seq = frame["seq_no"].to_numpy()
        order = np.lexsort((~frame["own"].to_numpy(), seq))
        first = np.diff(seq[order], prepend=-1) > 0
        return frame if first.all() and (np.diff(order) == 1).all() else frame[order[first]]


class WholeStage:
    """Runs a whole plan over the whole log in one ordered stream."""

    number = 2

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Take all rows of the log, in order."""
        job = self.job
        outputs = Outputs(job, self.number, 0)
        run: PartExecutor | None = None
        with ThreadPoolExecutor(1) as pool:
            for _, frame in in_parts(batches, job.chunk_size):
                run = run or PartExecutor(job, job.plan(), outputs, gathers=True)
                if run.stopped is None:
                    if job.raw:
                        frame, broken = without_bad_json(frame)
                        run.broken += len(broken)
                    run.take_whole(events_of(frame), job, pool)
                    yield from outputs.taken()
        if run is not None:
            run.end(job)
            outputs.add_totals(run.part_totals())
            yield from outputs.taken()


def _by_place(plan: Plan, make: Callable[..., StepExecutor]) -> ExecutorFactory:
    """Return the factories of executors for the steps, called with the number of the step in the plan."""
    places = {id(step): place for place, step in enumerate(plan.steps)}

    def made(step: CompiledStep, *args: Any, **options: Any) -> StepExecutor:
        return make(places[id(step)], step, *args, **options)

    return made
