"""The stages of a replay on Spark without Spark: the same tasks, and Polars for the shuffles between them.

So random cases by the thousand go through what runs in the tasks; that Spark shuffles as it is asked to is shown with Spark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from flowdsl.engine.range import CHUNK
from flowdsl.flow.plan import Plan
from flowdsl.results.engine import RunRequest, RunTotals
from flowdsl.results.options import Options
from flowdsl.results.store import Store
from flowdsl.spark.engine import ClusterRun, check, sendable
from flowdsl.spark.events import HandedOver, Ranges
from flowdsl.spark.tasks import Job, RangeStage, ShardStage, WholeStage

OUT = pa.schema(
    [("part", pa.int32()), ("stage", pa.int32()), ("origin", pa.int32()), ("ordinal", pa.int32()),
     ("name", pa.string()), ("meta", pa.string()), ("content", pa.binary()), ("place", pa.string())]
)  # fmt: skip


class InProcess:
    """An engine: runs the tasks one after the other."""

    def __init__(self, partitions: int, batch_rows: int) -> None:
        self._partitions, self._batch_rows = partitions, batch_rows

    def run(self, plan: Plan, options: Options, store: Store, request: RunRequest) -> RunTotals:
        check(options, request)
        run = InProcessRun(
            None, plan, options, sendable(options), self._partitions, options.chunk_size or CHUNK
        )
        run.batch_rows = self._batch_rows
        return run.collected(store, trace=request.trace)


class InProcessRun(ClusterRun):
    batch_rows = 3

    def outputs(self, source: HandedOver, ranges: Ranges, job: Job) -> list[dict[str, Any]]:
        events = source.rows
        if self.layout.whole is not None:
            rows = events.with_columns(pl.lit(0, pl.Int32).alias("part"))
            return self._run(WholeStage, job, OUT, rows, 1, ["seq_no"]).to_dicts()
        stretch = (pl.col("seq_no") - ranges.first) // ranges.width
        part = stretch.replace_strict(dict(enumerate(ranges.of)), return_dtype=pl.Int32)
        needs = self.plan.needs
        types = {name for name, _ in needs.links}
        changes = pl.lit(needs.entities) & pl.col("kind").str.starts_with("entity.")
        if types:
            mine = pl.col("link_type").is_in(types).fill_null(False) | pl.col("link_id").is_not_null()
            changes |= pl.col("kind").str.starts_with("link.") & mine
        own = events.with_columns(part.alias("part"), pl.lit(True).alias("own"), changes.alias("changes"))
        past = [
            own.filter(pl.col("changes") & (pl.col("part") < number)).with_columns(
                pl.lit(number, pl.Int32).alias("part"), pl.lit(False).alias("own")
            )
            for number in range(ranges.count)
        ]
        rows = pl.concat([own, *past]).sample(fraction=1, shuffle=True, seed=7)
        if not self.layout.gates:
            return self._run(RangeStage, job, OUT, rows, ranges.count, ["seq_no"]).to_dicts()
        between = [("own", pa.bool_()), ("changes", pa.bool_()), ("clock", pa.int64())]
        fields = [
            *between,
            *((one.name, one.type) for one in narrow(events).schema),
            *((one.name, one.type) for one in OUT),
        ]
        sent = self._run(RangeStage, job, pa.schema(fields), rows, ranges.count, ["seq_no"])
        return self._run(ShardStage, job, OUT, sent, job.shards, ["seq_no", "own"], [False, True]).to_dicts()

    def _run(
        self,
        stage: Callable[[Job], Any],
        job: Job,
        schema: pa.Schema,
        rows: pl.DataFrame,
        parts: int,
        order: Sequence[str],
        descending: Any = False,
    ) -> pl.DataFrame:
        """Shuffle rows to their parts, sort them, and run the task of each."""
        task, made = stage(dataclasses.replace(job, schema=schema)), []
        for number in range(parts):
            mine = rows.filter(pl.col("part") == number).sort(order, descending=descending, nulls_last=False)
            made += list(task(self._batches(mine)))
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
