"""Base of the logs that flowdsl writes: consumers with positions, subscriptions, and reading."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.arguments import flag_of
from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, timestamp_us
from flowdsl.log.columns import TIME, readable
from flowdsl.log.duplicates import Duplicates, Fresh, KnownIds, check_duplicates
from flowdsl.log.forks import watch
from flowdsl.log.ingest import EventsLike, are_few, count_of
from flowdsl.log.position import Position, consumer_name, first_after
from flowdsl.log.problems import RowProblems
from flowdsl.log.subscription import Subscription
from flowdsl.progress import Progress, ProgressReporter, track
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flowdsl.log.pushdown import ScanFilter

_BATCH: Final = 65_536


class EventLog(ABC):
    """Base class of logs that can be appended to; consumers subscribe to them and keep their positions in
    them.
    """

    def __init__(self) -> None:
        self._problems = RowProblems()
        self._known: KnownIds | None = None
        self._dropping = threading.Lock()
        watch(self)

    def after_fork(self) -> None:
        """Replace locks that a thread of the parent process may hold. Called in a forked child.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().after_fork()
        """
        self._dropping, self._known = threading.Lock(), None

    @property
    @abstractmethod
    def identity(self) -> str | None:
        """Unique id of the log, created and kept with it.

        Together with its `seq_no` it identifies an event. None if the events come from files or frames: there
        an event is identified by its `event_id`, or else by its content.
        """

    @property
    def broken(self) -> int:
        """Number of rows that were skipped because they cannot be events."""
        return self._problems.counts["broken"]

    def append(
        self,
        events: EventsLike,
        timestamp: datetime | str | None = None,
        *,
        duplicates: Duplicates = "keep",
        progress: Progress = None,
    ) -> int:
        """Append events; return the `seq_no` of the last one.

        All events are appended or none. Appending many at once is far faster than one by one.

        Parameters
        ----------
        events
            An event as a mapping, a list of them, a frame of any library, or another log.
        timestamp
            The time of the events that have none; now by default. A `seq_no` of theirs is ignored.
        duplicates
            `"drop"` skips events whose id is in the log already, or comes again among these; they are listed
            in `problems`.
        progress
            As in `replay`.

        Returns
        -------
        int
            The number of the last event of the log.

        Raises
        ------
        DataError
            If a mapping in a list is not an event. Such rows of a frame are skipped and listed in `problems`.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> event = {
        ...     "id": "e1",
        ...     "event": {"kind": "entity", "action": "deleted", "entity_type": "user", "entity_id": "ann"},
        ... }
        >>> log = MemoryEventLog()
        >>> log.append(event), log.append(event, duplicates="drop"), log.problem_counts
        (1, 1, {'duplicate': 1})
        """
        check_duplicates(duplicates)
        if duplicates == "drop":
            # no other thread may append an id between the check and the append
            with self._dropping, track(progress, count_of(events), "append") as follower:
                return self._append(events, timestamp, follower, self.fresh(self._problems))
        if progress is None and are_few(events):
            # so a live log grows, and it is in a hurry
            return self._append(events, timestamp, ProgressReporter())
        with track(progress, count_of(events), "append") as follower:
            return self._append(events, timestamp, follower)

    @abstractmethod
    def _append(
        self,
        events: EventsLike,
        timestamp: datetime | str | None,
        follower: ProgressReporter,
        fresh: Fresh | None = None,
    ) -> int:
        """Append the events that `fresh` accepts; report progress to `follower`."""

    @abstractmethod
    def _known_ids(self) -> KnownIds:
        """Return the index of the event ids in the log."""

    def fresh(self, problems: RowProblems, *, among: bool = True) -> Fresh:
        """Return a filter that accepts only events whose ids are new to the log.

        Parameters
        ----------
        problems
            Where skipped events are listed.
        among
            Also accept each id only once.

        Returns
        -------
        Fresh
            The filter, for one append.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> from flowdsl.log.problems import RowProblems
        >>> type(MemoryEventLog().fresh(RowProblems())).__name__
        'Fresh'
        """
        among = flag_of(among, "among")
        if self._known is None:
            self._known = self._known_ids()
        return Fresh(self._known, problems, among=among)

    @property
    def problem_counts(self) -> dict[str, int]:
        """Number of problems of each sort."""
        return dict(self._problems.counts)

    @abstractmethod
    def last_seq_no(self) -> int:
        """Return the number of the last event.

        Returns
        -------
        int
            The number, or 0 if the log is empty.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().last_seq_no()
        0
        """

    @abstractmethod
    def count(self) -> int | None:
        """Return the number of rows.

        Returns
        -------
        int or None
            The number, or None if it is unknown without reading.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().count()
        0
        """

    @property
    def in_memory(self) -> bool:
        """True if the events lie in memory."""
        return False

    @abstractmethod
    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks; see `EventSource.chunks`.

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

    @abstractmethod
    def mark_clock(self, clock: datetime | str, after: int | None = None) -> None:
        """Store that a live run's clock was at this time after an event, because a timer fired without an
        event.

        Parameters
        ----------
        clock
            The clock.
        after
            The event; the last one by default.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, entity_deleted
        >>> log = MemoryEventLog()
        >>> _ = log.append(entity_deleted("user", "ann"), timestamp="2024-01-01T00:00:00Z")
        >>> log.mark_clock("2024-01-01T01:00:00Z")
        """

    @abstractmethod
    def clock_marks(self, since: int = 0) -> pl.DataFrame:
        """Return the clock marks.

        Parameters
        ----------
        since
            Only marks made after this event or later.

        Returns
        -------
        polars.DataFrame
            One row per mark with `seq_no` and `clock`, in the order they were made.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().clock_marks().columns
        ['seq_no', 'clock']
        """

    @abstractmethod
    def mark_ahead(self, seq_nos: Collection[int], clock: datetime | str) -> None:
        """Store that these events, which are dated in the future, do not move the log clock.

        A live run stores this before it processes the events (`max_ahead`). The first mark of an event
        counts.

        Parameters
        ----------
        seq_nos
            The events.
        clock
            The clock at them, unless it is later already.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, entity_deleted
        >>> log = MemoryEventLog()
        >>> _ = log.append(entity_deleted("user", "ann"), timestamp="2077-01-01T00:00:00Z")
        >>> log.mark_ahead([1], "2024-01-01T00:00:00Z")
        """

    @abstractmethod
    def ahead_marks(self, since: int = 0) -> pl.DataFrame:
        """Return the events that do not move the log clock.

        Parameters
        ----------
        since
            Only events from this number on.

        Returns
        -------
        polars.DataFrame
            One row per event with `seq_no` and `clock`, the clock at it unless it is later already.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().ahead_marks().columns
        ['seq_no', 'clock']
        """

    @property
    def problems(self) -> pd.DataFrame:
        """Rows that could not be read or are unusual, as a table: `place`, `row`, `problem`, `reason`,
        `text`.
        """
        return self._problems.frame()

    @abstractmethod
    def position(self, consumer: str) -> int:
        """Return the position of a consumer.

        Parameters
        ----------
        consumer
            The name of the consumer.

        Returns
        -------
        int
            The number of the last event it has acknowledged, or 0.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().position("mailer")
        0
        """

    def position_by_run(self, consumer: str) -> int | None:
        """Return the last position that a run of a consumer has stored itself, even if it was moved since.

        Parameters
        ----------
        consumer
            The name of the consumer.

        Returns
        -------
        int or None
            The number of the event, or 0; None if the log does not tell who stored a position.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().position_by_run("mailer")
        """
        consumer_name(consumer)
        return None

    @abstractmethod
    def _store_position(self, consumer: str, seq_no: int, *, by_run: bool = False) -> None:
        """Store a consumer's position."""

    @abstractmethod
    def wait(self, after: int, timeout: float | None) -> bool:
        """Wait for events after a number.

        Parameters
        ----------
        after
            The number.
        timeout
            The longest time to wait, in seconds; None waits without limit.

        Returns
        -------
        bool
            True if there are such events.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().wait(0, timeout=0)
        False
        """

    def subscribe(self, consumer: str, position: Position | str | int = Position.LATEST) -> Subscription:
        """Subscribe a consumer to the events from a position on, including those to come.

        Parameters
        ----------
        consumer
            The name of the consumer.
        position
            Where to start: `"beginning"`, `"latest"`, `"last_acknowledged"`, or a sequence number, which is
            included.

        Returns
        -------
        Subscription
            An iterator over events as mappings.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, entity_deleted
        >>> log = MemoryEventLog()
        >>> log.append(entity_deleted("user", "ann"))
        1
        >>> next(log.subscribe("mailer", "beginning"))["event"]["entity_id"]
        'ann'
        """
        return Subscription(
            self, consumer, first_after(position, self.position(consumer_name(consumer)), self.last_seq_no())
        )

    def ack(self, consumer: str, seq_no: int, *, by_run: bool = False) -> None:
        """Store that a consumer has finished everything up to an event.

        Parameters
        ----------
        consumer
            The name of the consumer.
        seq_no
            The number of the event; it may be lower than before.
        by_run
            True if a run of the consumer says it. A runtime whose consumer another program has moved starts
            there.

        Raises
        ------
        DataError
            If `seq_no` is not a number from 0 up.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> log = MemoryEventLog()
        >>> log.ack("mailer", 0)
        """
        if not isinstance(seq_no, int) or not 0 <= seq_no <= self.last_seq_no():
            raise DataError(
                f"there is no event {short_repr(seq_no)} to acknowledge",
                allowed=f"0 to {self.last_seq_no()}",
                hint="seek() moves a consumer to a place that is still to come",
            )
        self._store_position(consumer_name(consumer), seq_no, by_run=flag_of(by_run, "by_run"))

    def seek(self, consumer: str, position: Position | str | int) -> None:
        """Move a consumer, so that its next subscription from `"last_acknowledged"` starts at a position.

        Parameters
        ----------
        consumer
            The name of the consumer.
        position
            The position, as in `subscribe`.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().seek("mailer", "beginning")
        """
        self._store_position(
            consumer_name(consumer), first_after(position, self.position(consumer), self.last_seq_no())
        )

    def read(
        self, start: int | datetime | str | None = None, stop: int | datetime | str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read the event table.

        Parameters
        ----------
        start
            The first event: a sequence number, a datetime or RFC 3339 text. Included.
        stop
            The end, in the same forms. Excluded.

        Yields
        ------
        pyarrow.RecordBatch
            The events in log order.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> list(MemoryEventLog().read())
        []
        """
        after = start - 1 if isinstance(start, int) and start > 0 else 0
        until = stop if isinstance(stop, int) else None
        times = (
            None if edge is None or isinstance(edge, int) else timestamp_us(edge) for edge in (start, stop)
        )
        for chunk in self._between(after, until, *times):
            chunk = readable(chunk)
            if until is not None and chunk.height and chunk["seq_no"][0] >= until:
                return
            table = _part(chunk, start, stop).with_columns(pl.col("kind").cast(pl.String)).to_arrow()
            yield from table.combine_chunks().to_batches()

    def _between(
        self, after: int, until: int | None, start: int | None, stop: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield events after `after`; events may be skipped: from number `until` on, before `start`, from
        `stop` on (µs).
        """
        return self.chunks(EVENT_COLUMNS, _BATCH, after)


def _part(
    chunk: pl.DataFrame, start: int | datetime | str | None, stop: int | datetime | str | None
) -> pl.DataFrame:
    for edge, first in ((start, True), (stop, False)):
        if edge is None:
            continue
        if isinstance(edge, int):
            column, value = pl.col("seq_no"), pl.lit(min(max(edge, -1 << 62), 1 << 62))
        else:
            column, value = pl.col("timestamp"), pl.lit(timestamp_us(edge)).cast(TIME)
        chunk = chunk.filter(column >= value if first else column < value)
    return chunk
