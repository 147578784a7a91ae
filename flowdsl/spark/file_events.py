"""Events of Parquet files that the tasks of a cluster read themselves, with the reader of the local engine.

The footers of the files say which numbers lie where. One pass over the events then finds all that has to be
known before a replay: the clock, how many change the graph, and those events themselves, where they are few.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.engine.range import ReplayRange
from flowdsl.flow.plan import Plan
from flowdsl.log import EventSource
from flowdsl.log.sources import FileStretch, PlainFiles
from flowdsl.log.table import EventTable
from flowdsl.spark.events import (
    BUCKETS,
    ClusterEvents,
    HandedOver,
    RunEvents,
    add_counts,
    sums_of_events,
    where_graph_changes,
)
from flowdsl.spark.layout import Layout
from flowdsl.spark.ranges import Cut, Grid, Ranges
from flowdsl.spark.rows import Batches, decode_frame, encode_frame, numbers_in, read_stretch
from flowdsl.spark.sources import SparkEvents
from flowdsl.spark.spread_fans import ends_of
from flowdsl.values.json_types import Ints

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS: Final = 1 << 20
"""How many events a range has, where no core is left without one."""
_CHUNK: Final = 1 << 17
# events that change the graph kept from all tasks; if there are more, they are read again when needed
_KEPT: Final = 1_000_000
_SEED: Final = 0x0B
_FOUND: Final = "content binary"
End = tuple[str, str]


def open_events(session: SparkSession, source: EventSource, span: ReplayRange, plan: Plan) -> RunEvents:
    """Return the events of a log, with the columns that a plan reads."""
    if isinstance(source, SparkEvents):
        return ClusterEvents(source.frame, span, plan)
    if isinstance(source, EventTable) and source.numbered_files:
        return FileEvents(session, source, span, plan)
    return HandedOver(session, source, span, plan)


class FileEvents(ClusterEvents):
    """Events of files; as long as they lie in their order, Spark reads none of them."""

    def __init__(self, session: SparkSession, source: EventTable, span: ReplayRange, plan: Plan) -> None:
        super().__init__(_read(session, source.numbered_files), span, plan)
        self._session, self._source = session, source
        self._scanned: _Scanned | None = None

    def ranges(self, marks: pl.DataFrame, ahead: pl.DataFrame, cut: Cut) -> Ranges | None:
        return (self._as_they_lie(marks, cut) if cut.in_place else None) or super().ranges(marks, ahead, cut)

    def _as_they_lie(self, marks: pl.DataFrame, cut: Cut) -> Ranges | None:
        total = self._source.count() or 0
        rows = max(cut.least_rows, min(ROWS, total // _cores(self._session)))
        stretches = sorted(self._source.stretches(rows), key=lambda one: (one.first, one.last))
        if not stretches or any(after.first <= one.last for one, after in pairwise(stretches)):
            return None
        self._scanned = found = self._look(stretches, cut)
        grid = Grid.of(total, max(stretches[0].first, 1), max(stretches[-1].last, 1), cut)
        ranges = grid.in_place(found.stretches, marks) if found.stretches.height else None
        if ranges is None:
            return None
        if self.behind is None:
            self.broken = total - ranges.events
        asked = (stretches[block] for block in ranges.blocks)
        files = tuple(one._replace(last=min(one.last, ranges.last)) for one in asked)
        return replace(add_counts(ranges, self._plan, found.stretches), files=files)

    def _look(self, stretches: Sequence[FileStretch], cut: Cut) -> _Scanned:
        tasks = min(len(stretches), cut.most)
        scan = _Scan(
            tuple(stretches),
            self.behind,
            self._plan.event_columns,
            sums_of_events(self._plan),
            _changes(self._plan),
            max(cut.least_rows, _KEPT // tasks),
            tuple(ends_of(self._plan, {})),
        )
        rows = self._session.range(0, len(stretches), 1, tasks).mapInArrow(scan, _FOUND).toArrow()
        return _Scanned.concat(pickle.loads(content.as_buffer()) for content in rows.column("content"))

    def changes(self, without: Collection[str] = ()) -> pl.DataFrame:
        found = None if self._scanned is None else self._scanned.changes_without(without)
        return super().changes(without) if found is None else found

    def frequent(self, name: str, end: str, most: int) -> dict[str, int]:
        buckets = None if self._scanned is None else self._scanned.buckets.get((name, end))
        # an id has no more links than all of its bucket
        few = buckets is not None and int(buckets.max()) <= most
        return {} if few else super().frequent(name, end, most)


def _read(session: SparkSession, files: Sequence[PlainFiles]) -> DataFrame:
    """Return the rows of files, with the columns of all of them."""
    from pyspark.sql import functions as F  # noqa: N812

    tables = []
    for one in files:
        rows = session.read.parquet(*one.files)
        tables.append(rows.select("*", *(F.lit(text).alias(name) for name, text in one.around.items())))
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), tables)


def _changes(plan: Plan) -> dict[str, pl.Expr]:
    """Return which events change the graph: of links without ids, by type where such links can be shared
    out, and "" for all others.
    """
    unnamed = pl.col("kind").cast(pl.String).str.starts_with("link.") & pl.col("link_id").is_null()
    changes = {name: unnamed & pl.col("link_type").eq_missing(name) for name in sorted(Layout.partable(plan))}
    others = where_graph_changes(plan)
    for links in changes.values():
        others = others & ~links
    return {"": others, **changes}


def _cores(session: SparkSession) -> int:
    """Return how many tasks run at a time; a guess for Spark Connect, which does not tell."""
    from pyspark.errors import PySparkException

    try:
        return int(session.sparkContext.defaultParallelism)
    except PySparkException:
        return 16


@dataclass
class _Scanned:
    """Hold what a scan of stretches found."""

    stretches: pl.DataFrame
    """A row for each chunk, with its `file` and `block`: the place of its stretch."""
    changes: dict[str, list[bytes] | None]
    """Events that change the graph: of links of some types, "" for all others; None where they are many."""
    buckets: dict[End, Ints] = field(default_factory=dict)
    """How many new links the ids of each bucket have."""

    @classmethod
    def concat(cls, parts: Iterator[_Scanned]) -> _Scanned:
        """Merge the findings of all tasks."""
        first, *rest = parts
        for part in rest:
            for name, more in part.changes.items():
                before = first.changes[name]
                first.changes[name] = None if before is None or more is None else before + more
            for end, counts in part.buckets.items():
                first.buckets[end] += counts
        stretches = pl.concat([first.stretches, *(part.stretches for part in rest)], how="diagonal")
        return replace(first, stretches=stretches)

    def changes_without(self, types: Collection[str]) -> pl.DataFrame | None:
        """Return the events that change the graph, but for links of some types; None where there are many."""
        asked = [found for name, found in self.changes.items() if name not in types]
        if any(found is None for found in asked):
            return None
        frames = [decode_frame(content) for found in asked if found for content in found]
        return pl.concat(frames, how="diagonal_relaxed") if frames else None


@dataclass(frozen=True)
class _Scan:
    """Looks at the stretches with the given numbers, in a task."""

    stretches: tuple[FileStretch, ...]
    behind: int | None
    columns: frozenset[str]
    sums: Mapping[str, pl.Expr]
    changes: Mapping[str, pl.Expr]
    most: int
    ends: tuple[End, ...]

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """Yield the findings, as one row of bytes."""
        rows = [pl.DataFrame()]
        changes = {name: _FewEvents(self.most) for name in self.changes}
        buckets = {end: np.zeros(BUCKETS, np.int64) for end in self.ends}
        for place in numbers_in(batches):
            for frame in self._frames(place):
                rows.append(self._row(frame, place))
                for name, changing in self.changes.items():
                    changes[name].add(frame.filter(changing).drop({"link_id"} - self.columns))
                for end, counts in buckets.items():
                    counts += _new_links(frame, end)
        kept = {name: found.blocks for name, found in changes.items()}
        found = _Scanned(pl.concat(rows, how="diagonal"), kept, buckets)
        yield pa.record_batch({"content": pa.array([pickle.dumps(found)], pa.binary())})

    def _frames(self, place: int) -> Iterator[pl.DataFrame]:
        stretch = self.stretches[place]
        last = stretch.last if self.behind is None else min(stretch.last, self.behind - 1)
        yield from read_stretch(stretch._replace(last=last), self.columns | {"link_id"}, _CHUNK)

    def _row(self, frame: pl.DataFrame, place: int) -> pl.DataFrame:
        seq = pl.col("seq_no")
        return frame.select(
            file=pl.lit(self.stretches[place].file),
            block=pl.lit(place, pl.Int64),
            rows=pl.len().cast(pl.Int64),
            first=seq.min(),
            last=seq.max(),
            time=pl.col("time").max(),
            begin=pl.col("time").get(seq.arg_min()),
            **self.sums,
        )


class _FewEvents:
    """Events as bytes; dropped once there are more than a limit."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.blocks: list[bytes] | None = []

    def add(self, frame: pl.DataFrame) -> None:
        """Take more of them."""
        self._left -= frame.height
        if self._left < 0:
            self.blocks = None
        elif self.blocks is not None and frame.height:
            self.blocks.append(encode_frame(frame))


def _new_links(frame: pl.DataFrame, end: End) -> Ints:
    """Return the number of new links of a type at one end, for each bucket of ids."""
    made = (pl.col("kind") == "link.created") & (pl.col("link_type") == end[0])
    hashes = frame.filter(made)[end[1]].hash(_SEED).to_numpy()
    return np.bincount((hashes % np.uint64(BUCKETS)).astype(np.int64), minlength=BUCKETS)
