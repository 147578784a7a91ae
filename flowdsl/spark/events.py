"""Events as Spark DataFrames: Parquet files and DataFrames are read by Spark, any other log is handed over.

A DataFrame of events has `seq_no`, `time` (µs since 1970), `kind`, and columns of an event table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl
import pyarrow as pa

from flowdsl.engine.range import ReplayRange
from flowdsl.errors import ReplayError
from flowdsl.events import EVENT_COLUMNS
from flowdsl.flow.plan import Plan
from flowdsl.log import EventSource
from flowdsl.log.columns import SCHEMA, asked_columns, readable
from flowdsl.log.numbered_events import read_events_at
from flowdsl.spark.ranges import Cut, Grid, Ranges
from flowdsl.spark.rows import frame_of, rows_of
from flowdsl.spark.sources import event_table, events_of_frame, spark_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row, SparkSession


_OTHER: Final = {"source_id": "target_id", "target_id": "source_id"}
# most events handed over from a log that Spark does not read itself
HANDED_OVER: Final = 20_000_000
BUCKETS: Final = 1 << 16
"""The number of groups of ids that are counted before ids are."""


class RunEvents(Protocol):
    """The events of a log as a replay on a cluster reads them, up to its end."""

    behind: int | None
    """The number of the first event behind the end."""
    broken: int
    """Rows that are not events."""
    raw: bool
    """True if text of `data` and `metadata` may be no JSON."""
    whole: bool
    """True if the events have all columns that the log has, and not only those that the flows read."""

    def frame(self) -> DataFrame:
        """Return the events as a DataFrame."""
        ...

    def ranges(self, marks: pl.DataFrame, ahead: pl.DataFrame, cut: Cut) -> Ranges | None:
        """Cut the log into ranges; None where there are no events."""
        ...

    def changes(self, without: Collection[str] = ()) -> pl.DataFrame:
        """Return the events that change the graph, except for links of some types, in no order."""
        ...

    def frequent(self, name: str, end: str, most: int) -> dict[str, int]:
        """Return the ids with more than `most` new links of a type at one end, and their number."""
        ...

    def links_of(self, name: str, end: str, ids: Sequence[str]) -> pl.DataFrame:
        """Return the events of links of a type that have one of some ids at an end, in the order of the log:
        `seq_no`, whether a link is `made`, the `id`, and the `other` end.
        """
        ...

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        """Return whole events by their numbers, which ascend."""
        ...


class HandedOver:
    """Events that this machine reads, and hands over to the cluster."""

    def __init__(self, session: SparkSession, source: EventSource, span: ReplayRange, plan: Plan) -> None:
        columns = plan.event_columns
        count = source.count()
        if count is not None and count > HANDED_OVER:
            raise ReplayError(
                f"{count:,} events of this log would go through this machine to the cluster",
                allowed=f"{HANDED_OVER:,}; Parquet files with seq_no and timestamps in UTC; "
                "a Spark DataFrame",
                hint="fd.convert(…) writes such files",
            )
        self._session, self._source, self._plan = session, source, plan
        self.raw = self.whole = False
        self.behind: int | None = None
        frames = []
        for whole in source.chunks(columns, 1 << 17):
            frame, ended = span.cut(whole)
            frames.append(readable(frame))
            if ended:
                self.behind = int(whole["seq_no"][frame.height])
                break
        self.broken = source.broken
        empty = pl.DataFrame(schema={name: SCHEMA[name] for name in asked_columns(columns, 1, 0)})
        self.rows = rows_of(pl.concat(frames, how="diagonal_relaxed") if frames else empty)

    def frame(self) -> DataFrame:
        return self._session.createDataFrame(spark_table(self.rows))

    def ranges(self, marks: pl.DataFrame, ahead: pl.DataFrame, cut: Cut) -> Ranges | None:
        if not self.rows.height:
            return None
        moving = self.rows.select("seq_no", "time")
        grid = Grid.of(moving.height, int(moving["seq_no"][0]), int(moving["seq_no"][-1]), cut)
        if ahead.height:
            still = ahead.select("seq_no", pl.col("clock").cast(pl.Int64).alias("set"))
            moving = moving.join(still, on="seq_no", how="left").select(
                "seq_no", pl.coalesce("set", "time").alias("time")
            )
        found = moving.group_by(((pl.col("seq_no") - grid.first) // grid.width).alias("stretch")).agg(
            pl.len().alias("rows"),
            pl.min("seq_no").alias("first"),
            pl.max("seq_no").alias("last"),
            pl.max("time"),
            pl.col("time").sort_by("seq_no").first().alias("begin"),
        )
        counts = self.rows.select(**sums_of_events(self._plan))
        return add_counts(grid.ranges(found, marks), self._plan, counts)

    def changes(self, without: Collection[str] = ()) -> pl.DataFrame:
        return self.rows.filter(where_graph_changes(self._plan, without))

    def frequent(self, name: str, end: str, most: int) -> dict[str, int]:
        made = self.rows.filter(pl.col("kind") == "link.created", pl.col("link_type") == name)
        return dict(made[end].value_counts().filter(pl.col("count") > most).iter_rows())

    def links_of(self, name: str, end: str, ids: Sequence[str]) -> pl.DataFrame:
        of_link = pl.col("kind").str.starts_with("link.") & (pl.col("link_type") == name)
        found = self.rows.filter(of_link, pl.col(end).is_in(ids))
        made = (pl.col("kind") == "link.created").alias("made")
        return found.select("seq_no", made, pl.col(end).alias("id"), pl.col(_OTHER[end]).alias("other"))

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        return read_events_at(self._source, numbers.to_numpy())


class ClusterEvents:
    """Events that the cluster reads."""

    def __init__(self, table: DataFrame, span: ReplayRange, plan: Plan) -> None:
        self._table, self._plan = table, plan
        self.raw = True
        self.whole = {*EVENT_COLUMNS} & {*table.columns} <= {"seq_no", "timestamp", *plan.event_columns}
        self._frame, self.behind = _cut_at_end(events_of_frame(table, plan.event_columns), span)
        self.broken = 0
        self._known: tuple[int, Grid | None, pl.DataFrame | None] | None = None

    def frame(self) -> DataFrame:
        return self._frame

    def ranges(self, marks: pl.DataFrame, ahead: pl.DataFrame, cut: Cut) -> Ranges | None:
        if self._known is None:
            self._known = self._count_rows(ahead, cut)
        total, grid, found = self._known
        events = 0 if found is None else int(found["rows"].sum())
        if self.behind is None:
            self.broken = total - events
        if grid is None or found is None or not events:
            return None
        in_place = grid.in_place(found, marks) if cut.in_place and "file" in found.columns else None
        return add_counts(in_place or grid.ranges(found, marks), self._plan, found)

    def _count_rows(self, ahead: pl.DataFrame, cut: Cut) -> tuple[int, Grid | None, pl.DataFrame | None]:
        """Return the number of rows, and the counts of the stretches that they are cut into."""
        from pyspark.sql import functions as F  # noqa: N812

        # of one column, before rows are judged
        row = self._table.agg(F.count("*"), F.min("seq_no"), F.max("seq_no")).first()
        assert row is not None
        total, first, last = row
        if last is None:
            return total, None, None
        grid = Grid.of(total, max(int(first), 1), max(int(last), 1), cut)
        return total, grid, self._stretches(grid, ahead, blocks=cut.in_place and self._of_one_table)

    @property
    def _of_one_table(self) -> bool:
        """Return False if rows come from several tables, as Spark then cannot tell which file has a row."""
        from pyspark.errors import AnalysisException
        from pyspark.sql import functions as F  # noqa: N812

        try:
            return bool(self._table.select(F.input_file_name()).columns)
        except AnalysisException:
            return False

    def _stretches(self, grid: Grid, ahead: pl.DataFrame, *, blocks: bool) -> pl.DataFrame:
        """Return what is known of the events of each stretch, and of each block of a file in it."""
        from pyspark.sql import functions as F  # noqa: N812

        moving, of_link = self._frame, F.col("kind").startswith("link.")
        counts = {"changing": changes_graph(self._plan), "named": F.lit(False)}
        for column, name in link_counts(self._plan).items():
            counts["named"] = of_link & F.col("link_id").isNotNull()
            counts[column] = of_link & (F.col("link_type") == name)
        moving = moving.withColumns(counts)
        where = {"file": F.input_file_name(), "block": F.input_file_block_start().cast("bigint")}
        moving = moving.withColumns(where) if blocks else moving
        if ahead.height:
            still = pa.table(
                {"seq_no": ahead["seq_no"].to_arrow(), "set": ahead["clock"].cast(pl.Int64).to_arrow()}
            )
            marked = F.broadcast(self._table.sparkSession.createDataFrame(still))
            moving = moving.join(marked, "seq_no", "left").withColumn("time", F.coalesce("set", "time"))
        stretch = F.floor((F.col("seq_no") - F.lit(grid.first)) / F.lit(grid.width)).cast("int")
        found = pl.from_arrow(
            moving.groupBy(*(where if blocks else ()), stretch.alias("stretch"))
            .agg(
                F.count("*").alias("rows"),
                F.min("seq_no").alias("first"),
                F.max("seq_no").alias("last"),
                F.max("time").alias("time"),
                F.min_by("time", "seq_no").alias("begin"),
                *(F.count_if(name).alias(name) for name in counts),
            )
            .toArrow()
        )
        assert isinstance(found, pl.DataFrame)
        return found

    def changes(self, without: Collection[str] = ()) -> pl.DataFrame:
        found = pl.from_arrow(self._frame.filter(changes_graph(self._plan, without)).toArrow())
        assert isinstance(found, pl.DataFrame)
        return found

    def frequent(self, name: str, end: str, most: int) -> dict[str, int]:
        from pyspark.sql import functions as F  # noqa: N812

        made = self._frame.filter((F.col("kind") == "link.created") & (F.col("link_type") == name))
        # few sums are shuffled, and not a count for each id: an id has no more links than all of its bucket
        bucket = F.pmod(F.xxhash64(end), F.lit(BUCKETS))
        many = [row["bucket"] for row in _counts(made, bucket.alias("bucket"), most)]
        counted = _counts(made.filter(bucket.isin(*many)), F.col(end), most) if many else ()
        return {row[end]: row["links"] for row in counted}

    def links_of(self, name: str, end: str, ids: Sequence[str]) -> pl.DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        of_link = F.col("kind").startswith("link.") & (F.col("link_type") == name)
        made = (F.col("kind") == "link.created").alias("made")
        ends = F.col(end).alias("id"), F.col(_OTHER[end]).alias("other")
        found = self._frame.filter(of_link & F.col(end).isin(*ids)).select("seq_no", made, *ends)
        return frame_of(found.toArrow()).sort("seq_no")

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        wanted = self._table.sparkSession.createDataFrame(pa.table({"seq_no": numbers.to_arrow()}))
        events = events_of_frame(self._table, EVENT_COLUMNS)
        found = pl.from_arrow(events.join(F.broadcast(wanted), "seq_no", "left_semi").toArrow())
        assert isinstance(found, pl.DataFrame)
        names = [name for name in EVENT_COLUMNS if name in (*found.columns, "timestamp")]
        return event_table(found, names).sort("seq_no")


def _counts(rows: DataFrame, key: Column, most: int) -> list[Row]:
    """Return the values of a key that more than so many rows have, with their number."""
    from pyspark.sql import functions as F  # noqa: N812

    counts = rows.groupBy(key).agg(F.count("*").alias("links"))
    found: list[Row] = counts.filter(F.col("links") > most).collect()
    return found


def _cut_at_end(events: DataFrame, span: ReplayRange) -> tuple[DataFrame, int | None]:
    """Return the events before the end of a range, and the number of the first one behind it."""
    from pyspark.sql import functions as F  # noqa: N812

    if span.stop is None and span.stop_time is None:
        return events, None
    behind = F.lit(False)
    if span.stop is not None:
        behind = behind | (F.col("seq_no") >= max(0, min(span.stop, 2**63 - 1)))
    if span.stop_time is not None:
        behind = behind | (F.col("time") >= span.stop_time)
    found = events.filter(behind).agg(F.min("seq_no")).first()
    number = None if found is None else found[0]
    return (events, None) if number is None else (events.filter(F.col("seq_no") < number), int(number))


def link_counts(plan: Plan) -> dict[str, str]:
    """Return the link types that are read, by the columns that count their events."""
    return {
        f"links_{number}": name for number, name in enumerate(sorted({name for name, _ in plan.needs.links}))
    }


def sums_of_events(plan: Plan) -> dict[str, pl.Expr]:
    """Return how many events change the graph, are of links with ids, and of each link type that is read."""
    of_link, types = pl.col("kind").cast(pl.String).str.starts_with("link."), link_counts(plan)
    named = of_link & pl.col("link_id").is_not_null() if types else pl.lit(value=False)
    of_types = {column: of_link & pl.col("link_type").eq_missing(name) for column, name in types.items()}
    counts = {"changing": where_graph_changes(plan), "named": named, **of_types}
    return {column: one.sum().cast(pl.Int64) for column, one in counts.items()}


def add_counts(ranges: Ranges, plan: Plan, counts: pl.DataFrame) -> Ranges:
    """Return ranges with the sums of such counts."""
    sums = {name: int(counts[name].sum()) for name in ("changing", "named", *link_counts(plan))}
    links = {name: sums[column] for column, name in link_counts(plan).items()}
    return replace(ranges, changing=sums["changing"], named=sums["named"], links=links)


def changes_graph(plan: Plan, without: Collection[str] = ()) -> Column:
    """Return which events change what the flows read of the graph, but for links of some types."""
    from pyspark.sql import functions as F  # noqa: N812

    needs, kind = plan.needs, F.col("kind")
    changes = kind.startswith("entity.") if needs.entities else F.lit(False)
    types = sorted({name for name, _ in needs.links} - {*without})
    if types:
        # a link with an id may replace one of another type
        mine = F.coalesce(F.col("link_type").isin(*types), F.lit(False)) | F.col("link_id").isNotNull()
        changes = changes | (kind.startswith("link.") & mine)
    return changes


def where_graph_changes(plan: Plan, without: Collection[str] = ()) -> pl.Expr:
    """Return `changes_graph` as a mask of events in memory."""
    needs, kind = plan.needs, pl.col("kind").cast(pl.String)
    changes = kind.str.starts_with("entity.") if needs.entities else pl.lit(value=False)
    types = sorted({name for name, _ in needs.links} - {*without})
    if types:
        mine = pl.col("link_type").is_in(types).fill_null(value=False) | pl.col("link_id").is_not_null()
        changes = changes | (kind.str.starts_with("link.") & mine)
    return changes
