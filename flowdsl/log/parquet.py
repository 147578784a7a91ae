"""Log in a folder: immutable Parquet segments, a write-ahead tail, and a small SQLite catalog."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.arguments import choice_of, flag_of, seconds_of, whole_number, whole_numbers
from flowdsl.calls import answering
from flowdsl.errors import DataError, warn
from flowdsl.events import EVENT_COLUMNS, timestamp_us
from flowdsl.expressions.durations import parse_duration
from flowdsl.log.base import EventLog
from flowdsl.log.buffer import pick_columns
from flowdsl.log.catalog import MissingRange, has_catalog
from flowdsl.log.columns import TIME, asked_columns, empty_events, within_years
from flowdsl.log.duplicates import Fresh, KnownIds, KnownIdsInFiles
from flowdsl.log.errors import reading
from flowdsl.log.handle import LogFolder
from flowdsl.log.ingest import EventsLike, frames_of, rows_of
from flowdsl.log.position import consumer_name
from flowdsl.log.problems import RowProblems
from flowdsl.log.pushdown import ScanFilter
from flowdsl.log.recovery import lacks_catalog
from flowdsl.log.rows import frame_of
from flowdsl.log.segment_reader import SealedEvents, SegmentSelection
from flowdsl.log.segments import ROWS_A_GROUP, Segment
from flowdsl.log.sources import ParquetFiles, files_of
from flowdsl.log.table import READ, EventTable, marks_frame, merge_small, prefetch, report_rows, split
from flowdsl.log.validation import FAR
from flowdsl.log.wal import NAME as TAIL
from flowdsl.log.writer import DURABILITIES, Durability, Limits, LogWriter
from flowdsl.paths import path_of
from flowdsl.progress import Progress, ProgressReporter, run_in_background, track
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.log.verification import Verification

# which share of appending rows is looking at them
_LOOKING: Final = 0.8
# The tail is sealed into a segment when it is longer than this, or has more bytes.
SEAL_AT: Final = 32_768
SEAL_BYTES: Final = 1 << 26


@answering
class ParquetEventLog(EventLog):
    """Durable log in a folder, created by the first append.

    Events are sealed into a Parquet segment after `seal_rows` events, after 64 MB, or, at an append, when the
    oldest has waited for `seal_after`. If an append raises `DataError` because the disk failed or is full,
    its events are not in the log, and the next append tries a new file.

    One process writes at a time; any number read, and see new events immediately. A path of plain Parquet
    files is opened read-only; positions of its consumers are kept in this object.

    Parameters
    ----------
    folder
        The folder of the log, or a folder, file or glob of plain Parquet files.
    durability
        When `append` returns. `"commit"`: once the events are on disk and survive a power cut; concurrent
        appends share one sync. `"group"`: the same, but a sync waits up to 2 ms for other threads. `"none"`:
        once the operating system has the events, which then survive the end of the process but not a power
        cut.
    seal_rows
        The number of events per segment, 32,768 by default.
    seal_after
        The greatest age of unsealed events.

    Raises
    ------
    DataError
        If the folder cannot be a log, or is damaged: see `verify`.

    Examples
    --------
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
        choice_of(durability, "durability", DURABILITIES)
        if seal_rows is not None and (not isinstance(seal_rows, int) or seal_rows < 1):
            raise DataError(f"seal_rows={short_repr(seal_rows, 200)}", allowed="a whole number of at least 1")
        # a program may go to another folder while it has the log
        self._given = path_of(folder)
        self.folder = Path(os.path.abspath(self._given))
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
        events: EventsLike,
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
                coming = report_rows(frames_of(events, timestamp, self._problems), follower)
                return writer.append_frames(coming if fresh is None else fresh.frames(coming))
            if len(rows) > self._seal_rows:
                frame = run_in_background(lambda: frame_of(rows))
                parts = frame.iter_slices(ROWS_A_GROUP)
                return writer.append_frames(report_rows(parts, follower.part(1 - _LOOKING)))
            return writer.append_rows(rows)

    def _known_ids(self) -> KnownIds:
        return KnownIdsInFiles(self, self.folder, lambda: self._segments(0))

    def seal(self) -> None:
        """Write unsealed events to a segment now.

        Examples
        --------
        >>> import tempfile
        >>> from flowdsl.events import entity_deleted
        >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder) as log:
        ...     _ = log.append(entity_deleted("user", "ann"))
        ...     log.seal()
        """
        with self._writing():
            self._to_write().seal()

    @property
    def read_only(self) -> bool:
        """True for plain Parquet files, which cannot be appended to."""
        return self._plain is not None

    @property
    def identity(self) -> str | None:
        """Unique id of the log; None for plain files, and before the log is created."""
        catalog = None if self._plain else self._log.catalog()
        return catalog.identity if catalog else None

    def last_seq_no(self) -> int:
        if self._plain:
            return self._plain_last
        return self._log.last()

    def count(self) -> int | None:
        if self._plain:
            return self._plain.count()
        catalog, rows = self._log.held()
        segments = catalog.segments() if catalog else ()
        sealed = segments[-1].last if segments else 0
        return sum(segment.rows for segment in segments) + max(rows.last - max(rows.first - 1, sealed), 0)

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks; events appended meanwhile are not included.

        A `FlowWarning` names events after `after` that the log no longer has.

        Parameters
        ----------
        columns
            The columns wanted in addition to `seq_no`, `timestamp` and `kind`.
        size
            The greatest number of events per frame.
        after
            Only events after this number.
        interest
            Which events matter; others may come without their columns.

        Yields
        ------
        polars.DataFrame
            Events in the order of their numbers.

        Examples
        --------
        >>> import tempfile
        >>> from flowdsl.events import entity_deleted
        >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder) as log:
        ...     _ = log.append(entity_deleted("user", "ann"))
        ...     [chunk.height for chunk in log.chunks([], 100)]
        [1]
        """
        if self._plain:
            return self._plain.chunks(columns, size, after)
        choice = SegmentSelection() if interest is None else interest.choice(self._segments(0))
        return self._chunks(asked_columns(columns, size, after), size, after, choice)

    def _chunks(
        self, names: list[str], size: int, after: int, choice: SegmentSelection
    ) -> Iterator[pl.DataFrame]:
        catalog, rows = self._log.held()
        frames = list(pick_columns(rows.after(after), names))
        last = int(frames[-1]["seq_no"][-1]) if frames else 0
        if catalog is None or (rows.first <= after + 1 and last > max(after, self._log.sealed_before - 1)):
            return merge_small(split(iter(frames), size), size)
        self._warn_of_gaps(catalog.gaps(after))
        segments = catalog.segments(after)
        tail = pl.concat(frames) if frames else empty_events()[names]
        if segments:
            tail = tail.filter(pl.col("seq_no") > segments[-1].last)
        found = self._sealed.frames(self._segments, segments, names, size, after, tail, choice)
        return prefetch(merge_small(split(found, size), size))

    def mark_clock(self, clock: datetime | str, after: int | None = None) -> None:
        clock_us = timestamp_us(clock)
        if after is not None:
            whole_number(after, "after")
        with self._writing():
            if self._log.writing:
                self._log.writing.mark_clock(clock_us, after)
            else:
                # a live run may be in a process that does not write events
                catalog = self._log.catalog_to_change()
                catalog.mark_clock(self.last_seq_no() if after is None else after, clock_us)

    def clock_marks(self, since: int = 0) -> pl.DataFrame:
        catalog = None if self._plain else self._log.catalog()
        return marks_frame(catalog.clock_marks(whole_number(since, "since")) if catalog else [])

    def mark_ahead(self, seq_nos: Collection[int], clock: datetime | str) -> None:
        numbers, clock_us = whole_numbers(seq_nos, "seq_nos"), timestamp_us(clock)
        with self._writing():
            if self._log.writing:
                self._log.writing.mark_ahead(numbers, clock_us)
            else:
                self._log.catalog_to_change().mark_ahead(numbers, clock_us)

    def ahead_marks(self, since: int = 0) -> pl.DataFrame:
        catalog = None if self._plain else self._log.catalog()
        return marks_frame(catalog.ahead_marks(whole_number(since, "since")) if catalog else [])

    def compact(self, *, progress: Progress = None) -> int:
        """Merge small neighbouring segments. Appends go on meanwhile.

        Parameters
        ----------
        progress
            As in `replay`.

        Returns
        -------
        int
            How many segments fewer there are.

        Examples
        --------
        >>> import tempfile
        >>> from flowdsl.events import entity_deleted
        >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder, seal_rows=1) as log:
        ...     for name in "abc":
        ...         _ = log.append(entity_deleted("user", name))
        ...     log.seal()
        ...     log.compact() > 0
        True
        """
        from flowdsl.log.maintenance import compact

        with track(progress, None, "compact") as follower, self._writing():
            return compact(self._to_write(), self._sealed, follower)

    def retain(
        self,
        max_age: str | timedelta | None = None,
        max_bytes: int | None = None,
        *,
        now: datetime | str | None = None,
    ) -> int:
        """Drop the oldest segments. Sequence numbers and positions stay as they are.

        Parameters
        ----------
        max_age
            Drop segments whose events are all older than this, such as `"90d"`.
        max_bytes
            Drop segments until the rest is no larger than this.
        now
            The time from which the age counts; the newest event by default.

        Returns
        -------
        int
            How many events were dropped.

        Raises
        ------
        DataError
            If neither limit is given, or one is not valid.

        Examples
        --------
        >>> import tempfile
        >>> from flowdsl.events import entity_deleted
        >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder) as log:
        ...     _ = log.append(entity_deleted("user", "ann"), timestamp="2024-01-01T00:00:00Z")
        ...     log.seal()
        ...     log.retain("90d", now="2024-12-31T00:00:00Z")
        1
        """
        from flowdsl.log.maintenance import retain

        with self._writing():
            return retain(self._to_write(), self._sealed, max_age, max_bytes, now)

    def verify(self, repair: bool = False, *, progress: Progress = None) -> Verification:
        """Check the whole log.

        Parameters
        ----------
        repair
            Move what is damaged to the folder `quarantine`, give up its event numbers, and let the rest be
            used; reading skips them with a warning. Requires that no other process writes. Without it nothing
            is changed.
        progress
            As in `replay`.

        Returns
        -------
        Verification
            What is damaged, and where.

        Raises
        ------
        DataError
            If there is no log, or, with `repair`, another process writes.

        Examples
        --------
        >>> import tempfile
        >>> from flowdsl.events import entity_deleted
        >>> with tempfile.TemporaryDirectory() as folder, ParquetEventLog(folder) as log:
        ...     _ = log.append(entity_deleted("user", "ann"))
        ...     log.verify().ok
        True
        """
        from flowdsl.log.repair import repair as set_aside
        from flowdsl.log.verification import inspect

        repair = flag_of(repair, "repair")
        if self._plain:
            raise DataError("plain Parquet files have no checksums to verify", place=str(self.folder))
        with track(progress, None, "verify") as follower, self._writing("cannot be verified"):
            self._sealed.forget()
            if repair:
                self.close()
            lost = self._log.writing.lock.lost_reason() if self._log.writing else None
            if not (has_catalog(self.folder) or (self.folder / TAIL).is_file() or lacks_catalog(self.folder)):
                raise lost or DataError("there is no log", place=str(self.folder))
            return set_aside(self.folder, follower) if repair else inspect(self.folder, follower, lost)

    @property
    def problems(self) -> pd.DataFrame:
        """Rows of plain files, or of frames appended through this object, that could not be read; and lost
        events.
        """
        return self._plain.problems if self._plain else self._all_problems.frame()

    @property
    def broken(self) -> int:
        return self._plain.broken if self._plain else super().broken

    @property
    def problem_counts(self) -> dict[str, int]:
        return self._plain.problem_counts if self._plain else dict(self._all_problems.counts)

    def position(self, consumer: str) -> int:
        consumer_name(consumer)
        if self._plain:
            return self._positions.get(consumer, 0)
        catalog = self._log.catalog()
        return catalog.positions(consumer)[0] if catalog else 0

    def position_by_run(self, consumer: str) -> int | None:
        consumer_name(consumer)
        if self._plain:
            return None
        catalog = self._log.catalog()
        return catalog.positions(consumer)[1] if catalog else 0

    def wait(self, after: int, timeout: float | None) -> bool:
        whole_number(after, "after")
        timeout = None if timeout is None else seconds_of(timeout, "timeout")
        if self._plain:
            return self.last_seq_no() > after
        return self._log.wait(after, timeout)

    def close(self) -> None:
        """Close the files, so that another process may write. Nothing is lost if a log is not closed.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ParquetEventLog(folder).close()
        """
        self._log.close()

    def __enter__(self) -> ParquetEventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        how = "read only" if self._plain else f"durability={self.durability!r}"
        return f"<ParquetEventLog {str(self._given)!r}, {how}>"

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

    def _store_position(self, consumer: str, seq_no: int, *, by_run: bool = False) -> None:
        if self._plain:
            self._positions[consumer] = seq_no
            return
        # a consumer may be a process that does not write events
        with self._writing():
            self._log.catalog_to_change().store_position(consumer, seq_no, by_run=by_run)

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

    def _warn_of_gaps(self, gaps: list[MissingRange]) -> None:
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
