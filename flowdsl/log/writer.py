"""Writer of a log: appends share syncs, and a long tail becomes a segment.

Threads put what they append into a queue; one of them, the leader, writes the queue into the tail and syncs
it once for all, while the others prepare the next. Whatever else changes the log (sealing, whole frames,
compaction) leads too.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.buffer import TailRows
from flowdsl.log.catalog import NAME as CATALOG
from flowdsl.log.catalog import Catalog, has_catalog, make_catalog, new_identity
from flowdsl.log.fsync import make_folder
from flowdsl.log.locks import lock_writer
from flowdsl.log.pending_append import PendingAppend
from flowdsl.log.recovery import REPAIR, find_tail, lacks_catalog, tidy
from flowdsl.log.repair import mend_tail
from flowdsl.log.rows import event_rows
from flowdsl.log.segments import write_segments
from flowdsl.log.wal import WalWriter, encode_line

Durability = Literal["commit", "group", "none"]
DURABILITIES: Final = ("commit", "group", "none")
# how long "group" waits for appends to share a sync, in seconds
GROUP_WAIT: Final = 0.002
# a frame shorter than this part of a full tail joins the tail
_JOINS: Final = 4
# how often appends that are not synced look whether their files are still in place, in seconds
_LOOK: Final = 0.02

_logger = logging.getLogger("flowdsl.log")


@dataclass(frozen=True)
class Limits:
    """Limits at which a tail is sealed: after so many events, bytes, or seconds since its first event."""

    rows: int
    bytes: int
    seconds: float


class LogWriter:
    """Only writer of a log, used by any number of threads."""

    def __init__(self, folder: Path, durability: Durability, limits: Limits) -> None:
        make_folder(folder)
        self._folder = folder
        self._durability = durability
        self._synced = durability != "none"
        self._looked = 0.0
        self._limits = limits
        self._changed = threading.Condition()
        # readers have a condition of their own, so that they are not woken by what only concerns writers
        self._grown = threading.Condition()
        self._maintenance = threading.Lock()
        self._queue: list[PendingAppend] = []
        self._crowd = 1
        self._leading = False
        self._closed = False
        self._tail: WalWriter | None = None
        self.rows = TailRows(1)
        self._begun = time.monotonic()
        self._refused = 0
        self._identity = ""
        self.catalog: Catalog | None = None
        self.lock = lock_writer(folder)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def last(self) -> int:
        """Number of the last event of the log."""
        return self.rows.last

    def append_rows(self, rows: Sequence[EventRow]) -> int:
        """Append events and return the number of the last; they are then as safe as the log's durability
        says.
        """
        if not rows:
            return self.last
        mine = PendingAppend(rows)
        with self._changed:
            self._queue.append(mine)
            if len(self._queue) == self._crowd:
                self._changed.notify_all()
            while self._leading and not mine.done:
                self._changed.wait()
            if not mine.done:
                self._leading = True
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise mine.make_error()
        return mine.last

    def append_frames(self, frames: Iterator[pl.DataFrame]) -> int:
        """Append frames, all or none; few rows join the tail, many become segments after it."""
        with self.leading():
            self._repair()
            small: list[pl.DataFrame] = []
            for frame in frames:
                small.append(frame)
                if sum(part.height for part in small) > self._limits.rows // _JOINS:
                    self._seal(itertools.chain(small, frames))
                    return self.last
            numbered = pl.concat(small).with_row_index("seq_no") if small else None
            rows = [] if numbered is None else [row for _, row in event_rows(numbered)]
            if rows:
                self._commit([PendingAppend(rows)])
                self._seal_if_due()
            return self.last

    def seal(self) -> None:
        """Write the tail to a segment now."""
        with self.leading():
            self._repair()
            if len(self.rows):
                self._seal()

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Block in which no other thread changes the log."""
        with self._changed:
            while self._leading:
                self._changed.wait()
            self._check_open()
            self._leading = True
        try:
            yield
        finally:
            with self._changed:
                self._leading = False
                self._changed.notify_all()

    @contextmanager
    def maintaining(self) -> Iterator[Catalog]:
        """Block in which no other thread replaces or removes segments; appends and sealing go on."""
        with self._maintenance:
            with self.leading():
                catalog = self._repair()
            yield catalog

    @property
    def tail_bytes(self) -> int:
        """Size of the tail."""
        return self._tail.end if self._tail else 0

    def mark_clock(self, clock: int, after: int | None) -> None:
        """Store that the clock was `clock` after an event, by default the last one."""
        with self.leading():
            self._repair().mark_clock(self.last if after is None else after, clock)

    def mark_ahead(self, seq_nos: Collection[int], clock: int) -> None:
        """Store that these events left the clock where it is."""
        with self.leading():
            self._repair().mark_ahead(seq_nos, clock)

    def wait(self, after: int, timeout: float | None) -> bool:
        """Wait until there are events after `after` or the writer is closed; return whether there are."""
        with self._grown:
            self._grown.wait_for(lambda: self.last > after or self._closed, timeout)
            return self.last > after

    def close(self) -> None:
        """Close the files, so that another process may write."""
        with self._changed:
            while self._leading:
                self._changed.wait()
            self._closed = True
            if self._tail is not None:
                if self.catalog is not None and self.lock.lost_reason() is None:
                    self._note(self.last, closing=True)
                self._tail.close()
                self._tail = None
            if self.catalog is not None:
                self.catalog.close()
                self.catalog = None
            self.lock.close()
            self._changed.notify_all()
        self._notify_readers()

    def after_fork(self) -> None:
        """Leave everything to the parent; this object is no longer used."""
        if self._tail is not None:
            self._tail.close()
        if self.catalog is not None:
            self.catalog.after_fork()

    def _notify_readers(self) -> None:
        with self._grown:
            self._grown.notify_all()

    def _open(self) -> None:
        rows = TailRows(1)
        if lacks_catalog(self._folder):
            raise DataError(f"{CATALOG} is missing", place=str(self._folder), hint=REPAIR)
        if has_catalog(self._folder):
            self.catalog = Catalog(self._folder)
            mend_tail(self._folder, self.catalog, self.lock.before)
            rows = TailRows(*find_tail(self._folder, self.catalog, self.lock.before))
        self._identity = self.catalog.identity if self.catalog else new_identity()
        # a new file also where there is one: it is unknown whether its last sync, in another process, went
        # well
        self._begin_tail(rows)
        if self.catalog is None:
            make_catalog(self._folder, self._identity)
            self.catalog = Catalog(self._folder)
        self._note(rows.last)
        tidy(self._folder, self.catalog, (rows.first, rows.last))

    def _begin_tail(self, rows: TailRows) -> None:
        # it takes the place of the one that is there
        self.lock.check()
        tail = WalWriter(self._folder, rows.first, rows.rows, self._identity, synced=self._synced)
        if self._tail is not None:
            self._tail.close()
        with self._changed:
            self._tail, self.rows = tail, rows
            self._begun = time.monotonic()
            self._changed.notify_all()

    def _repair(self) -> Catalog:
        """Return the catalog with a sound tail: after a failure, first rewrite the confirmed events to a new
        file.
        """
        assert self.catalog is not None
        if self._tail is None:
            sealed = self.catalog.last_sealed()
            self._begin_tail(self.rows.from_number(sealed + 1))
            # unless what looks left over is being written at this moment
            if self._maintenance.acquire(blocking=False):
                try:
                    tidy(self._folder, self.catalog, (self.rows.first, self.rows.last), mine=True)
                finally:
                    self._maintenance.release()
        return self.catalog

    def _distrust_tail(self) -> None:
        """Never write to this file again."""
        tail, self._tail = self._tail, None
        if tail is not None:
            try:
                tail.cut()
            except OSError as error:
                _logger.warning("%s: what a failed append left cannot be removed: %s", self._folder, error)
            tail.close()

    def _lead(self) -> None:
        group: list[PendingAppend] = []
        try:
            with self._changed:
                if self._durability == "group":
                    self._gather()
                group, self._queue = self._queue, []
                self._check_open()
            self._repair()
            self._commit(group)
            self._seal_if_due()
        except BaseException as error:
            with self._changed:
                if not group:
                    group, self._queue = self._queue, []
            for waiting in group:
                if not waiting.done:
                    waiting.error = error
            if not isinstance(error, (OSError, DataError)):
                raise
        finally:
            with self._changed:
                for waiting in group:
                    waiting.done = True
                self._crowd = len(group) + len(self._queue)
                self._leading = False
                self._changed.notify_all()

    def _gather(self) -> None:
        """Wait briefly for as many appends as arrived while the last group was written."""
        end = time.monotonic() + GROUP_WAIT
        while len(self._queue) < self._crowd and (left := end - time.monotonic()) > 0:
            self._changed.wait(left)

    def _commit(self, group: list[PendingAppend]) -> None:
        """Write a group of appends to the tail, all or none."""
        assert self._tail is not None
        last, lines = self.last, []
        for waiting in group:
            lines.append(encode_line(last + 1, len(waiting.rows), waiting.events))
            last += len(waiting.rows)
            waiting.last = last
        try:
            self._tail.append(b"".join(lines), last)
            self._check_place(last)
        except BaseException:
            self._distrust_tail()
            raise
        with self._changed:
            if not len(self.rows):
                self._begun = time.monotonic()
            for waiting in group:
                self.rows.add(waiting.rows)
                waiting.done = True
            self._changed.notify_all()
        self._notify_readers()

    def _check_place(self, last: int) -> None:
        """Check that the files are still in place before any append is confirmed."""
        assert self._tail is not None
        now = time.monotonic()
        if not self._synced and now - self._looked < _LOOK:
            return
        self._looked = now
        # after the sync: the next holder of the lock finds what was written
        self.lock.check()
        self._tail.check()
        self._note(last)

    def _note(self, last: int, *, closing: bool = False) -> None:
        """Note in the lock how far the log is, for readers that find the tail damaged or missing."""
        try:
            self.lock.store(last, self._identity, exact=self._synced or closing)
        except OSError as error:
            _logger.warning("%s: how far the log is cannot be noted: %s", self.lock.path, error)

    def _seal_if_due(self) -> None:
        """Seal a long or old tail; if that fails, the events stay safe where they are."""
        assert self._tail is not None
        old = time.monotonic() - self._begun > self._limits.seconds
        size = len(self.rows)
        if not (size >= self._limits.rows or self._tail.end >= self._limits.bytes or old):
            return
        if size < self._refused:
            return
        try:
            self._seal()
            self._refused = 0
        except Exception as error:
            # whatever it was: the appends that led here have succeeded
            self._refused = size + self._limits.rows // 2
            _logger.warning("%s: the tail cannot be sealed yet: %s", self._folder, error)

    def _seal(self, behind: Iterable[pl.DataFrame] = ()) -> None:
        """Write the tail, and the frames after it, to segments."""
        assert self.catalog is not None
        self.lock.check()
        first = self.rows.first
        tail = [pl.concat(self.rows.after(first - 1)).drop("seq_no")] if len(self.rows) else []
        segments = write_segments(self._folder, itertools.chain(tail, behind), first, self.catalog.identity)
        if not segments:
            return
        try:
            self.catalog.change_segments(listed=segments)
        except BaseException:
            # the change may be in the catalog all the same: look before anything else is written
            self._distrust_tail()
            raise
        last = segments[-1].last
        with self._changed:
            self.rows = TailRows(last + 1)
            self._changed.notify_all()
        self._notify_readers()
        self._note(last)
        try:
            self._begin_tail(self.rows)
        except OSError as error:
            self._distrust_tail()
            _logger.warning("%s: no new tail could be begun yet: %s", self._folder, error)

    def _check_open(self) -> None:
        if self._closed:
            raise DataError("the log is closed", place=str(self._folder), hint="open it again")
