"""A log in a folder: immutable Parquet segments, and a small SQLite file for what is not sealed yet."""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, EventRow, timestamp_us
from flowdsl.log.base import EventLog
from flowdsl.log.border import reading
from flowdsl.log.catalog import Catalog, Segment, has_catalog
from flowdsl.log.columns import KIND, SCHEMA, TIME, chunk_columns
from flowdsl.log.incoming import frames_of, rows_of
from flowdsl.log.problems import Problems
from flowdsl.log.raw import ParquetFiles, files_of
from flowdsl.log.rows import event_rows, frame_of
from flowdsl.log.segments import write_segments
from flowdsl.log.table import READ, EventTable, ahead, cut, no_marks, together

if TYPE_CHECKING:
    import pandas as pd

_POLL: Final = 0.05
# The tail is sealed into a segment when it is longer than this; a frame shorter than a quarter of it joins the tail.
SEAL_AT: Final = 32_768


class ParquetEventLog(EventLog):
    """A durable log in `folder`, made at the first append; what `append` returned survives a power cut.

    One process writes at a time, any number read. A folder, file or glob of plain Parquet files, that is, without
    a log in it, is opened to be read only; its consumers' positions then last as long as this object.

    >>> import tempfile
    >>> from flowdsl.events import link_created
    >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder) as log:
    ...     log.append([link_created("likes", "ann", "post-1"), link_created("likes", "bob", "post-1")])
    2
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._problems = Problems()
        self._positions: dict[str, int] = {}
        self._changed = threading.Condition()
        self._writer: int | None = None
        self._catalog: Catalog | None = None
        self._plain: EventTable | None = None
        if has_catalog(self.folder):
            self._catalog = Catalog(self.folder)
        elif not _could_be_made(self.folder):
            self._plain = EventTable(ParquetFiles(files_of(self.folder)))

    def append(self, events: Any, timestamp: datetime | str | None = None) -> int:
        """Put one event, many, a frame or another log's events at the end, durably; the `seq_no` of the last.

        The time of an event is `timestamp`, else its own, else now; a `seq_no` of its own is not looked at. All are
        appended or none. One mapping in a list that is no event is a `DataError`; such rows of a frame go to
        `problems`. Many at once are far faster than one by one.
        """
        rows = rows_of(events, timestamp)
        with self._changed, self._writing():
            catalog = self._to_write()
            if rows is None:
                last = self._append_frames(catalog, frames_of(events, timestamp, self._problems))
            elif len(rows) > SEAL_AT:
                last = self._append_frames(catalog, iter([frame_of(rows)]))
            else:
                last = self._append_rows(catalog, rows)
            self._changed.notify_all()
            return last

    def seal(self) -> None:
        """Write the tail into a segment now, rather than when it has grown long."""
        with self._changed, self._writing():
            self._seal(self._to_write())

    def last_seq_no(self) -> int:
        """The number of the last event; 0 in an empty log."""
        if self._plain:
            return self._plain_last
        return self._catalog_or_none.last_seq_no() if self._catalog_or_none else 0

    def count(self) -> int | None:
        """How many events there are; of plain files, how many rows."""
        if self._plain:
            return self._plain.count()
        return self._catalog_or_none.rows() if self._catalog_or_none else 0

    def chunks(self, columns: Collection[str], size: int, after: int = 0) -> Iterator[pl.DataFrame]:
        """Frames of at most `size` events after `after`; events appended meanwhile are not in them."""
        if self._plain:
            return self._plain.chunks(columns, size, after)
        if not self._catalog_or_none:
            return iter(())
        names = chunk_columns(columns)
        snapshot = self._catalog_or_none.snapshot(after)
        tail = _numbered(snapshot.tail).select(names)
        if not snapshot.segments:
            return together(tail.iter_slices(size), size)
        sealed = self._sealed(snapshot.segments, names, max(size, READ), after)
        return ahead(together(cut(itertools.chain(sealed, [tail]), size), size))

    def mark_clock(self, clock: datetime | str) -> None:
        """Note that, after the last event, a live run read this clock because a timer fired without an event."""
        with self._changed, self._writing():
            self._to_write().mark_clock(timestamp_us(clock))

    def clock_marks(self) -> pl.DataFrame:
        """`seq_no`, `clock`: the marks in the order in which they were made."""
        marks = self._catalog_or_none.clock_marks() if self._catalog_or_none else []
        if not marks:
            return no_marks()
        seq_nos, clocks = zip(*marks, strict=True)
        return pl.DataFrame(
            {"seq_no": pl.Series(seq_nos, dtype=pl.Int64), "clock": pl.Series(clocks).cast(TIME)}
        )

    @property
    def problems(self) -> pd.DataFrame:
        """Rows of plain files, or of frames appended through this object, that could not be read or stand out."""
        return self._plain.problems if self._plain else self._problems.frame()

    @property
    def broken(self) -> int:
        """Rows that were left out because they cannot be events."""
        return self._plain.broken if self._plain else self._problems.counts["broken"]

    @property
    def problem_counts(self) -> dict[str, int]:
        """How many problems of each sort there are."""
        return self._plain.problem_counts if self._plain else dict(self._problems.counts)

    def position(self, consumer: str) -> int:
        """The last `seq_no` that a consumer is done with; 0 where it has not begun."""
        if self._plain:
            return self._positions.get(consumer, 0)
        return self._catalog_or_none.position(consumer) if self._catalog_or_none else 0

    def wait(self, after: int, timeout: float | None) -> bool:
        """Wait until there are events after `after`, from this or another process; whether there are."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.last_seq_no() <= after:
            left = _POLL if end is None else end - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, _POLL))
        return True

    def close(self) -> None:
        """Let go of the files; another process may write then. Nothing is lost without it."""
        with self._changed:
            if self._catalog:
                self._catalog.close()
                self._catalog = None
            if self._writer is not None:
                os.close(self._writer)
                self._writer = None

    def __enter__(self) -> ParquetEventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_writer", None) is not None:
            self.close()

    def __repr__(self) -> str:
        return f"<ParquetEventLog {str(self.folder)!r}{', read only' if self._plain else ''}>"

    @cached_property
    def _plain_last(self) -> int:
        chunks = self._plain.chunks((), 1 << 20) if self._plain else iter(())
        return max((int(chunk["seq_no"][-1]) for chunk in chunks), default=0)

    @property
    def _catalog_or_none(self) -> Catalog | None:
        """The catalog, also one that another process has made since."""
        if self._catalog is None and has_catalog(self.folder):
            self._catalog = Catalog(self.folder)
        return self._catalog

    def _to_write(self) -> Catalog:
        """The catalog, once this process is the only one that writes."""
        if self._plain:
            raise DataError(
                "plain Parquet files are read only",
                place=str(self.folder),
                hint="ParquetEventLog(new_folder).append(open_log(path)) makes a log of them",
            )
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = _lock(self.folder / "writer.lock")
        if self._catalog is None:
            self._catalog = Catalog(self.folder)
        return self._catalog

    def _store_position(self, consumer: str, seq_no: int) -> None:
        if self._plain:
            self._positions[consumer] = seq_no
            return
        # a consumer may be a process that does not write events
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._catalog = self._catalog or Catalog(self.folder)
            self._catalog.store_position(consumer, seq_no)

    def _writing(self) -> AbstractContextManager[None]:
        return reading(str(self.folder), "is there room? the log is as it was before", "cannot be written")

    def _append_rows(self, catalog: Catalog, rows: list[EventRow]) -> int:
        last, tail = catalog.add_rows(rows)
        if tail >= SEAL_AT:
            self._seal(catalog)
        return last

    def _append_frames(self, catalog: Catalog, frames: Iterator[pl.DataFrame]) -> int:
        small: list[pl.DataFrame] = []
        for frame in frames:
            small.append(frame)
            if sum(part.height for part in small) > SEAL_AT // 4:
                # the tail comes first, so that segments stay in the order of seq_no
                tail = catalog.tail()
                first = tail[0][0] if tail else catalog.last_seq_no() + 1
                parts = itertools.chain([_numbered(tail).drop("seq_no")], small, frames)
                return self._list(catalog, write_segments(self.folder, parts, first))
        numbered = pl.concat(small).with_row_index("seq_no") if small else None
        rows = [] if numbered is None else [row for _, row in event_rows(numbered)]
        return self._append_rows(catalog, rows) if rows else catalog.last_seq_no()

    def _seal(self, catalog: Catalog) -> None:
        tail = catalog.tail()
        if tail:
            self._list(
                catalog, write_segments(self.folder, iter([_numbered(tail).drop("seq_no")]), tail[0][0])
            )

    def _list(self, catalog: Catalog, segments: list[Segment]) -> int:
        catalog.list_segments(segments)
        return segments[-1].last

    def _sealed(
        self, segments: tuple[Segment, ...], names: list[str], size: int, after: int
    ) -> Iterator[pl.DataFrame]:
        files = ParquetFiles([self.folder / segment.name for segment in segments])
        for piece in files.pieces(names, size, judged=False, after=after):
            frame = piece.frame.select(
                pl.col(name).cast(KIND if name == "kind" else SCHEMA[name]) if name in piece.frame.columns
                else pl.lit(None, SCHEMA[name]).alias(name)
                for name in names
            )  # fmt: skip
            yield frame.filter(pl.col("seq_no") > after) if after else frame


def _numbered(tail: list[tuple[int, EventRow]]) -> pl.DataFrame:
    numbers = pl.Series("seq_no", [seq_no for seq_no, _ in tail], dtype=pl.Int64)
    return frame_of([row for _, row in tail]).with_columns(numbers).select(EVENT_COLUMNS)


def _could_be_made(folder: Path) -> bool:
    """Whether a log may be made here: nothing is here yet, or a folder without Parquet files."""
    if folder.is_dir():
        return not any(folder.rglob("*.parquet"))
    return not folder.exists() and folder.suffix != ".parquet" and not set("*?[") & set(str(folder))


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 20).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        whose = "this process, through another object" if holder == str(os.getpid()) else f"process {holder}"
        raise DataError(
            f"the log is being written by {whose}",
            place=str(path.parent),
            allowed="one writer at a time, any number of readers",
            hint="close() the other one, or end that process",
        ) from None
    os.truncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle
