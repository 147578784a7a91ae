"""Tasks of a replay on Spark: streams of Arrow batches through the local kernels.

A task reads the rows of its partition in order, holds one chunk of them at a time, and gives back parts of
the tables of the result, the numbers of the run, and, from a range of the log, the events that go to shards.
"""

from __future__ import annotations

import io
import json
import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from flowdsl.batches.chunk import Chunk
from flowdsl.engine.counts import StepCounts
from flowdsl.engine.crashes import Stopped
from flowdsl.engine.executor import StepExecutor
from flowdsl.engine.local import ExecutorFactory, LocalExecutor, without_ahead
from flowdsl.engine.range import BEGINNING, ReplayRange, micros
from flowdsl.errors import DataError
from flowdsl.events import JSON_COLUMNS
from flowdsl.flow.plan import CompiledStep, Plan
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.columns import KIND, TIME
from flowdsl.log.event_rows import EventRows
from flowdsl.log.validation import bad_json
from flowdsl.results.store import TablePart, write_part
from flowdsl.results.table_writer import TableRecorder
from flowdsl.rules import WindowsAtEnd
from flowdsl.spark.executors import AbsentExecutor, GateExecutor, RoutingExecutor, SilentExecutor
from flowdsl.spark.failures import PartRecorder
from flowdsl.spark.layout import Layout

TOTALS: Final = "totals"
"""The table whose rows are the numbers of one task."""
OUT_COLUMNS: Final = ("stage", "origin", "ordinal", "name", "meta", "content", "place")
"""The columns of an output: where it was made, and a part of a table as bytes or as the place of a file."""
Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Job:
    """All that the tasks of a replay have to know. It is sent to them as it is."""

    token: str
    flows: tuple[FlowSpec, ...]
    caps: Any
    graph: bytes
    span: ReplayRange
    open_windows: WindowsAtEnd
    trace: bool
    chunk_size: int
    shards: int
    # the clock (µs) before each range, and after the last event
    clocks: tuple[int, ...]
    final_clock: int
    marks: pl.DataFrame
    ahead: pl.DataFrame
    # whether text of `data` and `metadata` may be no JSON
    raw: bool
    # the folder that files of tables are written to; None to return tables as bytes
    folder: str | None
    # of what a stage gives back
    schema: pa.Schema | None = None

    def plan(self) -> Plan:
        """Return the plan."""
        return Plan.of(self.flows, self.caps)

    def start(self) -> EntityGraph:
        """Return the graph before the first event, made once in a process."""
        if self.token not in _GRAPHS:
            _GRAPHS.clear()
            _GRAPHS[self.token] = pickle.loads(self.graph)
        return _GRAPHS[self.token]


_GRAPHS: dict[str, EntityGraph] = {}


@dataclass(frozen=True)
class PartTotals:
    """The numbers of one task."""

    steps: Sequence[tuple[StepCounts, int, list[tuple[tuple[int, ...], dict[str, Any]]]]]
    """The counts of each step, what it holds, and its open windows, each with what it began with."""
    delivered: Mapping[tuple[int, str], int]
    late: int = 0
    ahead: int = 0
    unmatched: int = 0
    # rows with text that is not JSON
    broken: int = 0
    # of a task that runs the whole log
    events: int = 0
    position: int = 0
    span: tuple[int, int] | None = None
    stopped: Stopped | None = None


@dataclass
class PartStore:
    """Store of the parts of tables that a task has made and not yet given back."""

    parts_made: list[tuple[str, TablePart]] = field(default_factory=list)

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        self.parts_made.append((table, part))

    def parts(self, table: str) -> Iterator[TablePart]:
        """Return nothing: what was made is on its way."""
        return iter(())

    def pieces(self, table: str) -> Sequence[TablePart]:
        """Return nothing."""
        return ()

    def tables(self) -> list[str]:
        """Return nothing."""
        return []

    def taken(self) -> list[tuple[str, TablePart]]:
        """Return the parts made since the last call."""
        found, self.parts_made = self.parts_made, []
        return found


class PartExecutor(LocalExecutor):
    """One partition of a replay: a run over those events that it was sent, at the clock of the whole log."""

    def __init__(self, job: Job, plan: Plan, executors: ExecutorFactory = StepExecutor) -> None:
        self.made = PartStore()
        self.broken = 0
        graph = job.start().start(plan.needs, plan.rules)
        super().__init__(plan, graph, PartRecorder(self.made, trace=job.trace), executors=executors)

    def take_range(
        self, frame: pl.DataFrame, own: npt.NDArray[np.bool_], job: Job, pool: ThreadPoolExecutor
    ) -> npt.NDArray[np.int64]:
        """Take some of the events of a range through the flows, and return the clock at each; those that are
        not its `own` come before it, and only change the graph.
        """
        events = self._read(frame)
        seq = events.frame["seq_no"].to_numpy()
        times = np.where(own, micros(events.frame), BEGINNING)
        moving, still = without_ahead(times, seq, job.ahead) if job.ahead.height else (times, None)
        clock = self._clock(np.where(own, moving, BEGINNING), seq, job.marks)
        chunk = Chunk(events, clock, self.graph, self.graph.interner, seq_before=self.position)
        unmet = self.graph.advance(events)
        runs = job.span.runs(chunk, times)
        late = np.flatnonzero(own & (times < clock))
        if len(late):
            self.recorder.late(chunk, late)
        if still is not None and len(still := still[own[still]]):
            self.recorder.ahead(chunk, still)
        if len(unmet := unmet[own[unmet]]):
            self.recorder.unmatched(chunk, unmet)
        self._advanced(chunk, own if runs is None else runs & own, pool)
        return clock

    def take_shard(
        self,
        frame: pl.DataFrame,
        own: npt.NDArray[np.bool_],
        clock: npt.NDArray[np.int64],
        pool: ThreadPoolExecutor,
    ) -> None:
        """Take some of the events of a shard through the flows; those that are not its `own` only change the
        graph.
        """
        events = self._read(frame)
        chunk = Chunk(events, clock, self.graph, self.graph.interner, seq_before=self.position)
        self.graph.advance(events)
        self._advanced(chunk, own, pool)

    def take_whole(self, frame: pl.DataFrame, job: Job, pool: ThreadPoolExecutor) -> None:
        """Take the next events of the whole log through the flows."""
        self._chunk(self._read(frame), job.span, job.marks, job.ahead, pool)

    def end(self, job: Job) -> None:
        """End the log."""
        if self.stopped is None:
            self.move_clock(job.final_clock)
            if job.open_windows == "flush":
                self.flush()

    def part_totals(self) -> PartTotals:
        """Return the numbers of this partition."""
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

    def _read(self, frame: pl.DataFrame) -> EventRows:
        events = EventRows(frame, self.graph.interner, self.plan.event_paths)
        events.prepare(self.plan.id_columns)
        return events

    def _advanced(self, chunk: Chunk, runs: npt.NDArray[np.bool_], pool: ThreadPoolExecutor) -> None:
        self._run_flows(chunk, runs, int(chunk.clock[-1]), pool, self.recorder)
        self.graph.commit()
        self.clock, self.position = int(chunk.clock[-1]), int(chunk.seq[-1])
        self._compact()


def _open(step: StepExecutor) -> list[tuple[tuple[int, ...], dict[str, Any]]]:
    rows = step.kernel.open()
    # by production's rules the whole plan is run in one part, and its windows are in order already
    places = step.kernel.opened_by() or [(number,) for number in range(len(rows))]
    return list(zip(places, rows, strict=True))


# -- stages ----------------------------------------------------------------------------------------------


class RangeStage:
    """Runs what judges each context by itself over ranges of the log, and sends events to shards."""

    number = 0

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Take the rows of a partition; those of one range follow one another."""
        job, plan = self.job, self.job.plan()
        layout = Layout.of(plan)
        with ThreadPoolExecutor(1) as pool:
            run: _RangeRun | None = None
            for part, frame in in_parts(batches, job.chunk_size):
                if run is None or run.part != part:
                    if run is not None:
                        yield from run.ended()
                    run = _RangeRun(job, plan, layout, part)
                yield from run.taken(frame, pool)
            if run is not None:
                yield from run.ended()


class _RangeRun:
    def __init__(self, job: Job, plan: Plan, layout: Layout, part: int) -> None:
        self.part = part
        self._job, self._layout = job, layout
        self._routers: list[RoutingExecutor] = []
        self._run = PartExecutor(job, plan, _by_place(plan, self._executor))
        self._run.clock = job.clocks[part]
        self._outputs = Outputs(job, RangeStage.number, part)
        self._last: int | None = None

    def _executor(self, place: int, *args: Any, **options: Any) -> StepExecutor:
        if place in self._layout.gates:
            gate = self._layout.gates[place]
            router = RoutingExecutor(*args, gate=gate, shards=self._job.shards, **options)
            self._routers.append(router)
            return router
        return (AbsentExecutor if place in self._layout.behind else StepExecutor)(*args, **options)

    def taken(self, frame: pl.DataFrame, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        own = frame["own"].to_numpy()
        self._refuse_repeated(frame["seq_no"].filter(frame["own"]))
        if self._job.raw:
            frame, broken = without_bad_json(frame)
            self._run.broken += int(np.count_nonzero(own[broken]))
        clock = self._run.take_range(events_of(frame), own, self._job, pool)
        yield from self._outputs.batches(self._run.made.taken())
        if self._layout.gates:
            yield from self._sent(frame, own, clock)

    def ended(self) -> Iterator[pa.RecordBatch]:
        yield from self._outputs.totals(self._run.part_totals())

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
        rows = np.concatenate([routed // shards, np.repeat(changing, shards)])
        if not len(rows):
            return
        targets = np.concatenate([routed % shards, np.tile(np.arange(shards), len(changing))])
        mine = np.concatenate([np.ones(len(routed), np.bool_), np.zeros(shards * len(changing), np.bool_)])
        sent = frame[rows].with_columns(
            pl.Series("part", targets, pl.Int32), pl.Series("own", mine), pl.Series("clock", clock[rows])
        )
        yield from to_batches(sent, self._job.schema)

    def _refuse_repeated(self, numbers: pl.Series) -> None:
        before = numbers.shift(1, fill_value=self._last)
        twice = numbers.filter((numbers == before).fill_null(value=False))
        if len(twice):
            raise DataError(
                f"seq_no {twice[0]} occurs more than once", allowed="numbers that put the events in one order"
            )
        self._last = numbers[-1] if len(numbers) else self._last


class ShardStage:
    """Runs what remembers something, over all events of some keys."""

    number = 1

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Take the rows of a partition; outputs of the ranges pass through."""
        job, plan = self.job, self.job.plan()
        layout = Layout.of(plan)
        with ThreadPoolExecutor(1) as pool:
            run: _ShardRun | None = None
            for part, rows in in_parts(batches, job.chunk_size):
                outputs = rows.filter(pl.col("name").is_not_null())
                if outputs.height:
                    yield from to_batches(outputs, job.schema)
                frame = rows.filter(pl.col("name").is_null())
                if not frame.height:
                    continue
                if run is None or run.part != part:
                    if run is not None:
                        yield from run.ended()
                    run = _ShardRun(job, plan, layout, part)
                yield from run.taken(frame, pool)
            if run is not None:
                yield from run.ended()


class _ShardRun:
    def __init__(self, job: Job, plan: Plan, layout: Layout, part: int) -> None:
        self.part = part
        self._job, self._layout = job, layout
        self._run = PartExecutor(job, plan, _by_place(plan, self._executor))
        self._outputs = Outputs(job, ShardStage.number, part)
        self._last = 0

    def _executor(self, place: int, *args: Any, **options: Any) -> StepExecutor:
        layout = self._layout
        if place in layout.gates:
            gate = layout.gates[place]
            return GateExecutor(*args, gate=gate, shard=self.part, shards=self._job.shards, **options)
        if place in layout.behind:
            return StepExecutor(*args, **options)
        return (SilentExecutor if place in layout.feeding else AbsentExecutor)(*args, **options)

    def taken(self, frame: pl.DataFrame, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        # what changes the graph comes to all shards, and before that, where it has contexts, as their own
        numbers = frame["seq_no"].to_numpy()
        first = np.concatenate([[numbers[0] != self._last], numbers[1:] != numbers[:-1]])
        self._last = int(numbers[-1])
        frame = frame.filter(pl.Series(first))
        if frame.height:
            clock = frame["clock"].to_numpy()
            self._run.take_shard(events_of(frame), frame["own"].to_numpy(), clock, pool)
            yield from self._outputs.batches(self._run.made.taken())

    def ended(self) -> Iterator[pa.RecordBatch]:
        self._run.end(self._job)
        yield from self._outputs.batches(self._run.made.taken())
        yield from self._outputs.totals(self._run.part_totals())


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
                run = run or PartExecutor(job, job.plan())
                if run.stopped is None:
                    if job.raw:
                        frame, broken = without_bad_json(frame)
                        run.broken += len(broken)
                    run.take_whole(events_of(frame), job, pool)
                    yield from outputs.batches(run.made.taken())
        if run is not None:
            run.end(job)
            yield from outputs.batches(run.made.taken())
            yield from outputs.totals(run.part_totals())


def _by_place(plan: Plan, make: Callable[..., StepExecutor]) -> ExecutorFactory:
    """Return what makes executors of steps, which are told the number of the step in the plan."""
    places = {id(step): place for place, step in enumerate(plan.steps)}

    def made(step: CompiledStep, *args: Any, **options: Any) -> StepExecutor:
        return make(places[id(step)], step, *args, **options)

    return made


# -- rows ------------------------------------------------------------------------------------------------

_MARKS: Final = ("part", "own", "changes", "clock", "time", *OUT_COLUMNS)


def events_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the events among the columns of a stream, in the types of an event table."""
    return frame.select(
        pl.col("seq_no"),
        pl.col("time").cast(TIME).alias("timestamp"),
        pl.col("kind").cast(KIND),
        pl.exclude("seq_no", "kind", *_MARKS),
    )


def without_bad_json(frame: pl.DataFrame) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
    """Return rows without text that is not JSON, and where there was such text."""
    names = [name for name in JSON_COLUMNS if frame.schema.get(name) == pl.String]
    if not any(frame[name].null_count() < frame.height for name in names):
        return frame, np.zeros(0, np.int64)
    wrong = bad_json(frame)
    whole = frame.with_columns(
        pl.when(~pl.int_range(pl.len()).is_in(rows)).then(pl.col(name)).alias(name)
        for name, rows in wrong.items()
    )
    return whole, np.array(sorted({row for rows in wrong.values() for row in rows}), np.int64)


def in_parts(batches: Batches, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield rows that belong to one part, at most so many at a time; those of one part follow one another."""
    waiting: list[pl.DataFrame] = []
    rows, part = 0, -1
    for batch in batches:
        whole = pl.from_arrow(pa.Table.from_batches([batch]))
        assert isinstance(whole, pl.DataFrame)
        for frame in _by_part(whole):
            this = int(frame["part"][0])
            if waiting and this != part:
                yield from _cut(part, waiting, size)
                waiting, rows = [], 0
            part = this
            waiting.append(frame)
            rows += frame.height
            if rows >= size:
                *full, last = (piece for _, piece in _cut(part, waiting, size))
                yield from ((part, piece) for piece in full)
                if last.height == size:
                    yield part, last
                    waiting, rows = [], 0
                else:
                    waiting, rows = [last], last.height
    if waiting:
        yield from _cut(part, waiting, size)


def _cut(part: int, frames: Sequence[pl.DataFrame], size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    yield from ((part, frame) for frame in pl.concat(frames, rechunk=True).iter_slices(size))


def _by_part(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    if not frame.height:
        return
    parts = frame["part"].to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), frame.height]
    for start, end in pairwise(starts):
        yield frame.slice(start, end - start)


def to_batches(frame: pl.DataFrame, schema: pa.Schema | None) -> Iterator[pa.RecordBatch]:
    """Yield rows as Arrow batches of a schema; columns that they lack are null."""
    assert schema is not None
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [
        table.column(one.name).cast(one.type)
        if one.name in table.column_names
        else pa.nulls(len(table), one.type)
        for one in schema
    ]
    yield from pa.Table.from_arrays(columns, schema=schema).combine_chunks().to_batches()


class Outputs:
    """Turns the parts of tables that a task makes into rows."""

    def __init__(self, job: Job, stage: int, origin: int) -> None:
        self._job, self._stage, self._origin = job, stage, origin
        self._ordinal = 0

    def batches(self, made: Iterable[tuple[str, TablePart]]) -> Iterator[pa.RecordBatch]:
        """Yield parts of tables, those of deliveries as files where there is a folder for them."""
        for name, part in made:
            frame, meta = part.frame, dict(part.meta)
            if name.startswith("deliveries/") and self._stage == ShardStage.number:
                meta["unordered"] = True
            part = TablePart(frame, meta)
            in_file = self._job.folder is not None and name != "errors"
            place = self._written(part) if in_file else None
            yield from self._row(name, json.dumps(meta), None if in_file else encoded(frame), place)

    def totals(self, totals: PartTotals) -> Iterator[pa.RecordBatch]:
        """Yield the numbers of the task."""
        yield from self._row(TOTALS, "", pickle.dumps(totals), None)

    def _written(self, part: TablePart) -> str:
        assert self._job.folder is not None
        folder = Path(self._job.folder)
        if not folder.is_dir():
            raise DataError(
                f"the folder {str(folder)!r} is not to be seen from where a task runs",
                hint="out= names a folder that the driver and all executors share",
            )
        path = folder / f"{uuid.uuid4().hex}.parquet"
        write_part(path, part)
        return path.name

    def _row(
        self, name: str, meta: str, content: bytes | None, place: str | None
    ) -> Iterator[pa.RecordBatch]:
        values: dict[str, Any] = {
            "part": self._origin % max(self._job.shards, 1),
            "stage": self._stage,
            "origin": self._origin,
            "ordinal": self._ordinal,
            "name": name,
            "meta": meta,
            "content": content,
            "place": place,
        }
        self._ordinal += 1
        schema = self._job.schema
        assert schema is not None
        arrays = [pa.array([values.get(one.name)], one.type) for one in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def encoded(frame: pl.DataFrame) -> bytes:
    """Return rows as bytes."""
    content = io.BytesIO()
    frame.write_ipc(content, compression="zstd")
    return content.getvalue()


def decoded(content: bytes) -> pl.DataFrame:
    """Return the rows that `encoded` made bytes of."""
    return pl.read_ipc(io.BytesIO(content))
