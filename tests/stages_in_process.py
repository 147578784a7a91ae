"""The stages of a replay on Spark without Spark: the same tasks, and Polars for the shuffles between them.

So random cases by the thousand go through what runs in the tasks; that Spark shuffles as it is asked to is shown with Spark.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.engine.range import CHUNK
from flowdsl.flow.plan import Plan
from flowdsl.results.engine import RunRequest, RunTotals
from flowdsl.results.options import Options
from flowdsl.results.store import Store
from flowdsl.spark.cluster_run import ClusterRun
from flowdsl.spark.events import HandedOver, where_graph_changes
from flowdsl.spark.job import Job
from flowdsl.spark.ranges import Ranges
from flowdsl.spark.refusals import check, check_sendable
from flowdsl.spark.tasks import RangeStage, ShardStage, WholeStage

OUT = pa.schema(
    [("part", pa.int32()), ("stage", pa.int32()), ("origin", pa.int32()), ("ordinal", pa.int32()),
     ("name", pa.string()), ("meta", pa.string()), ("content", pa.binary()), ("place", pa.string())]
)  # fmt: skip


class InProcess:
    """An engine: runs the tasks one after the other. The log is shuffled to them or read `in_place`; so many
    events that change the graph are sent to all, more than so many links are shared out, and more than so many of
    one id make branches in several tasks.
    """

    def __init__(
        self,
        partitions: int,
        batch_rows: int,
        most_sent: int = 1000,
        most_links: int = 1000,
        most_branches: int = 1000,
        *,
        in_place: bool = False,
    ) -> None:
        self._partitions, self._batch_rows = partitions, batch_rows
        self._most_sent, self._most_links, self._in_place = most_sent, most_links, in_place
        self._most_branches = most_branches

    def run(self, plan: Plan, options: Options, store: Store, request: RunRequest) -> RunTotals:
        check(options, request)
        check_sendable(options)
        run = InProcessRun(None, plan, options, self._partitions, options.chunk_size or CHUNK)
        run.batch_rows, run.in_place = self._batch_rows, self._in_place
        run.most_sent, run.most_links = self._most_sent, self._most_links
        run.most_branches = self._most_branches
        return run.collected(store, trace=request.trace)


class InProcessRun(ClusterRun):
    batch_rows = 3
    in_place = False

    def _ranges(self, events: HandedOver, *, in_place: bool) -> Ranges | None:
        found = super()._ranges(events, in_place=in_place)
        if found is None or not self.in_place or not in_place:
            return found
        return dataclasses.replace(found, in_place=True)

    def outputs(self, source: HandedOver, ranges: Ranges, job: Job) -> list[dict[str, Any]]:
        events, job = source.rows, dataclasses.replace(job, graph=pickle.dumps(self.sent))
        if self.layout.whole is not None:
            rows = events.with_columns(pl.lit(0, pl.Int32).alias("part"))
            return self._run(WholeStage, job, OUT, rows, 1, ["seq_no"]).to_dicts()
        part = np.searchsorted(np.array(ranges.starts), events["seq_no"].to_numpy(), side="right") - 1
        changes = pl.lit(False) if job.final_graph else where_graph_changes(self.plan, job.parted)
        changes = changes.alias("changes")
        own = events.with_columns(pl.Series("part", part, pl.Int32), pl.lit(True).alias("own"), changes)
        # as they lie in files, or with all that changes the graph before them
        past = [
            own.filter(pl.col("changes") & (pl.col("part") < number)).with_columns(
                pl.lit(number, pl.Int32).alias("part"), pl.lit(False).alias("own")
            )
            for number in range(ranges.count if job.changes is None else 0)
        ]
        rows = pl.concat([own, *past]).sample(fraction=1, shuffle=True, seed=7)
        hidden = ["part", "own"] if job.in_place else []
        if not self.layout.gates:
            return self._run(RangeStage, job, OUT, rows, ranges.count, ["seq_no"], hidden=hidden).to_dicts()
        between = pa.schema([("seq_no", pa.int64()), *OUT])
        sent = self._run(RangeStage, job, between, rows, ranges.count, ["seq_no"], hidden=hidden)
        if job.parted:
            sent = pl.concat([sent, pl.from_arrow(self.given_links(job))], how="diagonal")
        return self._run(ShardStage, job, OUT, sent, job.shards, ["seq_no"]).to_dicts()

    def _run(
        self,
        stage: Callable[[Job], Any],
        job: Job,
        schema: pa.Schema,
        rows: pl.DataFrame,
        parts: int,
        order: Sequence[str],
        hidden: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Shuffle rows to their parts, sort them, and run the task of each."""
        task, made = stage(dataclasses.replace(job, schema=schema)), []
        for number in range(parts):
            mine = rows.filter(pl.col("part") == number).sort(order)
            made += list(task(self._batches(mine.drop(hidden))))
        return pl.from_arrow(pa.Table.from_batches(made, schema))

    def _batches(self, rows: pl.DataFrame) -> Iterator[pa.RecordBatch]:
        for piece in rows.iter_slices(self.batch_rows):
            yield from narrow(piece).to_batches()


def narrow(rows: pl.DataFrame) -> pa.Table:
    """Rows with the types that Spark has."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [
        pa.field(f.name, pa.string() if f.type in (pa.large_string(), pa.null()) else f.type)
        for f in table.schema
    ]
    return table.cast(
        pa.schema([f if f.type != pa.large_binary() else pa.field(f.name, pa.binary()) for f in fields])
    )
