"""Rows of a stream: Arrow batches as chunks of one part each, and back."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.log.columns import KIND, TIME
from flowdsl.log.sources import FileStretch, ParquetFiles
from flowdsl.log.table import EventTable
from flowdsl.log.validation import bad_json, without_texts
from flowdsl.values.json_types import Ints

Batches = Iterable[pa.RecordBatch]
_MARKS: Final = ("part", "own", "changes", "clock", "time")


def events_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the events among the columns of a stream, in the types of an event table."""
    return frame.select(
        pl.col("seq_no"),
        pl.col("time").cast(TIME).alias("timestamp"),
        pl.col("kind").cast(KIND),
        pl.exclude("seq_no", "kind", *_MARKS),
    )


def rows_of(events: pl.DataFrame) -> pl.DataFrame:
    """Return events in the column types of a stream."""
    return events.select(
        pl.col("seq_no"),
        pl.col("timestamp").cast(pl.Int64).alias("time"),
        pl.col("kind").cast(pl.String),
        pl.exclude("seq_no", "timestamp", "kind"),
    )


def read_stretch(stretch: FileStretch, columns: Collection[str], size: int) -> Iterator[pl.DataFrame]:
    """Yield the events of a stretch in chunks, up to its last number, as rows of a stream."""
    table = EventTable(ParquetFiles([Path(stretch.file)], stretch.groups))
    for frame in table.unordered_chunks(columns, size):
        rows = rows_of(frame.filter(pl.col("seq_no") <= stretch.last))
        if rows.height:
            yield rows


def numbers_in(batches: Batches) -> Iterator[int]:
    """Yield the numbers that a task is given."""
    return chain.from_iterable(batch.column(0).to_pylist() for batch in batches)


def without_bad_json(frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
    """Replace text that is not JSON by null; also return the numbers of the rows that had such text."""
    wrong = bad_json(frame)
    if not wrong:
        return frame, np.zeros(0, np.int64)
    rows = np.array(sorted(set().union(*wrong.values())), np.int64)
    return without_texts(frame, wrong), rows


def in_parts(batches: Batches, size: int, starts: Ints | None = None) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield rows that belong to one part, at most so many at a time; those of one part follow one another.

    With `starts`, the first number of each part, the numbers of events say what part they belong to.
    """
    waiting: list[pa.RecordBatch] = []
    rows, part = 0, -1
    for batch in batches:
        for this, piece in _by_part(batch, starts):
            if waiting and this != part:
                yield part, _chunk(waiting, starts)
                waiting, rows = [], 0
            part = this
            while rows + len(piece) >= size:
                yield part, _chunk([*waiting, piece.slice(0, size - rows)], starts)
                piece = piece.slice(size - rows)
                waiting, rows = [], 0
            if len(piece):
                waiting.append(piece)
                rows += len(piece)
    if waiting:
        yield part, _chunk(waiting, starts)


def _chunk(pieces: Sequence[pa.RecordBatch], starts: Ints | None) -> pl.DataFrame:
    frame = frame_of(pa.Table.from_batches(pieces))
    return frame if starts is None else frame.with_columns(pl.lit(value=True).alias("own"))


def frame_of(table: pa.Table) -> pl.DataFrame:
    """Return the rows of an Arrow table."""
    # column by column: a text that is kept would hold all of the batch that it came in
    frame = pl.from_arrow(table.combine_chunks())
    assert isinstance(frame, pl.DataFrame)
    return frame


def _by_part(batch: pa.RecordBatch, starts: Ints | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Split a batch by part: yield each part with its rows."""
    if not len(batch):
        return
    if starts is None:
        parts = batch.column("part").to_numpy()
    else:
        parts = np.searchsorted(starts, batch.column("seq_no").to_numpy(), side="right") - 1
    ends = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(batch)]
    for start, end in pairwise(ends):
        yield int(parts[start]), batch.slice(start, end - start)


def encode_frame(frame: pl.DataFrame) -> bytes:
    """Return a frame as compressed Arrow IPC bytes."""
    content = io.BytesIO()
    frame.write_ipc(content, compression="zstd")
    return content.getvalue()


def decode_frame(content: bytes) -> pl.DataFrame:
    """Return the frame that `encode_frame` encoded."""
    return pl.read_ipc(io.BytesIO(content))
