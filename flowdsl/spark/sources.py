"""Tables of events in Spark as event sources."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS
from flowdsl.log.columns import FIRST_SECOND, LAST_SECOND, SCHEMA, TIME, asked_columns, check_types
from flowdsl.log.table import marks_frame
from flowdsl.log.validation import ENTITY, LINK

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

    from flowdsl.log.pushdown import ScanFilter

_BLOCK: Final = 1 << 20


@contextmanager
def silence_warnings() -> Iterator[None]:
    """Silence the warnings of pyspark about versions of libraries that are not used here."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="PySpark does not yet fully support", category=FutureWarning
        )
        yield


def is_spark_frame(value: object) -> bool:
    """Return True for a DataFrame of Spark, also of Spark Connect; pyspark is not imported."""
    return type(value).__module__.partition(".")[0] == "pyspark" and hasattr(value, "mapInArrow")


def number_events(frame: DataFrame) -> DataFrame:
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
            with silence_warnings():
                self.frame = number_events(self.frame)

    @property
    def in_memory(self) -> bool:
        """False: the events lie in the cluster."""
        return False

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
        with silence_warnings():
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
        return marks_frame([])

    def ahead_marks(self) -> pl.DataFrame:
        """Return none."""
        return marks_frame([])

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
    """Return the Polars type of a column, as precisely as the checks of an event table need."""
    if kind in ("tinyint", "smallint", "int", "bigint"):
        return pl.Int64()
    if kind.startswith("timestamp"):
        return TIME
    if kind.startswith(("struct", "map", "array")):
        return pl.Struct([])
    return {"string": pl.String(), "double": pl.Float64(), "float": pl.Float64()}.get(kind, pl.Boolean())


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
