"""Log in memory: blocks of columns, and a tail of rows that becomes a block when it is read."""

from __future__ import annotations

import bisect
import os
import threading
import uuid
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.arguments import seconds_of, whole_number, whole_numbers
from flowdsl.calls import answering
from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, EventRow, timestamp_us
from flowdsl.log.base import EventLog
from flowdsl.log.buffer import Blocks, pick_columns
from flowdsl.log.columns import SCHEMA, asked_columns
from flowdsl.log.duplicates import Fresh, KnownIds
from flowdsl.log.ingest import EventsLike, frames_of, rows_of
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.position import consumer_name
from flowdsl.log.problems import RowProblems
from flowdsl.log.rows import frame_of
from flowdsl.log.scan_cache import MOST, ScanCache
from flowdsl.log.table import marks_frame, merge_small, report_rows, split
from flowdsl.pluralize import count_text
from flowdsl.progress import ProgressReporter, run_in_background

if TYPE_CHECKING:
    from flowdsl.log.pushdown import ScanFilter

_TAIL: Final = 65_536


@answering
class MemoryEventLog(EventLog):
    """Log in memory, safe for several threads.

    Attributes
    ----------
    skipped
        Number of source rows that `read_events` skipped as its options say.

    Examples
    --------
    >>> from flowdsl.events import link_created
    >>> log = MemoryEventLog()
    >>> log.append(link_created("likes", "ann", "post-1"), timestamp="2024-01-01T00:00:00Z")
    1
    >>> [batch.num_rows for batch in log.read()]
    [1]
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._identity: str | None = uuid.uuid4().hex
        super().__init__()
        self._blocks = Blocks()
        self._tail: list[EventRow] = []
        self._last = 0
        self._positions: dict[str, int] = {}
        self._marks: list[tuple[int, int]] = []
        self._ahead: list[tuple[int, int]] = []
        self._changed = threading.Condition()
        self._process = os.getpid()
        self._scans = 0, ScanCache()

    def after_fork(self) -> None:
        """Replace locks that a thread of the parent process may hold.

        Examples
        --------
        >>> MemoryEventLog().after_fork()
        """
        super().after_fork()
        self._changed = threading.Condition()

    @classmethod
    def of(cls, frame: pl.DataFrame, problems: RowProblems | None = None, skipped: int = 0) -> MemoryEventLog:
        """Build a log from a checked frame, numbered by its `seq_no` or from 1.

        It has no identity: its events are those of the files they come from.

        Parameters
        ----------
        frame
            The events, in order.
        problems
            The rows that could not be read.
        skipped
            The number of rows that were skipped on request.

        Returns
        -------
        MemoryEventLog
            The log.

        Examples
        --------
        >>> from flowdsl.log.columns import empty_events
        >>> MemoryEventLog.of(empty_events()).count()
        0
        """
        log = cls()
        log._identity = None
        log._problems = problems or RowProblems()
        log.skipped = skipped
        if "seq_no" not in frame.columns:
            frame = frame.with_row_index("seq_no", 1)
        if frame.height:
            frame = as_json_text(frame).select(pl.col(name).cast(SCHEMA[name]) for name in EVENT_COLUMNS)
            log._blocks.add(frame)
            log._last = int(frame["seq_no"][-1])
        return log

    @property
    def identity(self) -> str | None:
        """Unique id of the log; None for logs that `read_events` made of files or frames."""
        return self._identity

    def _append(
        self,
        events: EventsLike,
        timestamp: datetime | str | None,
        follower: ProgressReporter,
        fresh: Fresh | None = None,
    ) -> int:
        if self._process != os.getpid():
            raise DataError(
                f"this log is in the memory of process {self._process}, of which this one was forked off: "
                "nobody there would see what is appended here",
                hint="make a log in this process, or use a ParquetEventLog, which several processes can open",
            )
        rows = rows_of(events, timestamp, follower)
        if rows is not None and fresh is not None:
            rows = fresh.rows(rows)
        if rows is not None and len(rows) < _TAIL:
            with self._changed:
                self._tail += rows
                self._last += len(rows)
                if len(self._tail) >= _TAIL:
                    self._seal()
                self._changed.notify_all()
                return self._last
        if rows is not None:
            frames = [run_in_background(lambda: frame_of(rows))]
        else:
            coming = report_rows(frames_of(events, timestamp, self._problems), follower)
            frames = list(coming if fresh is None else fresh.frames(coming))
        with self._changed:
            self._seal()
            for frame in frames:
                numbers = pl.int_range(
                    self._last + 1, self._last + 1 + frame.height, dtype=pl.Int64, eager=True
                )
                self._blocks.add(frame.with_columns(numbers.alias("seq_no")).select(EVENT_COLUMNS))
                self._last += frame.height
            self._changed.notify_all()
            return self._last

    def _known_ids(self) -> KnownIds:
        return KnownIds(self)

    def last_seq_no(self) -> int:
        return self._last

    @property
    def in_memory(self) -> bool:
        return True

    @property
    def scan_cache(self) -> ScanCache | None:
        """Cache for scans of the events that are in the log now; None for very many."""
        if self._scans[0] != self._last:
            self._scans = self._last, ScanCache()
        return self._scans[1] if len(self) <= MOST else None

    def count(self) -> int | None:
        with self._changed:
            return self._blocks.height + len(self._tail)

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks, without copies; events appended meanwhile are not included.

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
        >>> from flowdsl import MemoryEventLog
        >>> list(MemoryEventLog().chunks([], 100))
        []
        """
        names = asked_columns(columns, size, after)
        with self._changed:
            self._seal()
            frames = self._blocks.after(after)
        return merge_small(split(pick_columns(frames, names), size), size)

    def mark_clock(self, clock: datetime | str, after: int | None = None) -> None:
        clock_us = timestamp_us(clock)
        with self._changed:
            self._marks.append((self._last if after is None else whole_number(after, "after"), clock_us))

    def clock_marks(self, since: int = 0) -> pl.DataFrame:
        return _marks_since(self._marks, since)

    def mark_ahead(self, seq_nos: Collection[int], clock: datetime | str) -> None:
        numbers, clock_us = whole_numbers(seq_nos, "seq_nos"), timestamp_us(clock)
        with self._changed:
            known = {seq_no for seq_no, _ in self._ahead}
            fresh = [(seq_no, clock_us) for seq_no in numbers if seq_no not in known]
            self._ahead = sorted(self._ahead + fresh)

    def ahead_marks(self, since: int = 0) -> pl.DataFrame:
        return _marks_since(self._ahead, since)

    def position(self, consumer: str) -> int:
        return self._positions.get(consumer_name(consumer), 0)

    def wait(self, after: int, timeout: float | None) -> bool:
        if self._last > whole_number(after, "after"):
            return True
        timeout = None if timeout is None else seconds_of(timeout, "timeout")
        with self._changed:
            return self._changed.wait_for(lambda: self._last > after, timeout)

    def __len__(self) -> int:
        return self.count() or 0

    def __repr__(self) -> str:
        found = [f"{count_text(count, 'row')} {sort}" for sort, count in self.problem_counts.items()]
        problems = f"; {', '.join(found)}: see .problems" if found else ""
        return f"<MemoryEventLog of {count_text(len(self), 'event')}{problems}>"

    def _store_position(self, consumer: str, seq_no: int, *, by_run: bool = False) -> None:
        self._positions[consumer] = seq_no

    def _seal(self) -> None:
        """Turn the tail into a block."""
        if not self._tail:
            return
        # the number of the last event stays as it is: it is read without the lock
        block = frame_of(self._tail, self._last - len(self._tail) + 1)
        self._tail = []
        self._blocks.add(block)


def _marks_since(marks: list[tuple[int, int]], since: int) -> pl.DataFrame:
    # the newest come last, and a live run asks for no others
    begin = bisect.bisect_left(marks, whole_number(since, "since"), key=lambda mark: mark[0])
    return marks_frame(marks[begin:])
