"""Segments: immutable Parquet files of a log, written atomically.

Each has its checksum in the catalog and is checked against it before its first use by a process: of 150 files
with one flipped bit Polars read 120 without a word, as other data.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowdsl.events import EVENT_COLUMNS, KINDS
from flowdsl.log.fsync import create_file, put_in_place, sync

ROWS_A_GROUP: Final = 131_072
ROWS_A_SEGMENT: Final = 2_097_152
PREFIX: Final = "events-"
_FOOTER: Final = "flowdsl"
# types beyond this many are not listed: such a segment may hold any
_TYPES: Final = 200
_NAME: Final = re.compile(rf"{PREFIX}([0-9]{{20}})-([0-9]{{20}})\.parquet")
# no number of an event is greater
MOST: Final = 1 << 62
_BLOCK: Final = 1 << 22
# what readers of a damaged file may raise
FOREIGN: Final = (OSError, pa.ArrowException, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Statistics:
    """Statistics of a segment: times in µs since 1970, kinds, types (None: too many), and whether links have
    ids.

    `ordered`: no event is earlier than one before it.
    """

    min_time: int
    max_time: int
    ordered: bool
    kinds: tuple[str, ...]
    link_types: tuple[str, ...] | None
    entity_types: tuple[str, ...] | None
    link_ids: bool

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Statistics:
        """Compute the statistics of a non-empty frame with all columns of an event table."""
        times = frame["timestamp"].to_physical()
        low, high = int(times.min()), int(times.max())  # type: ignore[arg-type]
        kinds = set(frame["kind"].cast(pl.String).unique().to_list())
        return cls(
            low,
            high,
            bool(times.is_sorted()),
            tuple(kind for kind in KINDS if kind in kinds),
            _names(frame["link_type"]),
            _names(frame["entity_type"]),
            frame["link_id"].null_count() < frame.height,
        )

    def concat(self, later: Statistics) -> Statistics:
        """Return the statistics of both; the other one has later events."""
        return Statistics(
            min(self.min_time, later.min_time),
            max(self.max_time, later.max_time),
            self.ordered and later.ordered and self.max_time <= later.min_time,
            tuple(kind for kind in KINDS if kind in self.kinds or kind in later.kinds),
            _both(self.link_types, later.link_types),
            _both(self.entity_types, later.entity_types),
            self.link_ids or later.link_ids,
        )

    def encode(self) -> str:
        """Return the JSON text stored in the catalog and the file's footer."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def decode(cls, text: str) -> Statistics:
        """Parse what `encode` wrote."""
        read: dict[str, Any] = json.loads(text)
        for name, value in read.items():
            read[name] = tuple(value) if isinstance(value, list) else value
        return cls(**read)


@dataclass(frozen=True)
class Segment:
    """File with the events `first` to `last`; `crc` is the checksum of the whole file."""

    name: str
    first: int
    last: int
    bytes: int
    crc: int
    statistics: Statistics

    @property
    def rows(self) -> int:
        """Number of events."""
        return self.last - self.first + 1


def write_segments(folder: Path, frames: Iterator[pl.DataFrame], first: int, identity: str) -> list[Segment]:
    """Write frames as numbered segments starting at `first`; all are durable when this returns.

    Each names the log that it belongs to, so that a catalog made anew has the same identity.

    The caller lists them in the catalog, which is what makes them part of the log.
    """
    segments: list[Segment] = []
    writer: _Writer | None = None
    try:
        for frame in frames:
            for part in frame.iter_slices(ROWS_A_GROUP):
                writer = writer or _Writer(folder, first, identity)
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


def segment_name(first: int, last: int) -> str:
    """Return the name of the segment with these events; no two segments ever share a name.

    >>> numbers_in(segment_name(1, 20))
    (1, 20)
    """
    return f"{PREFIX}{first:020}-{last:020}.parquet"


def numbers_in(name: str) -> tuple[int, int]:
    """Return the first and last event in a segment's name, or (0, 0) if it is not one."""
    found = _NAME.fullmatch(name)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    return (first, last) if 0 < first <= last <= MOST else (0, 0)


def checksum_of(path: Path) -> tuple[int, int]:
    """Return the size of a file and its CRC-32 (about 2 GB/s)."""
    crc = size = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
            size += len(block)
    return size, crc


def identity_in(path: Path) -> str | None:
    """Return the log's identity in the footer of a segment, or None."""
    fields = _footer(path)
    return None if fields is None else fields.get("log")


def describe_segment(path: Path) -> Segment | None:
    """Return the segment described by a file's footer, or None if it is not one."""
    fields = _footer(path)
    if fields is None:
        return None
    size, crc = checksum_of(path)
    statistics = Statistics.decode(fields["statistics"])
    return Segment(path.name, fields["first"], fields["last"], size, crc, statistics)


def _footer(path: Path) -> dict[str, Any] | None:
    footer = (pq.read_metadata(path).metadata or {}).get(_FOOTER.encode())
    return None if footer is None else dict(json.loads(footer))


class _Writer:
    def __init__(self, folder: Path, first: int, identity: str) -> None:
        self.rows = 0
        self._identity = identity
        self._first = first
        self._folder = folder
        # a name that readers of plain folders pass over
        self._hidden = folder / f".{PREFIX}{first:020}.part"
        self._file: BinaryIO = os.fdopen(create_file(self._hidden), "wb")
        self._parquet: Any = None
        self._statistics: Statistics | None = None

    def write(self, frame: pl.DataFrame) -> None:
        begin = self._first + self.rows
        numbers = pl.int_range(begin, begin + frame.height, dtype=pl.Int64, eager=True)
        plain = frame.with_columns(numbers.alias("seq_no"), pl.col("kind").cast(pl.String)).select(
            EVENT_COLUMNS
        )
        found = Statistics.of(plain)
        self._statistics = self._statistics.concat(found) if self._statistics else found
        table = plain.to_arrow()
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(
                self._file, table.schema, compression="zstd", write_page_index=True, write_page_checksum=True
            )
        self._parquet.write_table(table, row_group_size=ROWS_A_GROUP)
        self.rows += frame.height

    def finish(self) -> Segment:
        assert self._statistics is not None
        last = self._first + self.rows - 1
        footer = {
            "log": self._identity,
            "first": self._first,
            "last": last,
            "statistics": self._statistics.encode(),
        }
        self._parquet.add_key_value_metadata({_FOOTER: json.dumps(footer)})
        self._parquet.close()
        self._file.flush()
        # a failure is reported to the handle that wrote
        sync(self._file.fileno())
        self._file.close()
        size, crc = checksum_of(self._hidden)
        path = self._folder / segment_name(self._first, last)
        put_in_place(self._hidden, path)
        return Segment(path.name, self._first, last, size, crc, self._statistics)

    def abandon(self) -> None:
        for part in (self._parquet, self._file):
            # both write what they still hold, which may be what went wrong before
            with contextlib.suppress(OSError, ValueError, pa.ArrowException):
                if part is not None:
                    part.close()
        with contextlib.suppress(OSError):
            self._hidden.unlink(missing_ok=True)


def _names(types: pl.Series) -> tuple[str, ...] | None:
    names = types.drop_nulls().unique().sort()
    return None if len(names) > _TYPES else tuple(names.to_list())


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return None
    names = {*one, *other}
    return None if len(names) > _TYPES else tuple(sorted(names))
