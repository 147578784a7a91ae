"""Base of the logs that flowdsl writes: consumers with positions, subscriptions, and reading."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, event_mapping, id_text, timestamp_us
from flowdsl.log.columns import TIME, chunk_columns, empty_events, readable
from flowdsl.log.duplicates import Duplicates, Fresh, KnownIds, check_duplicates
from flowdsl.log.forks import watch
from flowdsl.log.ingest import are_few, count_of
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.position import Position, first_after
from flowdsl.log.problems import RowProblems
from flowdsl.log.rows import event_rows
from flowdsl.progress import Progress, ProgressReporter, following

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flowdsl.log.pushdown import ScanFilter

_BATCH: Final = 65_536


class EventLog(ABC):
    """A log of events: appended to, subscribed to by consumers that keep their positions, read in chunks."""

    def __init__(self) -> None:
        self._problems = RowProblems()
        self._known: KnownIds | None = None
        self._dropping = threading.Lock()
        watch(self)

    def after_fork(self) -> None:
        """Replace locks that a thread of the parent process may hold."""
        self._dropping, self._known = threading.Lock(), None

    @property
    @abstractmethod
    def identity(self) -> str | None:
        """What tells this log from all others: made with it, and kept with it.

        An event of it is known by this and its `seq_no`. None where the events come from files or frames: there an
        event is known by its `event_id`, or else by what it says.
        """

    @property
    def broken(self) -> int:
        """Rows that were left out because they cannot be events."""
        return 0

    def append(
        self,
        events: Any,
        timestamp: datetime | str | None = None,
        *,
        duplicates: Duplicates = "keep",
        progress: Progress = None,
    ) -> int:
        """Put one event, many, a frame or another log's events at the end; the `seq_no` of the last.

        The time of an event is `timestamp`, else its own, else now; a `seq_no` of its own is not looked at. All are
        appended or none: one mapping in a list that is no event is a `DataError`; such rows of a frame go to `problems`.
        Many at once are far faster than one by one. With `duplicates="drop"` an event whose id the log has, or that comes
        again among these, is left out and listed in `problems`. `progress` is as in `replay`.

        >>> from flowdsl.log.memory import MemoryEventLog
        >>> event = {"id": "e1", "event": {"kind": "entity", "action": "deleted", "entity_type": "user", "entity_id": "ann"}}
        >>> log = MemoryEventLog()
        >>> log.append(event), log.append(event, duplicates="drop"), log.problem_counts
        (1, 1, {'duplicate': 1})
        """
        check_duplicates(duplicates)
        if duplicates == "drop":
            # nobody else may append an id between the question whether it is there and the append
            with self._dropping, following(progress, count_of(events), "append") as follower:
                return self._append(events, timestamp, follower, self.fresh(self._problems))
        if progress is None and are_few(events):
            # so a live log grows, and it is in a hurry
            return self._append(events, timestamp, ProgressReporter())
        with following(progress, count_of(events), "append") as follower:
            return self._append(events, timestamp, follower)

    @abstractmethod
    def _append(
        self,
        events: Any,
        timestamp: datetime | str | None,
        follower: ProgressReporter,
        fresh: Fresh | None = None,
    ) -> int:
        """Append the events that `fresh` accepts; report progress to `follower`."""

    @abstractmethod
    def _known_ids(self) -> KnownIds:
        """Return the index of the event ids in the log."""

    def fresh(self, problems: RowProblems, *, among: bool = True) -> Fresh:
        """Return a filter that accepts only events whose ids are new to the log, and with `among` each id
        once; the others go to `problems`.
        """
        if self._known is None:
            self._known = self._known_ids()
        return Fresh(self._known, problems, among=among)

    @property
    @abstractmethod
    def problem_counts(self) -> dict[str, int]:
        """How many problems of each sort there are."""

    @abstractmethod
    def last_seq_no(self) -> int:
        """The number of the last event; 0 in an empty log."""

    @abstractmethod
    def count(self) -> int | None:
        """How many rows there are, as `EventSource.count`."""

    @abstractmethod
    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Frames of at most `size` events after `after`, as `EventSource.chunks`."""

    @abstractmethod
    def mark_clock(self, clock: datetime | str, after: int | None = None) -> None:
        """Note that a live run read this clock after an event (the last one) because a timer fired without an event."""

    @abstractmethod
    def clock_marks(self, since: int = 0) -> pl.DataFrame:
        """`seq_no`, `clock`: the marks made after the event `since` or later, in the order in which they were made."""

    @abstractmethod
    def mark_ahead(self, seq_nos: Collection[int], clock: datetime | str) -> None:
        """Note that these events, dated in the future, do not move the log clock: it is `clock` at them, if not later.

        The first mark of an event stays. A live run makes them before it processes the events (`max_ahead`).
        """

    @abstractmethod
    def ahead_marks(self, since: int = 0) -> pl.DataFrame:
        """`seq_no`, `clock`: the events from `since` on that do not move the log clock, and what it is at them, if not later."""

    @property
    @abstractmethod
    def problems(self) -> pd.DataFrame:
        """Rows that could not be read or stand out, as `EventSource.problems`."""

    @abstractmethod
    def position(self, consumer: str) -> int:
        """The last `seq_no` that a consumer is done with; 0 where it has not begun."""

    @abstractmethod
    def _store_position(self, consumer: str, seq_no: int) -> None:
        """Store a consumer's position."""

    @abstractmethod
    def wait(self, after: int, timeout: float | None) -> bool:
        """Wait until there are events after `after`, at most `timeout` seconds (None: for ever); whether there are."""

    def subscribe(self, consumer: str, position: Position | str | int = Position.LATEST) -> Subscription:
        """The events from `position` on (a number is included), then those to come, for one consumer.

        >>> from flowdsl.log.memory import MemoryEventLog
        >>> log = MemoryEventLog()
        >>> log.append({"kind": "entity", "action": "deleted", "entity_type": "user", "entity_id": "ann"})
        1
        >>> next(log.subscribe("mailer", "beginning"))["event"]["entity_id"]
        'ann'
        """
        return Subscription(
            self, consumer, first_after(position, self.position(_named(consumer)), self.last_seq_no())
        )

    def ack(self, consumer: str, seq_no: int) -> None:
        """Keep that a consumer is done with everything up to `seq_no`; going back is allowed."""
        if not isinstance(seq_no, int) or not 0 <= seq_no <= self.last_seq_no():
            raise DataError(
                f"there is no event {seq_no} to acknowledge", allowed=f"0 to {self.last_seq_no()}",
                hint="seek() moves a consumer to a place that is still to come",
            )  # fmt: skip
        self._store_position(_named(consumer), seq_no)

    def seek(self, consumer: str, position: Position | str | int) -> None:
        """Move a consumer, so that `last_acknowledged` starts at `position` (a number is included)."""
        self._store_position(
            _named(consumer), first_after(position, self.position(consumer), self.last_seq_no())
        )

    def read(
        self, start: int | datetime | str | None = None, stop: int | datetime | str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The event table from `start` (included) to `stop` (left out), as Arrow record batches.

        Both are sequence numbers, or timestamps (datetimes or RFC 3339 text).
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


class Subscription:
    """A consumer's reading of a log: an iterator over events that waits for new ones until it is closed.

    `take` gives them by the frame, for those who work on columns. Neither acknowledges anything.
    """

    def __init__(self, log: EventLog, consumer: str, after: int) -> None:
        self.consumer = consumer
        self.after = after
        self._log = log
        self._closed = False
        self._ready: Iterator[tuple[int, Any]] = iter(())

    def take(
        self, size: int = _BATCH, timeout: float | None = 0.0, columns: Collection[str] = EVENT_COLUMNS
    ) -> pl.DataFrame:
        """The next events, at most `size`, as a frame; it is empty if none came within `timeout` seconds.

        `timeout=None` waits until one comes or the subscription is closed.
        """
        if self._wait(timeout):
            for chunk in self._log.chunks(columns, size, self.after):
                self.after = int(chunk["seq_no"][-1])
                # an earlier version may have let in what has no time that can be told
                if (good := readable(chunk)).height:
                    return good
        return empty_events().select(chunk_columns(columns))

    def close(self) -> None:
        """End the waiting: iteration stops."""
        self._closed = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        while True:
            for seq_no, row in self._ready:
                return event_mapping(row, seq_no)
            chunk = self.take(timeout=None)
            if not chunk.height:
                raise StopIteration
            self._ready = iter(event_rows(as_json_text(chunk)))

    def __repr__(self) -> str:
        return f"<Subscription {self.consumer!r}, {'closed' if self._closed else f'read up to event {self.after}'}>"

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, timeout: float | None) -> bool:
        if timeout is not None:
            return self._log.wait(self.after, timeout)
        while not self._closed:
            # in short turns, so that close() from another thread is seen
            if self._log.wait(self.after, 0.1):
                return True
        return False


def _named(consumer: str) -> str:
    if not isinstance(consumer, str) or not consumer:
        raise DataError(f"a consumer is named by text, not {consumer!r}", hint="like 'flow-runtime'")
    return id_text(consumer, "consumer") or consumer


def _part(
    chunk: pl.DataFrame, start: int | datetime | str | None, stop: int | datetime | str | None
) -> pl.DataFrame:
    for edge, first in ((start, True), (stop, False)):
        if edge is None:
            continue
        if isinstance(edge, int):
            column, value = pl.col("seq_no"), pl.lit(edge)
        else:
            column, value = pl.col("timestamp"), pl.lit(timestamp_us(edge)).cast(TIME)
        chunk = chunk.filter(column >= value if first else column < value)
    return chunk
