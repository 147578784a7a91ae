"""Events as Spark DataFrames: Parquet files and DataFrames are read by Spark, any other log is handed over.

A DataFrame of events has `seq_no`, `time` (µs since 1970), `kind`, and columns of an event table.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.engine.range import ReplayRange
from flowdsl.errors import DataError, ReplayError
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS
from flowdsl.flow.plan import Plan
from flowdsl.log import EventSource
from flowdsl.log.columns import FIRST_SECOND, LAST_SECOND, SCHEMA, TIME, asked_columns, check_types, readable
from flowdsl.log.table import no_marks
from flowdsl.log.validation import ENTITY, LINK
from flowdsl.results.table_writer import read_events_at
from flowdsl.spark.ranges import Cut, Grid, Ranges

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame, SparkSession

    from flowdsl.log.pushdown import ScanFilter

# so many events of a log that Spark does not read itself are handed over at most
HANDED_OVER: Final = 20_000_000
_BLOCK: Final = 1 << 20


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what pyspark says of the versions of other libraries: nothing of theirs is used here."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="PySpark does not yet fully support", category=FutureWarning
        )
        yield


def is_spark_frame(value: object) -> bool:
    """Return True for a DataFrame of Spark, also of Spark Connect; pyspark is not imported."""
    return type(value).__module__.partition(".")[0] == "pyspark" and hasattr(value, "mapInArrow")


def numbered(frame: DataFrame) -> DataFrame:
    """Return events numbered by (timestamp, event_id); a `DataError` where that is not a total order.

    Quantiles of the time cut them into stretches, which are sorted and counted each by itself.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    time = F.unix_micros(_moment(dict(frame.dtypes))).alias("__time")
    events = frame.select("*", time).filter(F.col("__time").isNotNull() & F.col("kind").isin(*KINDS))
    twice = events.groupBy("__time", "event_id").count().filter(F.col("count") > 1).first()
    if twice is not None:
        raise DataError(
            f"{twice['count']} events have the same time and the event_id {twice['event_id']!r}",
            allowed="seq_no, or an event_id that is another one for each event of a time",
        )
    rows = events.count()
    shares = [place / parts for place in range(1, parts)] if (parts := -(-rows // _BLOCK)) > 1 else []
    cuts = sorted(set(events.stat.approxQuantile("__time", shares, 0.001))) if shares else []
    reached = (F.col("__time") >= F.lit(int(cut)) for cut in cuts)
    stretch = reduce(lambda a, b: a + b, (one.cast("int") for one in reached), F.lit(0)).alias("__stretch")
    events = events.select("*", stretch)
    counts = {row["__stretch"]: row["count"] for row in events.groupBy("__stretch").count().collect()}
    before = np.cumsum([0, *(counts.get(number, 0) for number in range(len(cuts)))]).tolist()
    place = F.row_number().over(Window.partitionBy("__stretch").orderBy("__time", "event_id"))
    number = F.element_at(F.array(*map(F.lit, before)), F.col("__stretch") + 1).cast("bigint") + place
    return events.select("*", number.alias("seq_no")).drop("__time", "__stretch")


def _moment(types: Mapping[str, str]) -> Column:
    """Return the timestamp of events as a moment."""
    from pyspark.sql import functions as F  # noqa: N812

    stamp = F.col("timestamp")
    if types["timestamp"] == "timestamp_ntz":
        return stamp.cast("timestamp")
    return F.try_to_timestamp(stamp) if types["timestamp"] == "string" else stamp


@dataclass(eq=False)
class SparkEvents:
    """A Spark DataFrame in the shape of an event table, as a log.

    Its order is that of `seq_no`, or else of (timestamp, event_id). Explanations and other short looks read
    the events of a few numbers from it.
    """

    frame: Any
    broken: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        names = {name: _polars_type(kind) for name, kind in self.frame.dtypes if name in SCHEMA}
        check_types(names, "the Spark DataFrame")
        if "seq_no" not in names:
            if "event_id" not in names:
                raise DataError(
                    "the Spark DataFrame has neither 'seq_no' nor 'event_id', and its rows have no order",
                    allowed="seq_no: whole numbers from 1 on, each once; or event_id and timestamp",
                )
            with quiet():
                self.frame = numbered(self.frame)

    def count(self) -> int | None:
        """Return the number of rows."""
        return int(self.frame.count())

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks; they come to this machine."""
        from pyspark.sql import functions as F  # noqa: N812 -- as everybody calls it

        names = asked_columns(columns, size, after)
        events = events_of_frame(self.frame, names)
        with quiet():
            ends: Any = events.agg(F.min("seq_no"), F.max("seq_no")).first()
            first, last = ends
            if last is None:
                return
            at = max(first, after + 1)
            while at <= last:
                block = events.filter((F.col("seq_no") >= at) & (F.col("seq_no") < at + _BLOCK))
                table = pl.from_arrow(block.orderBy("seq_no").toArrow())
                assert isinstance(table, pl.DataFrame)
                yield from event_table(table, names).iter_slices(size)
                at += _BLOCK

    def clock_marks(self) -> pl.DataFrame:
        """Return none: only logs that flowdsl wrote have them."""
        return no_marks()

    def ahead_marks(self) -> pl.DataFrame:
        """Return none."""
        return no_marks()

    @property
    def problems(self) -> pd.DataFrame:
        """Return an empty table: rows of a cluster that are not events are counted, and not listed."""
        empty = pl.DataFrame(schema=dict.fromkeys(("place", "row", "problem", "reason", "text"), pl.String))
        return empty.to_pandas()


def event_table(table: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return events as Spark gives them in the types of an event table."""
    shaped = table.with_columns(
        pl.col("time").cast(TIME).alias("timestamp"), pl.col("kind").cast(SCHEMA["kind"])
    )
    absent = [pl.lit(None, SCHEMA[name]).alias(name) for name in names if name not in shaped.columns]
    return shaped.with_columns(absent).select(names)


class RunEvents(Protocol):
    """The events of a log as a replay on a cluster reads them, up to its end."""

    behind: int | None
    """The number of the first event behind the end."""
    broken: int
    """Rows that are not events."""
    raw: bool
    """True if text of `data` and `metadata` may be no JSON."""

    def frame(self) -> DataFrame:
        """Return the events as a DataFrame."""
        ...

    def ranges(self, marks: pl.DataFrame, ahead: pl.DataFrame, cut: Cut) -> Ranges | None:
        """Cut the log into ranges; None where there are no events."""
        ...

    def changes(self, most: int, without: Collection[str] = ()) -> pl.DataFrame | None:
        """Return the events that change the graph, but for links of some types, in no order; None where there
        are more of them.
        """
        ...

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        """Return whole events by their numbers, which ascend."""
        ...


def open_events(session: SparkSession, source: EventSource, span: ReplayRange, plan: Plan) -> RunEvents:
    """Return the events of a log, with the columns that a plan reads."""
    if isinstance(source, SparkEvents):
        return ClusterEvents(source.frame, span, plan)
    files = getattr(source, "numbered_files", None)
    if files:
        return ClusterEvents(session.read.parquet(*files), span, plan)
    return HandedOver(session, source, span, plan)


def events_of_frame(frame: DataFrame, columns: Collection[str]) -> DataFrame:
    """Return the rows of a table that can be events."""
    from pyspark.sql import functions as F  # noqa: N812

    kinds = dict(frame.dtypes)
    wanted = [name for name in EVENT_COLUMNS if name in columns]
    texts = [name for name in wanted if name not in ("seq_no", "timestamp", "kind", *JSON_COLUMNS)]
    judged = [name for name in (*LINK, *ENTITY, "link_id") if name in kinds and name not in wanted]
    events = frame.select(
        F.col("seq_no").cast("bigint"),
        F.unix_micros(_moment(kinds)).alias("time"),
        F.col("kind").cast("string"),
        *(
            # null where the table lacks it
            (F.col(name) if name in kinds else F.lit(None)).cast("string").alias(name)
            for name in (*texts, *judged)
        ),
        *(
            name if name in kinds else F.lit(None).cast("string").alias(name)
            for name in JSON_COLUMNS
            if name in wanted
        ),
    )
    return events.filter(_sound({*texts, *judged})).drop(*judged)


def _sound(names: Collection[str]) -> Column:
    """Return which rows can be events, as `flowdsl.log.validation.bad_rows` has it."""
    from pyspark.sql import functions as F  # noqa: N812

    def gap(columns: Sequence[str]) -> Column:
        gaps = (
            F.coalesce(F.col(name) == "", F.lit(True)) if name in names else F.lit(True) for name in columns
        )
        return reduce(lambda a, b: a | b, gaps)

    kind, micros = F.col("kind"), 1_000_000
    first, end = FIRST_SECOND * micros, (LAST_SECOND + 1) * micros
    named = F.coalesce(F.col("link_id") == "", F.lit(False)) if "link_id" in names else F.lit(False)
    good = kind.isin(*KINDS) & F.col("time").isNotNull() & (F.col("time") >= first) & (F.col("time") < end)
    good = good & F.col("seq_no").isNotNull() & (F.col("seq_no") >= 1)
    good = good & ~((kind == "link.created") & gap(LINK))
    good = good & ~((kind == "link.deleted") & gap(LINK) & gap(["link_id"]))
    good = good & ~(kind.startswith("link.") & named)
    return good & ~(kind.startswith("entity.") & gap(ENTITY))


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
        self.raw = False
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
        self.rows = pl.concat(frames, how="diagonal_relaxed") if frames else empty
        self.rows = self.rows.select(
            "seq_no",
            pl.col("timestamp").cast(pl.Int64).alias("time"),
            pl.col("kind").cast(pl.String),
            pl.exclude("seq_no", "timestamp", "kind"),
        )

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
        links = self.rows.filter(pl.col("kind").str.starts_with("link."))
        if not self._plan.needs.links:
            return grid.ranges(found, marks)
        named = len(links) - links["link_id"].null_count() if "link_id" in links.columns else 0
        types = links["link_type"].value_counts() if "link_type" in links.columns else None
        return replace(
            grid.ranges(found, marks),
            named=named,
            links={} if types is None else {str(name): count for name, count in types.drop_nulls().rows()},
        )

    def changes(self, most: int, without: Collection[str] = ()) -> pl.DataFrame | None:
        found = self.rows.filter(where_graph_changes(self._plan, without))
        return found if found.height <= most else None

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        return read_events_at(self._source, numbers.to_numpy())


class ClusterEvents:
    """Events that the cluster reads."""

    def __init__(self, table: DataFrame, span: ReplayRange, plan: Plan) -> None:
        self._table, self._plan = table, plan
        self.raw = True
        self._frame, self.behind = _cut_at_end(events_of_frame(table, plan.event_columns), span)
        self.broken = 0

    def frame(self) -> DataFrame:
        return self._frame

    def ranges(self, marks: pl.DataFrame, ahead: pl.DataFrame, cut: Cut) -> Ranges | None:
        from pyspark.sql import functions as F  # noqa: N812

        # of one column, before rows are judged
        row = self._table.agg(F.count("*"), F.min("seq_no"), F.max("seq_no")).first()
        assert row is not None
        total, first, last = row
        if last is None:
            self.broken = total
            return None
        grid = Grid.of(total, max(int(first), 1), max(int(last), 1), cut)
        blocks = self._stretches(grid, ahead, blocks=True) if cut.in_place and self._of_one_table else None
        found = self._stretches(grid, ahead, blocks=False) if blocks is None else blocks
        events = int(found["rows"].sum())
        if self.behind is None:
            self.broken = total - events
        if not events:
            return None
        in_place = None if blocks is None else grid.in_place(blocks, marks)
        return replace(in_place or grid.ranges(found, marks), **self._links())

    @property
    def _of_one_table(self) -> bool:
        """Return False where rows come of several tables, and Spark cannot say in which file each lies."""
        from pyspark.errors import AnalysisException
        from pyspark.sql import functions as F  # noqa: N812

        try:
            return bool(self._table.select(F.input_file_name()).columns)
        except AnalysisException:
            return False

    def _links(self) -> dict[str, Any]:
        """Return how many events are of links with ids, and how many of links of each type."""
        from pyspark.sql import functions as F  # noqa: N812

        if not self._plan.needs.links:
            return {}
        types = sorted({name for name, _ in self._plan.needs.links})
        mine = F.col("link_type").isin(*types)
        of_links = self._frame.filter(F.col("kind").startswith("link."))
        counted = of_links.groupBy(F.when(mine, F.col("link_type")).alias("name"))
        rows = counted.agg(F.count("*").alias("events"), F.count("link_id").alias("named")).collect()
        return {
            "named": sum(row["named"] for row in rows),
            "links": {row["name"]: row["events"] for row in rows if row["name"] is not None},
        }

    def _stretches(self, grid: Grid, ahead: pl.DataFrame, *, blocks: bool) -> pl.DataFrame:
        """Return what is known of the events of each stretch, and of each block of a file in it."""
        from pyspark.sql import functions as F  # noqa: N812

        moving = self._frame
        if blocks:
            moving = moving.withColumns(
                {"file": F.input_file_name(), "block": F.input_file_block_start().cast("bigint")}
            )
        where = ["file", "block"] if blocks else []
        moving = moving.select("seq_no", "time", *where)
        if ahead.height:
            still = pa.table(
                {"seq_no": ahead["seq_no"].to_arrow(), "set": ahead["clock"].cast(pl.Int64).to_arrow()}
            )
            marked = F.broadcast(self._table.sparkSession.createDataFrame(still))
            moving = moving.join(marked, "seq_no", "left").select(
                "seq_no", F.coalesce("set", "time").alias("time"), *where
            )
        stretch = F.floor((F.col("seq_no") - F.lit(grid.first)) / F.lit(grid.width)).cast("int")
        found = pl.from_arrow(
            moving.groupBy(*where, stretch.alias("stretch"))
            .agg(
                F.count("*").alias("rows"),
                F.min("seq_no").alias("first"),
                F.max("seq_no").alias("last"),
                F.max("time").alias("time"),
                F.min_by("time", "seq_no").alias("begin"),
            )
            .toArrow()
        )
        assert isinstance(found, pl.DataFrame)
        return found

    def changes(self, most: int, without: Collection[str] = ()) -> pl.DataFrame | None:
        changing = self._frame.filter(changes_graph(self._plan, without))
        found = pl.from_arrow(changing.limit(most + 1).toArrow())
        assert isinstance(found, pl.DataFrame)
        return found if found.height <= most else None

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        wanted = self._table.sparkSession.createDataFrame(pa.table({"seq_no": numbers.to_arrow()}))
        events = events_of_frame(self._table, EVENT_COLUMNS)
        found = pl.from_arrow(events.join(F.broadcast(wanted), "seq_no", "left_semi").toArrow())
        assert isinstance(found, pl.DataFrame)
        names = [name for name in EVENT_COLUMNS if name in (*found.columns, "timestamp")]
        return event_table(found, names).sort("seq_no")


def spark_table(rows: pl.DataFrame) -> pa.Table:
    """Return rows with the types that Spark takes."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(pa.schema([_spark_field(one) for one in table.schema]))


def _spark_field(one: pa.Field) -> pa.Field:
    return pa.field(one.name, _spark_type(one.type))


def _spark_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which Spark takes values: it has no long forms of text and lists."""
    if pa.types.is_large_string(dtype) or pa.types.is_null(dtype):
        return pa.string()
    if pa.types.is_struct(dtype):
        return pa.struct([_spark_field(inner) for inner in dtype.fields])
    if pa.types.is_large_list(dtype) or pa.types.is_list(dtype):
        return pa.list_(_spark_type(dtype.value_type))
    return dtype


def _polars_type(kind: str) -> Any:
    """Return the type of a column, as far as it matters to what can be a column of an event table."""
    if kind in ("tinyint", "smallint", "int", "bigint"):
        return pl.Int64()
    if kind.startswith("timestamp"):
        return TIME
    if kind.startswith(("struct", "map", "array")):
        return pl.Struct([])
    return {"string": pl.String(), "double": pl.Float64(), "float": pl.Float64()}.get(kind, pl.Boolean())


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
    """Return the same of events that are here."""
    needs, kind = plan.needs, pl.col("kind").cast(pl.String)
    changes = kind.str.starts_with("entity.") if needs.entities else pl.lit(value=False)
    types = sorted({name for name, _ in needs.links} - {*without})
    if types:
        mine = pl.col("link_type").is_in(types).fill_null(value=False) | pl.col("link_id").is_not_null()
        changes = changes | (kind.str.starts_with("link.") & mine)
    return changes
