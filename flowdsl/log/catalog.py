"""The SQLite file beside the segments of a Parquet log: the unsealed tail, the list of segments, the positions.

One transaction is one durable step (`synchronous=FULL`, a rollback journal: SQLite before 3.51.3 has a fault in its
write-ahead log with two connections). A segment counts from the moment it is listed here, not from when it is on disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from flowdsl.errors import DataError
from flowdsl.events import EventRow

_NAME: Final = "log.sqlite"
_FORMAT: Final = 1
_TABLES: Final = f"""
CREATE TABLE segments (name TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE tail (seq_no INTEGER PRIMARY KEY, {", ".join(EventRow._fields)});
CREATE TABLE consumers (name TEXT PRIMARY KEY, seq_no INTEGER NOT NULL);
CREATE TABLE clock_marks (seq_no INTEGER NOT NULL, clock INTEGER NOT NULL);
CREATE TABLE checkpoints (consumer TEXT, name TEXT, seq_no INTEGER NOT NULL, state BLOB, PRIMARY KEY (consumer, name));
CREATE TABLE counter (last INTEGER NOT NULL);
INSERT INTO counter VALUES (0);
PRAGMA user_version = {_FORMAT};
"""


@dataclass(frozen=True)
class Segment:
    """An immutable Parquet file of the log, holding the events `first` to `last`."""

    name: str
    first: int
    last: int
    bytes: int


@dataclass(frozen=True)
class Snapshot:
    """What a log holds after some event at one moment: whole segments, then rows that are in none yet."""

    segments: tuple[Segment, ...]
    tail: list[tuple[int, EventRow]]


class _Run(Protocol):
    def __call__(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]: ...


class Catalog:
    """A log's durable state but for the events in segments; used by several threads and processes at a time."""

    def __init__(self, folder: Path) -> None:
        """Open the catalog of `folder`, making it where there is none."""
        self._path = folder / _NAME
        self._lock = threading.RLock()
        with self._errors():
            self._connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._prepare()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def last_seq_no(self) -> int:
        """The number of the last event ever appended."""
        with self._errors(), self._lock:
            (last,) = self._connection.execute("SELECT last FROM counter").fetchone()
            return int(last)

    def snapshot(self, after: int = 0) -> Snapshot:
        """The segments and rows that hold events after `after`, as of one moment."""
        with self._transaction("BEGIN") as run:
            listed = run(
                "SELECT name, first, last, bytes FROM segments WHERE last > ? ORDER BY first", (after,)
            )
            segments = tuple(Segment(*row) for row in listed)
            names = ", ".join(EventRow._fields)
            tail = run(f"SELECT seq_no, {names} FROM tail WHERE seq_no > ? ORDER BY seq_no", (after,))
            return Snapshot(segments, [(row[0], EventRow(*row[1:])) for row in tail])

    def tail(self) -> list[tuple[int, EventRow]]:
        """The rows that are in no segment yet."""
        with self._errors(), self._lock:
            names = ", ".join(EventRow._fields)
            rows = self._connection.execute(f"SELECT seq_no, {names} FROM tail ORDER BY seq_no")
            return [(row[0], EventRow(*row[1:])) for row in rows]

    def rows(self) -> int:
        """How many events the log holds."""
        with self._transaction("BEGIN") as run:
            ((sealed,),) = run("SELECT COALESCE(SUM(last - first + 1), 0) FROM segments")
            ((tail,),) = run("SELECT COUNT(*) FROM tail")
            return int(sealed + tail)

    def add_rows(self, rows: Sequence[EventRow]) -> tuple[int, int]:
        """Put rows at the end of the tail; the number of the last, and how long the tail is now."""
        marks = ", ".join("?" * (len(EventRow._fields) + 1))
        with self._transaction("BEGIN IMMEDIATE") as run:
            ((last,),) = run("SELECT last FROM counter")
            numbered = ((last + i, *row) for i, row in enumerate(rows, 1))
            self._connection.executemany(f"INSERT INTO tail VALUES ({marks})", numbered)
            run("UPDATE counter SET last = ?", (last + len(rows),))
            ((begin,),) = run("SELECT MIN(seq_no) FROM tail")
            last += len(rows)
            return last, 0 if begin is None else last - begin + 1

    def list_segments(self, segments: Sequence[Segment]) -> None:
        """Make finished segments part of the log; the tail's rows that they hold leave the tail in the same step."""
        with self._transaction("BEGIN IMMEDIATE") as run:
            self._connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", map(astuple, segments))
            run("DELETE FROM tail WHERE seq_no <= ?", (segments[-1].last,))
            run("UPDATE counter SET last = MAX(last, ?)", (segments[-1].last,))

    def position(self, consumer: str) -> int:
        """The last event a consumer is done with; 0 where it has not begun."""
        with self._errors(), self._lock:
            row = self._connection.execute(
                "SELECT seq_no FROM consumers WHERE name = ?", (consumer,)
            ).fetchone()
            return int(row[0]) if row else 0

    def store_position(self, consumer: str, seq_no: int) -> None:
        """Keep a consumer's position."""
        with self._transaction("BEGIN IMMEDIATE") as run:
            run("INSERT OR REPLACE INTO consumers VALUES (?, ?)", (consumer, seq_no))

    def mark_clock(self, clock: int) -> None:
        """Keep that the clock was `clock` (microseconds since 1970) after the last event."""
        with self._transaction("BEGIN IMMEDIATE") as run:
            run("INSERT INTO clock_marks SELECT last, ? FROM counter", (clock,))

    def clock_marks(self) -> list[tuple[int, int]]:
        """The (seq_no, clock) of each mark, in the order in which they were made."""
        with self._errors(), self._lock:
            return self._connection.execute("SELECT seq_no, clock FROM clock_marks ORDER BY rowid").fetchall()

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with self._transaction("BEGIN IMMEDIATE") as run:
                if run("PRAGMA user_version") == [(0,)]:
                    for statement in _TABLES.strip().rstrip(";").split(";"):
                        run(statement)
        elif version != _FORMAT:
            raise DataError(
                f"the log has format {version}", place=str(self._path), allowed=f"format {_FORMAT}",
                hint="it was written by another version of flowdsl",
            )  # fmt: skip

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_Run]:
        with self._errors(), self._lock:
            self._connection.execute(begin)
            try:
                yield lambda sql, values=(): self._connection.execute(sql, values).fetchall()
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DataError(
                f"the log's catalog cannot be used: {error}",
                place=str(self._path),
                hint="is the log closed, or the disk full?",
            ) from error


def has_catalog(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a Parquet log that flowdsl wrote."""
    return (Path(folder) / _NAME).is_file()
