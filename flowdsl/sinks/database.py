"""SQLite file of a sink: private to its user, durable when a write returns, shared by threads and
processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from flowdsl.errors import SinkError
from flowdsl.log.forks import abandon, hold_forks, watch
from flowdsl.paths import path_of
from flowdsl.text import short_repr, type_text

T = TypeVar("T")
# how long a writer waits for another process to finish
PATIENCE: Final = 30.0
_APPLIED: Final = (
    "create table if not exists applied (consumer text primary key, batch integer not null) without rowid"
)
_VERSION: Final = 3
# numbers of changes are those of SQLite's `user_version`, which has 32 bits: they begin anew after so many
_CHANGES: Final = 1 << 31
# a file up to this size, in bytes, is checked whole when it is opened: that takes a few hundredths of a
# second
_CHECKED_AT_ONCE: Final = 1 << 23
_REPAIR: Final = "bring back a copy of the file, or move it away: a new one is made then"
_LEAST_PAGE: Final = 512
_TABLE: Final = re.compile(r"create table if not exists (\w+)")
# the parameters that every SQLite takes in one statement
_PARAMETERS: Final = 999
# what a journal that stays may have, in bytes
_JOURNAL: Final = 1_000_000


class Database:
    """SQLite file, or a database in memory if `path` is None; opened when it is first used."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        name: str,
        schema: Sequence[str],
        checked: Mapping[str, str] | None = None,
        changed: Callable[[int], None] | None = None,
    ) -> None:
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise SinkError(
                f"a path is {type_text(path)}", allowed="text, a pathlib.Path, or None for memory"
            )
        # the file is opened when it is first used, and a program may have gone to another folder by then
        self.path = None if path is None else Path(os.path.abspath(path_of(path, SinkError)))
        self._place = "memory" if path is None else repr(os.fspath(path))
        self._name = name
        self._schema = (_APPLIED, *schema)
        self._checked = checked or {}
        # called with the number of each change, once it is on disk
        self._changed = changed
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        # which file that is, even if the path is another one by now
        self._file = (0, 0)
        watch(self)
        hold_forks(self._lock)

    def open(self) -> None:
        """Open the file and create missing tables; a new file is readable for its owner only."""
        with self._lock:
            self._connected()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def after_fork(self) -> None:
        """Leave the connection to the parent process; this process must never close it."""
        abandon(self._connection)
        self._connection, self._lock = None, threading.RLock()
        hold_forks(self._lock)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with self._lock, self._translate():
            return self._connected().execute(sql, parameters).fetchall()

    def rows(
        self, table: str, rest: str = "", parameters: Sequence[Any] = (), beside: str = ""
    ) -> list[tuple[Any, ...]]:
        """Return rows of a table after checking each against its checksum; the leading columns `beside` are
        not covered by it.
        """
        with self._lock, self._translate():
            return self.rows_in(self._connected(), table, rest, parameters, beside)

    def rows_in(
        self,
        connection: sqlite3.Connection,
        table: str,
        rest: str = "",
        parameters: Sequence[Any] = (),
        beside: str = "",
    ) -> list[tuple[Any, ...]]:
        """Return checked rows inside a transaction."""
        first = beside.count(",") + 1 if beside else 0
        columns = ", ".join(filter(None, (beside, self._checked[table], "crc")))
        found = connection.execute(f"select {columns} from {table} {rest}", parameters).fetchall()
        for row in found:
            if row[-1] != zlib.crc32(repr(row[first:-1]).encode("utf-8", "surrogatepass")):
                raise SinkError(
                    f"{self!r} is damaged: a row of {table} is not what was written, "
                    f"{short_repr(row[first:-1], 80)}",
                    hint=_REPAIR,
                )
        return [row[:-1] for row in found]

    def damage(self) -> list[str]:
        """Read the whole file and return what is damaged, one sentence each."""
        wrong = []
        try:
            with self._lock, self._translate():
                wrong += _integrity(self._connected())
            for table in self._checked:
                self.rows(table)
        except SinkError as error:
            wrong.append(error.what)
        return wrong

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in one transaction, which is durable when this returns."""
        with self._lock, self._translate():
            connection = self._connected()
            connection.execute("begin immediate")
            try:
                done = change(connection)
                changes = (_user_version(connection) + 1) % _CHANGES
                # its page is written anyway
                connection.execute(f"pragma user_version = {changes}")
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
            # a change written to a file that was removed meanwhile would be lost
            if self._is_gone():
                return self.write(change)
            if self._changed is not None:
                self._changed(changes)
            return done

    @property
    def changes(self) -> int:
        """Number of the last change, which tells an older copy of a file from a newer one (`is_before`)."""
        with self._lock, self._translate():
            return _user_version(self._connected())

    @property
    def identity(self) -> str:
        """Unique id of the file, which copies of it have as well."""
        return str(self.read("select file from about")[0][0])

    def apply(self, consumer: str, batch: int, change: Callable[[sqlite3.Connection, bool], object]) -> None:
        """Run `change` and store the batch number in the same transaction; its second argument is True if the
        batch is new.
        """

        def once(connection: sqlite3.Connection) -> None:
            known = connection.execute("select batch from applied where consumer = ?", (consumer,)).fetchone()
            new = known is None or known[0] < batch
            change(connection, new)
            if new:
                connection.execute("insert or replace into applied values (?, ?)", (consumer, batch))

        self.write(once)

    def applied(self, consumer: str) -> int:
        """Return the last batch of a consumer, or 0."""
        rows = self.read("select batch from applied where consumer = ?", (consumer,))
        return int(rows[0][0]) if rows else 0

    @property
    def is_there(self) -> bool:
        """Return True if there is anything to read; does not create the file."""
        return self.path is None or self._connection is not None or self.path.exists()

    def __repr__(self) -> str:
        return self._place

    def _is_gone(self) -> bool:
        """Return True if the open file was removed or replaced, which SQLite would not notice."""
        if self.path is None:
            return False
        try:
            there = self.path.stat()
        except OSError:
            return not self.path.exists()
        return (there.st_dev, there.st_ino) != self._file

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._process == os.getpid() and self._is_gone():
            self.close()
        if self._connection is None or self._process != os.getpid():
            # a connection must not be used in a process that was forked off
            with self._translate():
                self._connection, self._process = self._connect(), os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self.path is not None and _is_no_database(self.path):
            raise SinkError(f"{self!r} is not a database", hint="name a new file")
        where = ":memory:" if self.path is None else os.fspath(_make(self.path))
        connection = sqlite3.connect(where, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("pragma journal_mode = persist")
            connection.execute(f"pragma journal_size_limit = {_JOURNAL}")
            connection.execute("pragma synchronous = full")
            connection.execute("begin immediate")
            self._check(connection)
            for statement in self._schema:
                connection.execute(statement)
            connection.execute("commit")
            if self.path is not None:
                there = self.path.stat()
                self._file = (there.st_dev, there.st_ino)
                for wrong in _integrity(connection) if there.st_size <= _CHECKED_AT_ONCE else ():
                    raise SinkError(f"{self!r} is damaged: {wrong}", hint=_REPAIR)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        connection.execute("create table if not exists about (name text, version integer, file text)")
        rows = connection.execute("select name, version from about").fetchall()
        if not rows:
            if _tables(connection) != {"about"}:
                raise SinkError(f"{self!r} is the database of something else", hint="name a new file")
            connection.execute("insert into about values (?, ?, ?)", (self._name, _VERSION, uuid.uuid4().hex))
        elif rows != [(self._name, _VERSION)]:
            raise SinkError(
                f"{self!r} belongs to {rows[0][0]} (version {rows[0][1]}), and not to {self._name} (version "
                f"{_VERSION})",
                hint="give each sink a file of its own",
            )
        else:
            # all were made together: one that is not there was taken away, with what was in it
            made = {name for sql in self._schema for name in _TABLE.findall(sql)}
            lost = sorted(made - _tables(connection))
            if lost:
                raise SinkError(f"{self!r} is damaged: it is without {', '.join(lost)}", hint=_REPAIR)

    @contextlib.contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, UnicodeEncodeError, OverflowError) as error:
            raise self._sink_error(error) from error

    def _sink_error(self, error: Exception) -> SinkError:
        match error:
            case UnicodeEncodeError():
                return SinkError("there is text that UTF-8 cannot hold: half a surrogate pair")
            case OverflowError():
                return SinkError("there is a whole number beyond 64 bits")
            case UnicodeDecodeError():
                # the file holds text that is not UTF-8
                return SinkError(f"{self!r} is damaged: it holds text that is not UTF-8", hint=_REPAIR)
            # not its subclasses, the errors of a statement: SQLite raises it for pages that are not pages
            case _ if type(error) is sqlite3.DatabaseError:
                return SinkError(f"{self!r} is damaged: {error}", hint=_REPAIR)
        busy = isinstance(error, sqlite3.OperationalError) and re.search("locked|busy", str(error))
        hint = "another process is writing to it" if busy else None
        return SinkError(f"{self!r} cannot be used: {error}", hint=hint)


def _is_no_database(path: Path) -> bool:
    """Return True if a file holds something that is too short for a page: SQLite would write over it
    without a word.

    With a journal next to it, it may be a database whose first page was being written.
    """
    try:
        size = path.stat().st_size
    except OSError:
        return False
    return 0 < size < _LEAST_PAGE and not path.with_name(f"{path.name}-journal").exists()


def _make(path: Path) -> Path:
    """Return the path of the file, created for its owner only; SQLite gives its journals the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise SinkError(
            f"{str(path)!r} cannot be opened: {error.strerror or error}",
            hint="make its folder first" if not path.parent.is_dir() else None,
        ) from error
    return path


def is_before(changes: int, others: int) -> bool:
    """Return True if a change was made before another, by their numbers.

    >>> is_before(3, 4), is_before(4, 3), is_before((1 << 31) - 1, 0)
    (True, False, True)
    """
    return 0 < (others - changes) % _CHANGES < _CHANGES // 2


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")}


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def seal_rows(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Append checksums to rows, so that flipped bits are detected."""
    return [(*row, zlib.crc32(repr(row).encode("utf-8", "surrogatepass"))) for row in map(tuple, rows)]


def _integrity(connection: sqlite3.Connection) -> list[str]:
    # one thing is enough: a damaged page makes a hundred
    found = [str(text) for (text,) in connection.execute("pragma integrity_check(1)")]
    return [] if found == ["ok"] else found


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of one length, many per statement; `into` is the statement up to its values."""
    if not rows:
        return
    row = f"({marks(rows[0])})"
    for some in parts_of(rows, max(_PARAMETERS // len(rows[0]), 1)):
        connection.execute(f"{into} values {', '.join([row] * len(some))}", [v for r in some for v in r])


def parts_of(values: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the values in their order, so many at a time."""
    for start in range(0, len(values), most):
        yield values[start : start + most]


def marks(values: Iterable[object]) -> str:
    """Return placeholders for a list of values in SQL."""
    return ", ".join("?" for _ in values)
