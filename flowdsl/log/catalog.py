"""SQLite catalog of a Parquet log: its identity, segments, consumer positions and marks.

One transaction is one durable step: `synchronous=FULL` and a rollback journal that stays and whose head is
wiped and synced (with `DELETE`, a power cut after the commit could bring the journal back, and with it the
state before; in write-ahead mode SQLite before 3.51.3 has a fault with two connections). A segment counts
from the moment it is listed here, not from when it is on disk. SQLite does not notice a flipped bit in a
value, so rows have checksums.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flowdsl.errors import DataError
from flowdsl.log.forks import abandon, hold_forks
from flowdsl.log.fsync import check_own, create_file, put_in_place
from flowdsl.log.segments import MOST, Segment, Statistics, segment_name
from flowdsl.text import short_repr

NAME: Final = "log.sqlite"
_FORMAT: Final = 4
# Seconds to wait for other connections that hold the file, between two tries, and between two transactions of
# one connection. A transaction holds the file while it syncs, nearly all the time: the pause in between lets
# others in. They try often, where SQLite itself would sleep for up to a tenth of a second.
_PATIENCE: Final = 30.0
_NAP: Final = 0.0003
_BREATH: Final = 0.001
_REPAIR: Final = "verify() says what else is, verify(repair=True) makes the catalog anew from the segments"
_READING: Final = "BEGIN"
_TABLES: Final = f"""
CREATE TABLE segments (name TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT
NULL,
                       crc INTEGER NOT NULL, statistics TEXT NOT NULL, row_crc INTEGER NOT NULL);
CREATE TABLE gaps (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, reason TEXT NOT NULL, row_crc INTEGER NOT
NULL);
CREATE TABLE consumers (name TEXT PRIMARY KEY, seq_no INTEGER NOT NULL, by_run INTEGER NOT NULL,
                        row_crc INTEGER NOT NULL);
CREATE TABLE clock_marks (seq_no INTEGER NOT NULL, clock INTEGER NOT NULL, row_crc INTEGER NOT NULL);
CREATE TABLE ahead_marks (seq_no INTEGER PRIMARY KEY, clock INTEGER NOT NULL, row_crc INTEGER NOT NULL);
CREATE TABLE counter (last INTEGER NOT NULL, row_crc INTEGER NOT NULL);
CREATE TABLE identity (name TEXT NOT NULL, row_crc INTEGER NOT NULL);
INSERT INTO counter VALUES (0, {zlib.crc32(repr((0,)).encode())});
PRAGMA user_version = {_FORMAT};
"""
CHECKED: Final = {
    "segments": "name, first, last, bytes, crc, statistics",
    "gaps": "first, last, reason",
    "consumers": "name, seq_no, by_run",
    "clock_marks": "seq_no, clock",
    "ahead_marks": "seq_no, clock",
    "counter": "last",
    "identity": "name",
}


@dataclass(frozen=True)
class MissingRange:
    """Numbers of events that a log no longer has, and why: `retained` (dropped by `retain`) or
    `quarantined`.
    """

    first: int
    last: int
    reason: str


class Catalog:
    """Durable state of a log except its events, shared by threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open the catalog of an existing folder."""
        self._path = folder / NAME
        self._lock = threading.RLock()
        self._written = 0.0
        hold_forks(self._lock)
        for name in (NAME, f"{NAME}-journal"):
            check_own(folder / name)
        with self._errors(), self._lock:
            self._connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                for pragma in (
                    "journal_mode = PERSIST",
                    "journal_size_limit = 1000000",
                    "synchronous = FULL",
                ):
                    self._run(f"PRAGMA {pragma}")
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @property
    def identity(self) -> str:
        """Unique id of the log, created with it."""
        rows = self._rows("identity")
        if len(rows) != 1 or not is_identity(rows[0][0]):
            raise self._nonsense("identity", rows)
        return str(rows[0][0])

    def after_fork(self) -> None:
        """Leave the connection to the parent process."""
        abandon(self._connection)

    def last_sealed(self) -> int:
        """Return the number of the last event that was ever in a segment."""
        rows = self._rows("counter")
        if len(rows) != 1 or not 0 <= rows[0][0] <= MOST:
            raise self._nonsense("counter", rows)
        return int(rows[0][0])

    def segments(self, after: int = 0) -> tuple[Segment, ...]:
        """Return the segments with events after `after`, in order."""
        try:
            return tuple(
                Segment(name, first, last, size, crc, Statistics.decode(stored))
                for name, first, last, size, crc, stored in self._list_rows(after)
            )
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise self._nonsense("segments", error) from error

    def extents(self) -> tuple[list[tuple[str, int, int]], list[tuple[int, int]], int]:
        """Return a consistent view of the name, first and last event of each segment, the gaps, and the last
        event ever sealed.
        """
        with self._transaction(_READING):
            segments = [row[:3] for row in self._list_rows(0)]
            return segments, [(gap.first, gap.last) for gap in self.gaps()], self.last_sealed()

    def gaps(self, after: int = 0) -> list[MissingRange]:
        """Return the numbers after `after` whose events the log no longer has."""
        found = [MissingRange(*row) for row in self._rows("gaps", "WHERE last > ? ORDER BY first", (after,))]
        for gap in found:
            if not (_are_numbers(gap.first, gap.last) and isinstance(gap.reason, str)):
                raise self._nonsense("gaps", gap)
        return found

    def _list_rows(self, after: int) -> list[tuple[Any, ...]]:
        """Return the rows of segments; a name that cannot be a segment of this folder is damage."""
        rows = self._rows("segments", "WHERE last > ? ORDER BY first", (after,))
        for name, first, last, *_ in rows:
            if not _are_numbers(first, last) or name != segment_name(first, last):
                raise self._nonsense(
                    "segments",
                    f"{short_repr(name, 200)} is not a name of a segment of events "
                    f"{short_repr(first, 30)} to {short_repr(last, 30)}",
                )
        return rows

    def _nonsense(self, table: str, why: object) -> DataError:
        return DataError(
            f"a row of {table} cannot be right: {why!s:.400}", place=str(self._path), hint=_REPAIR
        )

    def change_segments(
        self,
        listed: Iterable[Segment] = (),
        dropped: Iterable[Segment] = (),
        gaps: Iterable[MissingRange] = (),
    ) -> None:
        """Add finished segments, remove others, and record lost numbers, in one transaction."""
        listed, gaps = list(listed), list(gaps)
        with self._transaction():
            for segment in dropped:
                self._run("DELETE FROM segments WHERE name = ?", (segment.name,))
            for s in listed:
                self._put("segments", (s.name, s.first, s.last, s.bytes, s.crc, s.statistics.encode()))
            for gap in gaps:
                self._run("DELETE FROM gaps WHERE first >= ? AND last <= ?", (gap.first, gap.last))
                self._put("gaps", (gap.first, gap.last, gap.reason))
            highest = max([self.last_sealed(), *(s.last for s in listed), *(gap.last for gap in gaps)])
            self._run("DELETE FROM counter")
            self._put("counter", (highest,))

    def numbers_given(self) -> list[int]:
        """Return the event numbers in marks and consumer positions, which may be ahead of the log."""
        return [seq_no for table in ("clock_marks", "ahead_marks") for seq_no, _ in self._rows(table)]

    def forget_marks(self, last: int) -> None:
        """Remove the marks of events up to `last`, except the clock after that one."""
        with self._transaction():
            self._run("DELETE FROM clock_marks WHERE seq_no < ?", (last,))
            self._run("DELETE FROM ahead_marks WHERE seq_no <= ?", (last,))

    def positions(self, consumer: str) -> tuple[int, int]:
        """Return the position of a consumer, and the last one that a run of it stored itself; each 0 if
        there is none.
        """
        rows = self._rows("consumers", "WHERE name = ?", (consumer,))
        return (int(rows[0][1]), int(rows[0][2])) if rows else (0, 0)

    def store_position(self, consumer: str, seq_no: int, *, by_run: bool = False) -> None:
        """Store a consumer's position; `by_run` if its own run says it, and not another program."""
        with self._transaction():
            stored = seq_no if by_run else self.positions(consumer)[1]
            self._put("consumers", (consumer, seq_no, stored))

    def mark_clock(self, seq_no: int, clock: int) -> None:
        """Store that the clock was `clock` (µs since 1970) after the event `seq_no`."""
        with self._transaction():
            self._put("clock_marks", (seq_no, clock))

    def clock_marks(self, since: int = 0) -> list[tuple[Any, ...]]:
        """Return (seq_no, clock) of each mark made after the event `since` or later, in the order they were
        made.
        """
        return self._rows("clock_marks", "WHERE seq_no >= ? ORDER BY rowid", (since,))

    def mark_ahead(self, seq_nos: Iterable[int], clock: int) -> None:
        """Store that these events left the clock at `clock`; the first mark of an event counts."""
        with self._transaction():
            for seq_no in seq_nos:
                self._put("ahead_marks", (seq_no, clock), otherwise="IGNORE")

    def ahead_marks(self, since: int = 0) -> list[tuple[Any, ...]]:
        """Return (seq_no, clock) of each event from `since` on that did not move the clock, in log order."""
        return self._rows("ahead_marks", "WHERE seq_no >= ? ORDER BY seq_no", (since,))

    def restore(self, rows: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Insert rows of another catalog into their tables."""
        with self._transaction():
            for table, some in rows.items():
                for row in some:
                    self._put(table, row)

    def damage(self) -> list[str]:
        """Return what is damaged in the file, one sentence each."""
        with self._errors(), self._lock:
            # one thing is enough: a damaged page makes a hundred
            found = [str(text) for (text,) in self._run("PRAGMA integrity_check(1)")]
        wrong = [] if found == ["ok"] else found
        for table in CHECKED:
            try:
                self._rows(table)
            except DataError as error:
                wrong.append(error.what)
        return wrong

    def _rows(self, table: str, rest: str = "", values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a table after checking each against its checksum."""
        with self._errors(), self._lock:
            rows = self._run(f"SELECT {CHECKED[table]}, row_crc FROM {table} {rest}", values)
        for *row, crc in rows:
            if crc != row_checksum(tuple(row)):
                raise DataError(
                    f"a row of {table} is damaged: {short_repr(row, 80)}",
                    place=str(self._path),
                    hint=_REPAIR,
                )
        return [row[:-1] for row in rows]

    def _put(self, table: str, row: tuple[Any, ...], otherwise: str = "REPLACE") -> None:
        """Insert a row; `otherwise` says what happens if its key exists."""
        marks = ", ".join("?" * (len(row) + 1))
        names = f"{CHECKED[table]}, row_crc"
        self._run(f"INSERT OR {otherwise} INTO {table} ({names}) VALUES ({marks})", (*row, row_checksum(row)))

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of a statement once no other process uses the file."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(_NAP)

    def _prepare(self) -> None:
        ((version,),) = self._run("PRAGMA user_version")
        if version == 0:
            raise DataError("it is empty, or no catalog of a log", place=str(self._path), hint=_REPAIR)
        if version != _FORMAT:
            raise DataError(
                f"the log has format {version}",
                place=str(self._path),
                allowed=f"format {_FORMAT}",
                hint=f"it was written by another version of flowdsl, or is damaged: {_REPAIR}",
            )

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        with self._errors(), self._lock:
            if begin != _READING:
                time.sleep(max(self._written + _BREATH - time.monotonic(), 0))
            self._run(begin)
            try:
                yield
                self._run("COMMIT")
                if begin != _READING:
                    self._written = time.monotonic()
            finally:
                if self._connection.in_transaction:
                    # where it cannot be done now, the next to open the file does it
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DataError(
                f"the log's catalog cannot be used: {error}",
                place=str(self._path),
                hint=f"is the log closed, or the disk full? {_REPAIR}",
            ) from error


def _are_numbers(first: object, last: object) -> bool:
    return isinstance(first, int) and isinstance(last, int) and 0 < first <= last <= MOST


def new_identity() -> str:
    """Return a unique id for a new log."""
    return uuid.uuid4().hex


def is_identity(name: object) -> bool:
    """Return True if a text can be the identity of a log, which is written into headers of fixed length."""
    return isinstance(name, str) and re.fullmatch("[0-9a-f]{32}", name) is not None


# held while a catalog is made
_MAKING: Final = threading.RLock()
hold_forks(_MAKING)


def make_catalog(folder: Path, identity: str) -> None:
    """Create the catalog of a new log atomically; an empty file is never taken for one."""
    hidden = folder / f".{NAME}.part"
    os.close(create_file(hidden))
    try:
        with _MAKING, contextlib.closing(sqlite3.connect(hidden, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
            connection.execute("INSERT INTO identity VALUES (?, ?)", (identity, row_checksum((identity,))))
    except sqlite3.Error as error:
        raise DataError(
            f"the log's catalog cannot be made: {error}", place=str(folder / NAME), hint="is the disk full?"
        ) from error
    put_in_place(hidden, folder / NAME)


def row_checksum(row: tuple[Any, ...]) -> int:
    """Return the checksum of a catalog row."""
    return zlib.crc32(repr(row).encode())


def has_catalog(folder: str | os.PathLike[str]) -> bool:
    """Return True if a folder is a Parquet log written by flowdsl."""
    return (Path(folder) / NAME).is_file()
