"""Tasks of a replay on Spark: streams of Arrow batches through the local kernels.

A task reads the rows of its partition in order, holds one chunk of them at a time, and gives back parts of
the tables of the result, the numbers of the run, and, from a range of the log, the events that go to shards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from flowdsl.engine.executor import StepExecutor
from flowdsl.engine.local import ExecutorFactory
from flowdsl.errors import DataError
from flowdsl.flow.plan import CompiledStep, Plan
from flowdsl.spark.executors import AbsentExecutor, GateExecutor, RoutingExecutor, SilentExecutor
from flowdsl.spark.job import Job
from flowdsl.spark.layout import Layout
from flowdsl.spark.outputs import Outputs
from flowdsl.spark.part_executor import PartExecutor
from flowdsl.spark.parted_links import GivenLinks
from flowdsl.spark.rows import Batches, events_of, in_parts, to_batches, without_bad_json
from flowdsl.spark.spread_fans import moved_links


class PartRun(Protocol):
    """The run of one part: a range of the log, or a shard."""

    def taken(self, frame: pl.DataFrame, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        """Take the next rows of the part, and yield their results."""
        ...

    def ended(self) -> Iterator[pa.RecordBatch]:
        """Yield the results of the end of the part."""
        ...


class PartStage(ABC):
    """Runs the parts that a partition holds, one after the other; the rows of one part follow one another."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Take the rows of a partition."""
        plan = self.job.plan()
        layout = self.job.layout(plan)
        part: int | None = None
        run: PartRun | None = None
        with ThreadPoolExecutor(1) as pool:
            for this, rows in self.parts(batches):
                frame, passing = self.divided(rows)
                if passing is not None:
                    yield from to_batches(passing, self.job.schema)
                if not frame.height:
                    continue
                if run is None or this != part:
                    if run is not None:
                        yield from run.ended()
                    part, run = this, self.begun(plan, layout, this)
                yield from run.taken(frame, pool)
            if run is not None:
                yield from run.ended()

    def parts(self, batches: Batches) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the rows of a partition with the part that they belong to."""
        return in_parts(batches, self.job.chunk_size)

    def divided(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """Return the rows that are run, and those that pass through."""
        return rows, None

    @abstractmethod
    def begun(self, plan: Plan, layout: Layout, part: int) -> PartRun:
        """Return the run of a part."""


class RangeStage(PartStage):
    """Runs what judges each context by itself over ranges of the log, and sends events to shards."""

    number = 0

    def parts(self, batches: Batches) -> Iterator[tuple[int, pl.DataFrame]]:
        if not self.job.in_place:
            return super().parts(batches)
        return in_parts(batches, self.job.chunk_size, np.array(self.job.starts))

    def begun(self, plan: Plan, layout: Layout, part: int) -> PartRun:
        return _RangeRun(self.job, plan, layout, part)


class _RangeRun:
    def __init__(self, job: Job, plan: Plan, layout: Layout, part: int) -> None:
        self._job, self._layout, self._part = job, layout, part
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
            yield from self._sent(frame, own, clock)

    def ended(self) -> Iterator[pa.RecordBatch]:
        totals = replace(self._run.part_totals(), part=self._part, taken=self._taken, ordered=self._ordered)
        self._outputs.add_totals(totals)
        yield from self._outputs.taken()

    def _ran(
        self, frame: pl.DataFrame, own: npt.NDArray[np.bool_], pool: ThreadPoolExecutor
    ) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
        """Run rows; return them as they are run, and the clock at each."""
        if self._job.raw:
            frame, broken = without_bad_json(frame)
            self._run.broken += int(np.count_nonzero(own[broken]))
        return frame, self._run.take_range(events_of(frame), own, self._job, pool)

    def _sent(
        self, frame: pl.DataFrame, own: npt.NDArray[np.bool_], clock: npt.NDArray[np.int64]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the events that go to shards: those with contexts for them, and to all of them those that
        change the graph.
        """
        shards = self._job.shards
        pairs = [pairs for router in self._routers for pairs in router.routed()]
        routed = np.unique(np.concatenate([np.zeros(0, np.int64), *pairs]))
        changing = np.flatnonzero(own & frame["changes"].to_numpy())
        moved = moved_links(frame, own, self._job.parted, shards, self._job.heavy)
        rows = np.concatenate([routed // shards, np.repeat(changing, shards), moved.rows])
        if not len(rows):
            return
        targets = np.concatenate([routed % shards, np.tile(np.arange(shards), len(changing)), moved.shards])
        mine = np.zeros(len(rows), np.bool_)
        mine[: len(routed)] = True
        sent = frame[rows].with_columns(
            pl.Series("part", targets, pl.Int32), pl.Series("own", mine), pl.Series("clock", clock[rows])
        )
        yield from to_batches(sent, self._job.schema)

    def _check_order(self, numbers: pl.Series) -> None:
        """Refuse numbers that come twice, and note where they do not ascend: files promise no order."""
        before = numbers.shift(1, fill_value=self._last)
        twice = numbers.filter((numbers == before).fill_null(value=False))
        if len(twice):
            raise DataError(
                f"seq_no {twice[0]} occurs more than once", allowed="numbers that put the events in one order"
            )
        self._ordered = self._ordered and not (numbers < before).any()
        self._last = numbers[-1] if len(numbers) else self._last


class ShardStage(PartStage):
    """Runs what remembers something, over all events of some keys; outputs of the ranges pass through."""

    number = 1

    def begun(self, plan: Plan, layout: Layout, part: int) -> PartRun:
        return _ShardRun(self.job, plan, layout, part)

    def divided(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        outputs = rows.filter(pl.col("name").is_not_null())
        return rows.filter(pl.col("name").is_null()), outputs if outputs.height else None


class _ShardRun:
    def __init__(self, job: Job, plan: Plan, layout: Layout, part: int) -> None:
        self._part = part
        self._job, self._layout, self._plan = job, layout, plan
        self._outputs = Outputs(job, ShardStage.number, part, ordered=False)
        self._last = 0

    def _executor(self, place: int, *args: Any, **options: Any) -> StepExecutor:
        layout = self._layout
        if place in layout.gates:
            gate = layout.gates[place]
            return GateExecutor(*args, gate=gate, shard=self._part, shards=self._job.shards, **options)
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

    def taken(self, frame: pl.DataFrame, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        if self._job.parted:
            # the links of a snapshot come first
            given = frame.filter(pl.col("seq_no") <= 0)
            if given.height:
                self._links.add(given)
                frame = frame.filter(pl.col("seq_no") > 0)
            if not frame.height:
                return
        # what changes the graph comes to all shards, and before that, where it has contexts, as their own
        numbers = frame["seq_no"].to_numpy()
        first = np.concatenate([[numbers[0] != self._last], numbers[1:] != numbers[:-1]])
        self._last = int(numbers[-1])
        frame = frame.filter(pl.Series(first))
        if frame.height:
            clock, own = frame["clock"].to_numpy(), frame["own"].to_numpy()
            self._run.take_shard(events_of(frame), own, clock, pool, self._own_links(frame))
            yield from self._outputs.taken()

    def _own_links(self, frame: pl.DataFrame) -> npt.NDArray[np.bool_] | None:
        """Return which events are of links that this shard has and no other."""
        if not self._job.parted:
            return None
        moved = moved_links(frame, np.ones(frame.height, np.bool_), self._job.parted, self._job.shards)
        mine = np.zeros(frame.height, np.bool_)
        mine[moved.rows] = moved.shards == self._part
        return mine

    def ended(self) -> Iterator[pa.RecordBatch]:
        self._run.end(self._job)
        self._outputs.add_totals(self._run.part_totals())
        yield from self._outputs.taken()


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
    """Return what makes executors of steps, which get the number of the step in the plan."""
    places = {id(step): place for place, step in enumerate(plan.steps)}

    def made(step: CompiledStep, *args: Any, **options: Any) -> StepExecutor:
        return make(places[id(step)], step, *args, **options)

    return made
