"""Rows of a stream: Arrow batches as chunks of one part each, and back."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from flowdsl.events import JSON_COLUMNS
from flowdsl.log.columns import KIND, TIME
from flowdsl.log.validation import bad_json

OUT_COLUMNS: Final = ("stage", "origin", "ordinal", "name", "meta", "content", "place")
"""The columns of an output: where it was made, and a part of a table as bytes or as the place of a file."""
Batches = Iterable[pa.RecordBatch]
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


def in_parts(
    batches: Batches, size: int, starts: npt.NDArray[np.int64] | None = None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield rows that belong to one part, at most so many at a time; those of one part follow one another.
    With `starts`, the first number of each part, the numbers of events say what part they belong to.
    """
    waiting: list[pl.DataFrame] = []
    rows, part = 0, -1
    for batch in batches:
        for frame in _by_part(_numbered(batch, starts)):
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


def _numbered(batch: pa.RecordBatch, starts: npt.NDArray[np.int64] | None) -> pl.DataFrame:
    """Return the rows of a batch with their parts."""
    whole = pl.from_arrow(pa.Table.from_batches([batch]))
    assert isinstance(whole, pl.DataFrame)
    if starts is None:
        return whole
    places = np.searchsorted(starts, whole["seq_no"].to_numpy(), side="right") - 1
    return whole.with_columns(pl.Series("part", places, pl.Int32), pl.lit(value=True).alias("own"))


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


def encoded(frame: pl.DataFrame) -> bytes:
    """Return rows as bytes."""
    content = io.BytesIO()
    frame.write_ipc(content, compression="zstd")
    return content.getvalue()


def decoded(content: bytes) -> pl.DataFrame:
    """Return the rows that `encoded` made bytes of."""
    return pl.read_ipc(io.BytesIO(content))
