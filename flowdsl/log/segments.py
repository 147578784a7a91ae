"""Writing segments, so that a crash at any moment leaves either the whole segment or none of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowdsl.events import EVENT_COLUMNS
from flowdsl.log.catalog import Segment

ROWS_A_GROUP: Final = 131_072
ROWS_A_SEGMENT: Final = 2_097_152


def write_segments(folder: Path, frames: Iterator[pl.DataFrame], first: int) -> list[Segment]:
    """Numbered segments of the frames' rows, the first of which gets the number `first`; all are on disk for good.

    The caller lists them in the catalog, which is what makes them part of the log.
    """
    segments: list[Segment] = []
    writer: _Writer | None = None
    try:
        for frame in frames:
            for part in frame.iter_slices(ROWS_A_GROUP):
                writer = writer or _Writer(folder, first)
                writer.write(part)
                if writer.rows >= ROWS_A_SEGMENT:
                    segments.append(writer.finish())
                    first, writer = segments[-1].last + 1, None
        if writer:
            segments.append(writer.finish())
            writer = None
        return segments
    finally:
        if writer:
            writer.abandon()


class _Writer:
    def __init__(self, folder: Path, first: int) -> None:
        self.rows = 0
        self._first = first
        self._path = folder / f"events-{first:020}.parquet"
        # a name that readers of plain folders pass over; a leftover of a crash is simply written over
        self._hidden = folder / f".{self._path.name}.part"
        self._file = pa.OSFile(str(self._hidden), "wb")
        self._parquet: Any = None

    def write(self, frame: pl.DataFrame) -> None:
        begin = self._first + self.rows
        numbers = pl.int_range(begin, begin + frame.height, dtype=pl.Int64, eager=True)
        plain = frame.with_columns(numbers.alias("seq_no"), pl.col("kind").cast(pl.String)).select(
            EVENT_COLUMNS
        )
        table = plain.to_arrow()
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(
                self._file, table.schema, compression="zstd", write_page_index=True
            )
        self._parquet.write_table(table, row_group_size=ROWS_A_GROUP)
        self.rows += frame.height

    def finish(self) -> Segment:
        self._parquet.close()
        self._file.close()
        fsync(self._hidden)
        size = self._hidden.stat().st_size
        os.replace(self._hidden, self._path)
        fsync(self._path.parent)
        return Segment(self._path.name, self._first, self._first + self.rows - 1, size)

    def abandon(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._file.close()
        self._hidden.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, outlive a power cut. A failure is not tried again."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
