"""One replay on a cluster: the log cut into ranges, the job, and a result made of what comes back."""

from __future__ import annotations

import json
import pickle
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow as pa

from flowdsl.engine.counts import StepCounts, StepTotals
from flowdsl.engine.range import BEGINNING, CHUNK
from flowdsl.errors import ReplayError, warn
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.progress import ProgressReporter
from flowdsl.results.engine import RunTotals
from flowdsl.results.options import Options
from flowdsl.results.store import FolderStore, Store, TablePart
from flowdsl.spark.blocks import SCHEMA, to_batches
from flowdsl.spark.events import RunEvents, changes_graph
from flowdsl.spark.failures import add_events
from flowdsl.spark.file_events import open_events
from flowdsl.spark.job import Job, PartTotals, send_graph
from flowdsl.spark.layout import Layout
from flowdsl.spark.link_shares import NO_EVENTS, LinkShares
from flowdsl.spark.outputs import TOTALS
from flowdsl.spark.parted_links import Parted
from flowdsl.spark.ranges import Cut, Ranges
from flowdsl.spark.rows import decode_frame, encode_frame
from flowdsl.spark.spread_fans import Heavy, Spread, heavy_in, heavy_of, share_out
from flowdsl.spark.stage_progress import follow_stages
from flowdsl.spark.tasks import RangeStage, ShardStage, WholeStage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# least number of events of a range and of a shard: starting a part takes a tenth of a second, as long as some
# thousand events
LEAST_ROWS: Final = 20_000
LEAST_SHARD: Final = 250_000
_OUT: Final = (
    "part int, stage int, origin int, ordinal int, name string, meta string, content binary, place string"
)
# more events than this through one partition cause a warning
_MANY: Final = 1_000_000
# limit on the events that change the graph, if every task gathers them before the first event
MOST_OF_FINAL: Final = 5_000_000
_NOTHING: Final = pl.DataFrame(schema={"seq_no": pl.Int64})


class ClusterRun:
    """One replay on a cluster."""

    # so many events that change the graph are sent to every task; more are shuffled with the ranges
    most_sent = 200_000
    # links of a type, and events of them, above which they are shared out where they can be
    most_links = 1_000_000
    # links of one id, in the snapshot or in the log, for each task that its branches go on in
    most_branches = 1_000_000

    def __init__(
        self,
        session: SparkSession,
        plan: Plan,
        options: Options,
        partitions: int | None,
        chunk_rows: int | None,
    ) -> None:
        self._session, self.plan, self._options = session, plan, options
        self._graph = options.graph or EntityGraph()
        self.layout = Layout.of(plan)
        self._most = partitions or int(session.conf.get("spark.sql.shuffle.partitions") or 200)
        self._least_rows, self._least_shard = (1, 1) if partitions else (LEAST_ROWS, LEAST_SHARD)
        # a given number of partitions is used as it is
        self._in_place = partitions is None
        self._chunk = options.chunk_size or chunk_rows or CHUNK
        self._spread: Spread = {}
        self.follower = ProgressReporter()
        self._marks = options.source.clock_marks()
        self._ahead = options.source.ahead_marks()

    def collected(self, store: Store, *, trace: bool) -> RunTotals:
        """Run the job, and return its totals with the tables in the store."""
        options = self._options
        events = open_events(self._session, options.source, options.span, self.plan)
        ranges = self._ranges(events, in_place=self._in_place)
        if ranges is None:
            return RunTotals(0, 0, None, self._totals([]), {})
        parted = self._find_parted(ranges)
        self.layout = Layout.of(self.plan, parted, self._heavy(events, ranges, parted))
        self._spread = self._shares(events, ranges)
        self._tell(ranges)
        changes = self._changes(events, ranges)
        if ranges.in_place and changes is None and ranges.count > 1:
            ranges = self._ranges(events, in_place=False)
            assert ranges is not None
        with _stage(store) as folder:
            where = None if folder is None else str(folder)
            job = self._job(events, ranges, changes, trace=trace, folder=where)
            rows, totals = self._ran(events, ranges, job)
            if ranges.in_place and not _complete(totals, ranges):
                # the files are not in the order that their blocks have
                ranges = self._ranges(events, in_place=False)
                assert ranges is not None
                job = self._job(events, ranges, changes, trace=trace, folder=where)
                rows, totals = self._ran(events, ranges, job)
            self._keep(rows, store, folder, events)
        if events.raw:
            # what a log read here says of itself
            options.source.broken = events.broken + sum(part.broken for part in totals)  # type: ignore[misc]
        return self._sum(totals, ranges, job.final_clock)

    def _ranges(self, events: RunEvents, *, in_place: bool) -> Ranges | None:
        return events.ranges(self._marks, self._ahead, Cut(self._most, self._least_rows, in_place))

    @property
    def _final(self) -> bool:
        return self._options.as_of == "end"

    def _changes(self, events: RunEvents, ranges: Ranges) -> pl.DataFrame | None:
        """Return the events that change the graph, to be sent to every task; None if there are too many."""
        if not self._final and (ranges.count == 1 or self.layout.whole is not None):
            return None
        parted = self.layout.parted
        # links that are shared out have no ids: their events are those of their types
        count = ranges.changing - sum(ranges.links.get(name, 0) for name in parted)
        if not count:
            return _NOTHING
        if self._final and count > MOST_OF_FINAL:
            raise _too_many_changes()
        return events.changes(parted).sort("seq_no") if self._final or count <= self.most_sent else None

    def _find_parted(self, ranges: Ranges) -> Parted:
        """Return the links to share out over the shards: those of types with many links or link events."""
        if self.layout.whole is not None or ranges.named or self._final:
            return {}
        counts = self._graph.link_counts
        return {
            name: end
            for name, end in Layout.partable(self.plan).items()
            if not self._graph.has_link_ids(name)
            and max(counts.get(name, 0), ranges.links.get(name, 0)) > self.most_links
        }

    def _heavy(self, events: RunEvents, ranges: Ranges, parted: Parted) -> Heavy:
        """Return the ids with so many links that several tasks share the branches of their fan-outs."""
        if self.layout.whole is not None or not self.plan.rules.timers:
            return {}
        counts = heavy_in(self._graph, self.plan, parted, self.most_branches)
        for (name, end), found in counts.items():
            if ranges.links.get(name, 0) > self.most_branches:
                found.update(events.frequent(name, end, self.most_branches))
        return heavy_of(counts, self.most_branches, self._most)

    def _shares(self, events: RunEvents, ranges: Ranges) -> Spread:
        """Return how the links of these ids are shared out, where they are."""
        found = {}
        for (name, end), ids in self.layout.heavy.items():
            if name in self.layout.parted:
                log = events.links_of(name, end, [*ids]) if ranges.links.get(name, 0) else NO_EVENTS
                found[name, end] = LinkShares.of_links(self._graph, name, end, ids, log)
        return found

    def given_links(self, job: Job) -> pa.Table:
        """Return the links of the snapshot that are shared out, in blocks for their shards."""
        blocks = share_out(self._graph, job.parted, job.shards, self._spread)
        return pa.Table.from_batches(to_batches(blocks), SCHEMA)

    def _ran(
        self, events: RunEvents, ranges: Ranges, job: Job
    ) -> tuple[list[dict[str, Any]], list[PartTotals]]:
        rows = self.outputs(events, ranges, job)
        rows.sort(key=lambda row: (row["stage"], row["origin"], row["ordinal"]))
        return rows, [pickle.loads(row["content"]) for row in rows if row["name"] == TOTALS]

    def _job(
        self,
        events: RunEvents,
        ranges: Ranges,
        changes: pl.DataFrame | None,
        *,
        trace: bool,
        folder: str | None,
    ) -> Job:
        options, behind = self._options, events.behind
        marks = self._marks
        inside = marks.filter(pl.col("seq_no") < (behind if behind is not None else 1 << 62))
        final: Any = inside["clock"].cast(pl.Int64).max()
        return Job(
            uuid.uuid4().hex,
            options.flows,
            options.caps,
            options.span,
            options.open_windows,
            trace,
            self._chunk,
            self._shards(ranges),
            ranges.clocks,
            max(ranges.end, BEGINNING if final is None else int(final)),
            ranges.last,
            inside,
            self._ahead,
            events.raw,
            folder,
            events.whole,
            ranges.starts,
            ranges.in_place,
            ranges.files,
            None if changes is None else encode_frame(changes),
            self._final,
            self.layout.parted,
            self.layout.heavy,
        )

    def _shards(self, ranges: Ranges) -> int:
        if all(gate.single for gate in self.layout.gates.values()):
            return 1
        tasks = max((max(ids.values()) for ids in self.layout.heavy.values()), default=1)
        return max(1, min(self._most, max(tasks, -(-ranges.events // self._least_shard))))

    def outputs(self, source: RunEvents, ranges: Ranges, job: Job) -> list[dict[str, Any]]:
        """Run the tasks, and return their rows of output."""
        shuffles = (not ranges.in_place) + (bool(self.layout.gates) and self.layout.whole is None)
        with send_graph(self._session, self.sent) as graph:
            rows = self._lazily(source, ranges, replace(job, graph=graph))
            found = follow_stages(self._session, rows.toArrow, 1 + shuffles, self.follower, ranges.events)
            return found.to_pylist()  # type: ignore[no-any-return]

    @property
    def sent(self) -> tuple[EntityGraph, Spread]:
        """Return the graph without the links that are shared out, and how those of some ids are."""
        parted = self.layout.parted
        return self._graph.with_links(without=parted) if parted else self._graph, self._spread

    def _lazily(self, source: RunEvents, ranges: Ranges, job: Job) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        events = source.frame()
        if self.layout.whole is not None:
            rows = events.select(F.lit(0).alias("part"), "*").repartitionById(1, "part")
            return rows.sortWithinPartitions("seq_no").mapInArrow(WholeStage(self._with(job, _OUT)), _OUT)
        changes = changes_graph(self.plan, job.parted) if not job.final_graph else F.lit(False)
        changes = changes.alias("changes")
        if ranges.files:
            # a task for each, which is given no more than its number
            rows = self._session.range(0, ranges.count, 1, ranges.count)
        elif ranges.in_place:
            rows = events.select(changes, "*")
        else:
            rows = self._shuffle(events.select(ranges.number().alias("part"), changes, "*"), ranges, job)
        if not self.layout.gates:
            return rows.mapInArrow(RangeStage(self._with(job, _OUT)), _OUT)
        between = f"seq_no bigint, {_OUT}"
        sent = rows.mapInArrow(RangeStage(self._with(job, between)), between)
        if job.parted:
            given = self._session.createDataFrame(self.given_links(job))
            sent = sent.unionByName(given, allowMissingColumns=True)
        shards = sent.repartitionById(job.shards, "part").sortWithinPartitions("part", "seq_no")
        return shards.mapInArrow(ShardStage(self._with(job, _OUT)), _OUT)

    def _shuffle(self, events: DataFrame, ranges: Ranges, job: Job) -> DataFrame:
        """Return the events of each range in its partition, in order; before them, where they are not sent
        to every task, those of earlier ranges that change the graph.
        """
        from pyspark.sql import functions as F  # noqa: N812

        rows = events.withColumn("own", F.lit(True))
        if ranges.count > 1 and job.changes is None:
            later = F.explode(F.sequence(F.col("part") + 1, F.lit(ranges.count - 1))).alias("part")
            past = rows.filter(F.col("changes") & (F.col("part") < ranges.count - 1))
            others = [name for name in rows.columns if name not in ("part", "own")]
            rows = rows.unionByName(past.select(later, F.lit(False).alias("own"), *others))
        return rows.repartitionById(ranges.count, "part").sortWithinPartitions("part", "seq_no")

    def _with(self, job: Job, ddl: str) -> Job:
        from pyspark.sql.pandas.types import to_arrow_schema
        from pyspark.sql.types import StructType

        columns: Any = StructType.fromDDL(ddl)
        return replace(job, schema=to_arrow_schema(columns, timezone="UTC"))

    def _tell(self, ranges: Ranges) -> None:
        if ranges.events > _MANY:
            for finding in self.layout.findings:
                warn(f"{finding}; {ranges.events:,} events")

    def _keep(
        self, rows: Sequence[Mapping[str, Any]], store: Store, folder: Path | None, events: RunEvents
    ) -> None:
        """Put the parts of tables into the store."""
        failed: list[TablePart] = []
        unmatched: list[pl.DataFrame] = []
        for row in rows:
            if row["name"] == TOTALS:
                continue
            if row["place"] is not None:
                assert isinstance(store, FolderStore)
                assert folder is not None
                store.adopt(row["name"], folder / row["place"])
                continue
            part = TablePart(decode_frame(row["content"]), json.loads(row["meta"]))
            if row["name"] == "errors" and not events.whole:
                failed.append(part)
            elif row["name"] == "unmatched":
                unmatched.append(part.frame)
            else:
                store.add(row["name"], part)
        for part in add_events(failed, events):
            store.add("errors", part)
        if unmatched:
            store.add("unmatched", TablePart(pl.concat(unmatched).sort("seq_no")))

    def _sum(self, found: Sequence[PartTotals], ranges: Ranges, clock: int) -> RunTotals:
        delivered: Counter[tuple[int, str]] = Counter()
        for part in found:
            delivered.update(part.delivered)
        whole = found[0] if found and self.layout.whole is not None else None
        events, position, stopped = ranges.events, ranges.last, None
        span: tuple[int, int] | None = (ranges.begin, clock)
        if whole is not None:
            events, position, span, stopped = whole.events, whole.position, whole.span, whole.stopped
        return RunTotals(
            events=events,
            position=position,
            span=span,
            steps=self._totals(found),
            delivered=delivered,
            late=sum(part.late for part in found),
            ahead=sum(part.ahead for part in found),
            unmatched=sum(part.unmatched for part in found),
            stopped=stopped,
        )

    def _totals(self, found: Sequence[PartTotals]) -> list[StepTotals]:
        totals = []
        for place, step in enumerate(self.plan.steps):
            counts, held, rows = StepCounts(), 0, []
            for part in found:
                more, waiting, opened = part.steps[place]
                counts.add(more)
                held += waiting
                rows += opened
            rows.sort(key=lambda row: (row[1]["opened_at"], row[0]))
            totals.append(StepTotals(step, counts, held, [row for _, row in rows]))
        return totals


def _too_many_changes() -> ReplayError:
    return ReplayError(
        f"more than {MOST_OF_FINAL:,} events change the graph, and as_of='end' sends all to every task",
        allowed=f"{MOST_OF_FINAL:,}, or as_of='event'",
        hint="leave engine= out, or replay over the graph of then: EntityGraph with its frames",
    )


def _complete(totals: Sequence[PartTotals], ranges: Ranges) -> bool:
    """Return True if each range was run as a whole and in order by one task."""
    taken = [(part.part, part.taken) for part in totals if part.taken]
    return sorted(taken) == list(enumerate(ranges.rows)) and all(part.ordered for part in totals)


@contextmanager
def _stage(store: Store) -> Iterator[Path | None]:
    """Make a folder next to the tables of a result for files that are not yet part of it."""
    if not isinstance(store, FolderStore):
        yield None
        return
    folder = store.folder / f"_staged-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
