"""Log in a folder: immutable Parquet segments, a write-ahead tail, and a small SQLite catalog."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, timestamp_us, warn
from flowdsl.expressions.durations import parse_duration
from flowdsl.log.base import EventLog
from flowdsl.log.buffer import picked
from flowdsl.log.catalog import MissingRange, has_catalog
from flowdsl.log.columns import TIME, chunk_columns, empty_events, within_years
from flowdsl.log.duplicates import Fresh, KnownIds, KnownIdsInFiles
from flowdsl.log.errors import reading
from flowdsl.log.handle import LogFolder
from flowdsl.log.ingest import frames_of, rows_of
from flowdsl.log.problems import RowProblems
from flowdsl.log.pushdown import ScanFilter
from flowdsl.log.recovery import lacks_catalog
from flowdsl.log.rows import frame_of
from flowdsl.log.segment_reader import SealedEvents, SegmentSelection
from flowdsl.log.segments import ROWS_A_GROUP, Segment
from flowdsl.log.sources import ParquetFiles, files_of
from flowdsl.log.table import READ, EventTable, ahead, cut, marks_frame, together, told
from flowdsl.log.validation import FAR
from flowdsl.log.wal import NAME as TAIL
from flowdsl.log.writer import DURABILITIES, Durability, Limits, LogWriter
from flowdsl.paths import path_of
from flowdsl.progress import Progress, ProgressReporter, beside, following

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.log.verification import Verification

# which share of appending rows is looking at them
_LOOKING: Final = 0.8
# The tail is sealed into a segment when it is longer than this, or has more bytes.
SEAL_AT: Final = 32_768
SEAL_BYTES: Final = 1 << 26


class ParquetEventLog(EventLog):
    """A durable log in `folder`, made at the first append; what `append` returned survives a power cut.

    `durability` says when `append` returns. `"commit"`: when the events are safe on disk; appends of several threads
    that meet share one sync. `"group"`: the same promise, but a sync waits up to 2 ms for the other threads that append.
    `"none"`: when they are handed to the operating system; they survive the end of the process, not a power cut.

    Events are sealed into a Parquet segment when `seal_rows` (32,768) have come, or 64 MB of them, or, at an append,
    when the oldest has waited for `seal_after`. After a `DataError` because the disk failed or is full the events of that
    append are not in the log, those before are, and the next append tries a new file.

    One process writes at a time, any number read, and see new events at once. A folder, file or glob of plain Parquet
    files, that is, without a log in it, is opened to be read only; its consumers' positions then last as long as this
    object.

    >>> import tempfile
    >>> from flowdsl.events import link_created
    >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder) as log:
    ...     log.append([link_created("likes", "ann", "post-1"), link_created("likes", "bob", "post-1")])
    2
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        durability: Durability = "commit",
        *,
        seal_rows: int | None = None,
        seal_after: str | timedelta = "1h",
    ) -> None:
        if durability not in DURABILITIES:
            raise DataError(
                f"durability={durability!r} is not known", allowed=" or ".join(map(repr, DURABILITIES)),
                hint=did_you_mean(str(durability), DURABILITIES),
            )  # fmt: skip
        if seal_rows is not None and (not isinstance(seal_rows, int) or seal_rows < 1):
            raise DataError(f"seal_rows={seal_rows!r}", allowed="a whole number of at least 1")
        self.folder = path_of(folder)
        self.durability = durability
        seconds = parse_duration(seal_after).microseconds / 1e6
        self._seal_rows = SEAL_AT if seal_rows is None else seal_rows
        self._log = LogFolder(self.folder, durability, Limits(self._seal_rows, SEAL_BYTES, seconds))
        super().__init__()
        self._positions: dict[str, int] = {}
        self._sealed = SealedEvents(self.folder)
        self._plain: EventTable | None = None
        if (
            not has_catalog(self.folder)
            and not _could_be_made(self.folder)
            and not lacks_catalog(self.folder)
        ):
            self._plain = EventTable(ParquetFiles(files_of(self.folder)))

    def _append(
        self,
        events: Any,
        timestamp: datetime | str | None,
        follower: ProgressReporter,
        fresh: Fresh | None = None,
    ) -> int:
        # of rows most of the time goes into looking at them
        rows = rows_of(events, timestamp, follower.part(_LOOKING))
        if rows is not None and fresh is not None:
            rows = fresh.rows(rows)
        with self._writing():
            writer = self._to_write()
            if rows is None:
                coming = told(frames_of(events, timestamp, self._problems), follower)
                return writer.append_frames(coming if fresh is None else fresh.frames(coming))
            if len(rows) > self._seal_rows:
                frame = beside(lambda: frame_of(rows))
                parts = frame.iter_slices(ROWS_A_GROUP)
                return writer.append_frames(told(parts, follower.part(1 - _LOOKING)))
            return writer.append_rows(rows)

    def _known_ids(self) -> KnownIds:
        return KnownIdsInFiles(self, self.folder, lambda: self._segments(0))

    def seal(self) -> None:
        """Write the tail into a segment now, rather than when it has grown long."""
        with self._writing():
            self._to_write().seal()

    @property
    def read_only(self) -> bool:
        """Whether these are plain Parquet files, that nothing can be appended to."""
        return self._plain is not None

    @property
    def identity(self) -> str | None:
        """What tells this log from all others; None of plain files, and before the log is made."""
        catalog = None if self._plain else self._log.catalog()
        return catalog.identity if catalog else None

    def last_seq_no(self) -> int:
        """The number of the last event; 0 in an empty log."""
        if self._plain:
            return self._plain_last
        return self._log.last()

    def count(self) -> int | None:
        """How many events there are; of plain files, how many rows."""
        if self._plain:
            return self._plain.count()
        catalog, rows = self._log.held()
        segments = catalog.segments() if catalog else ()
        sealed = segments[-1].last if segments else 0
        return sum(segment.rows for segment in segments) + max(rows.last - max(rows.first - 1, sealed), 0)

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Frames of at most `size` events after `after`; events appended meanwhile are not in them.

        A `FlowWarning` says which events after `after` the log no longer has.
        """
        if self._plain:
            return self._plain.chunks(columns, size, after)
        choice = SegmentSelection() if interest is None else interest.choice(self._segments(0))
        return self._chunks(chunk_columns(columns), size, after, choice)

    def _chunks(
        self, names: list[str], size: int, after: int, choice: SegmentSelection
    ) -> Iterator[pl.DataFrame]:
        catalog, rows = self._log.held()
        frames = list(picked(rows.after(after), names))
        last = int(frames[-1]["seq_no"][-1]) if frames else 0
        if catalog is None or (rows.first <= after + 1 and last > max(after, self._log.sealed_before - 1)):
            return together(cut(iter(frames), size), size)
        self._say_gaps(catalog.gaps(after))
        segments = catalog.segments(after)
        tail = pl.concat(frames) if frames else empty_events()[names]
        if segments:
            tail = tail.filter(pl.col("seq_no") > segments[-1].last)
        found = self._sealed.frames(self._segments, segments, names, size, after, tail, choice)
        return ahead(together(cut(found, size), size))

    def mark_clock(self, clock: datetime | str, after: int | None = None) -> None:
        """Note that a live run read this clock after an event (the last one) because a timer fired without an event."""
        clock_us = timestamp_us(clock)
        with self._writing():
            if self._log.writing:
                self._log.writing.mark_clock(clock_us, after)
            else:
                # a live run may be in a process that does not write events
                catalog = self._log.catalog_to_change()
                catalog.mark_clock(self.last_seq_no() if after is None else after, clock_us)

    def clock_marks(self, since: int = 0) -> pl.DataFrame:
        """`seq_no`, `clock`: the marks made after the event `since` or later, in the order in which they were made."""
        catalog = None if self._plain else self._log.catalog()
        return marks_frame(catalog.clock_marks(since) if catalog else [])

    def mark_ahead(self, seq_nos: Collection[int], clock: datetime | str) -> None:
        """Note that these events, dated in the future, do not move the log clock: it is `clock` at them, if not later."""
        clock_us = timestamp_us(clock)
        with self._writing():
            if self._log.writing:
                self._log.writing.mark_ahead(seq_nos, clock_us)
            else:
                self._log.catalog_to_change().mark_ahead(seq_nos, clock_us)

    def ahead_marks(self, since: int = 0) -> pl.DataFrame:
        """`seq_no`, `clock`: the events from `since` on that do not move the log clock, and what it is at them, if not later."""
        catalog = None if self._plain else self._log.catalog()
        return marks_frame(catalog.ahead_marks(since) if catalog else [])

    def compact(self, *, progress: Progress = None) -> int:
        """Write small neighbouring segments as larger ones; how many segments fewer there are. Appends go on meanwhile.

        `progress` is as in `replay`.
        """
        from flowdsl.log.maintenance import compact

        with following(progress, None, "compact") as follower, self._writing():
            return compact(self._to_write(), self._sealed, follower)

    def retain(
        self, max_age: str | timedelta | None = None, max_bytes: int | None = None, *,
        now: datetime | str | None = None,
    ) -> int:  # fmt: skip
        """Drop the oldest whole segments; how many events went.

        `max_age` ("90d") drops those whose events are all older than that before `now`, or else before the newest
        event; `max_bytes` those that are too many. Numbers and positions go on as they were, and a reading from
        before what is left warns of it.
        """
        from flowdsl.log.maintenance import retain

        with self._writing():
            return retain(self._to_write(), self._sealed, max_age, max_bytes, now)

    def verify(self, repair: bool = False, *, progress: Progress = None) -> Verification:
        """Check all of the log: what is damaged, and where. With `repair`, set that aside, so that the rest can be used.

        It changes nothing without `repair`, which needs to be the only writer: damaged files go to the folder
        `quarantine`, their events' numbers are given up, and reading passes over them with a warning. `progress` is as in `replay`.
        """
        from flowdsl.log.repair import repair as set_aside
        from flowdsl.log.verification import inspect

        if self._plain:
            raise DataError("plain Parquet files have no checksums to verify", place=str(self.folder))
        with following(progress, None, "verify") as follower, self._writing("cannot be verified"):
            self._sealed.forget()
            if repair:
                self.close()
            lost = self._log.writing.lock.lost() if self._log.writing else None
            if not (has_catalog(self.folder) or (self.folder / TAIL).is_file() or lacks_catalog(self.folder)):
                raise lost or DataError("there is no log", place=str(self.folder))
            return set_aside(self.folder, follower) if repair else inspect(self.folder, follower, lost)

    @property
    def problems(self) -> pd.DataFrame:
        """Rows of plain files, or of frames appended through this object, that could not be read; events that are lost."""
        return self._plain.problems if self._plain else self._all_problems.frame()

    @property
    def broken(self) -> int:
        """Rows that were left out because they cannot be events."""
        return self._plain.broken if self._plain else self._problems.counts["broken"]

    @property
    def problem_counts(self) -> dict[str, int]:
        """How many problems of each sort there are."""
        return self._plain.problem_counts if self._plain else dict(self._all_problems.counts)

    def position(self, consumer: str) -> int:
        """The last `seq_no` that a consumer is done with; 0 where it has not begun."""
        if self._plain:
            return self._positions.get(consumer, 0)
        catalog = self._log.catalog()
        return catalog.position(consumer) if catalog else 0

    def wait(self, after: int, timeout: float | None) -> bool:
        """Wait until there are events after `after`, from this or another process; whether there are."""
        if self._plain:
            return self.last_seq_no() > after
        return self._log.wait(after, timeout)

    def close(self) -> None:
        """Let go of the files; another process may write then. Nothing is lost without it."""
        self._log.close()

    def __enter__(self) -> ParquetEventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        how = "read only" if self._plain else f"durability={self.durability!r}"
        return f"<ParquetEventLog {str(self.folder)!r}, {how}>"

    @cached_property
    def _plain_last(self) -> int:
        chunks = self._plain.chunks((), 1 << 20) if self._plain else iter(())
        return max((int(chunk["seq_no"][-1]) for chunk in chunks), default=0)

    def _to_write(self) -> LogWriter:
        if self._plain:
            raise DataError(
                "plain Parquet files are read only",
                place=str(self.folder),
                hint="ParquetEventLog(new_folder).append(open_log(path)) makes a log of them",
            )
        return self._log.writer()

    def _store_position(self, consumer: str, seq_no: int) -> None:
        if self._plain:
            self._positions[consumer] = seq_no
            return
        # a consumer may be a process that does not write events
        with self._writing():
            self._log.catalog_to_change().store_position(consumer, seq_no)

    def _segments(self, after: int) -> tuple[Segment, ...]:
        catalog = self._log.catalog()
        return catalog.segments(after) if catalog else ()

    def _between(
        self, after: int, until: int | None, start: int | None, stop: int | None
    ) -> Iterator[pl.DataFrame]:
        if self._plain:
            return self._plain.chunks(EVENT_COLUMNS, READ, after)

        def wanted(segment: Segment) -> bool:
            within = segment.statistics
            early = start is not None and within.max_time < start
            late = stop is not None and within.min_time >= stop
            return not (early or late or (until is not None and segment.first >= until))

        return self._chunks(list(EVENT_COLUMNS), READ, after, SegmentSelection(wanted))

    def _say_gaps(self, gaps: list[MissingRange]) -> None:
        for gap in gaps:
            warn(
                f"{self.folder}: events {gap.first} to {gap.last} are no longer in the log ({gap.reason}); "
                "what they did to the graph is not known"
            )

    def _far(self) -> Iterator[int]:
        """Count the events outside the years 1 to 9999, which earlier versions accepted; they are skipped."""
        frames = self._log.held()[1].after(0)
        for segment in self._segments(0):
            within = segment.statistics
            ends = pl.Series([within.min_time, within.max_time], dtype=pl.Int64).cast(TIME)
            if within_years(ends) is not ends:
                frames += self._sealed.segment_frames(segment, ["seq_no", "timestamp"], READ)
        for frame in frames:
            yield from frame.filter(within_years(frame["timestamp"]).is_null())["seq_no"]

    @property
    def _all_problems(self) -> RowProblems:
        found = RowProblems()
        found.extend(self._problems)
        for seq_no in self._far():
            found.add(str(self.folder), seq_no, "broken", FAR, f"event {seq_no}")
        catalog = self._log.catalog()
        for gap in catalog.gaps() if catalog else ():
            reason = f"events {gap.first} to {gap.last} are no longer in the log ({gap.reason})"
            found.add(str(self.folder), gap.first, "missing", reason, None)
        return found

    def _writing(self, what: str = "cannot be written") -> AbstractContextManager[None]:
        return reading(str(self.folder), "is there room? what was acknowledged is still there", what)


def _could_be_made(folder: Path) -> bool:
    """Return True if a log may be created here: the path is free, or a folder without Parquet files."""
    if folder.is_dir():
        return not any(folder.rglob("*.parquet"))
    return not folder.exists() and folder.suffix != ".parquet" and not set("*?[") & set(str(folder))
