"""Durable data of a consumer, stored beside its log: progress of each sink, dead letters, discarded state.

Of a log in a folder that is the folder `consumers/<name>` in it, with one SQLite file, the checkpoints and a
lock; of a log in memory it lasts as long as the log.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flowdsl.errors import LiveError
from flowdsl.live.backlog import Backlog
from flowdsl.live.dead_letters import LETTERS, DeadLetter, letter_of_delivery
from flowdsl.live.given_up import GIVEN_UP, GivenUp
from flowdsl.log.base import EventLog
from flowdsl.log.errors import reading
from flowdsl.log.forks import watch
from flowdsl.log.fsync import check_own, make_folder
from flowdsl.log.locks import FileLock
from flowdsl.sinks.base import Failure
from flowdsl.sinks.database import Database, insert, marks, sealed
from flowdsl.text import short_repr

_SCHEMA: Final = (
    (
        "create table if not exists progress (sink text, run text, number integer not null, crc integer not "
        "null, primary key (sink, run)) without rowid"
    ),
    "create table if not exists facts (name text primary key, value, crc integer not null) without rowid",
    *LETTERS,
    *GIVEN_UP,
)
# a wrong number here would lose deliveries, or make them twice
_LETTER: Final = ", ".join((*DeadLetter._fields, "settled"))
_CHECKED: Final = {
    "progress": "sink, run, number",
    "facts": "name, value",
    "letters": _LETTER,
    "given_up": ", ".join(GivenUp._fields),
}
_FILE: Final = "consumer.sqlite"
_BESIDE: Final = "consumers"
UNUSABLE: Final = "is the folder there, is it this user's, and is there room on the disk?"
# a process that is just going holds the lock for a moment longer
_GOING: Final = 0.5
_BRING_BACK: Final = "bring back its own file; a consumer_name that is new begins anew beside it"
# deliveries that become dead letters at once
_BURIED: Final = 1 << 12


class ConsumerStore:
    """Durable side of one consumer of one log; `folder` is None if the log is in memory."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name = name
        self.folder = folder
        self.kept: Any = None
        if folder is not None:
            _make(folder)
            for file in (_FILE, f"{_FILE}-journal"):
                check_own(folder / file)
        self._database = Database(
            None if folder is None else folder / _FILE, "flowdsl consumer", _SCHEMA, _CHECKED
        )
        self._backlog: Backlog | None = None
        self._lock: FileLock | None = None
        self._held = threading.Lock()
        watch(self)

    @classmethod
    def of(cls, log: EventLog, name: str) -> ConsumerStore:
        """Return the consumer with this name; for a log in memory always the same object."""
        folder = getattr(log, "folder", None)
        if folder is not None:
            # no name can lead elsewhere, be hidden or be too long for the file system
            safe = quote(name, safe="").replace(".", "%2E")
            if len(safe) > 200:
                raise LiveError(
                    f"the consumer's name {short_repr(name)} is too long", allowed="up to 200 letters"
                )
            return cls(name, Path(folder) / _BESIDE / safe)
        with _MEMORY_LOCK:
            return _IN_MEMORY.setdefault(log, {}).setdefault(name, cls(name, None))

    @property
    def backlog(self) -> Backlog:
        """Deliveries that wait on disk."""
        if self._backlog is None:
            self._backlog = Backlog(self.folder)
        return self._backlog

    # -- one at a time ---------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Become the only run of this consumer."""
        if not self._held.acquire(blocking=False):
            raise self._taken("this process")
        if self.folder is None:
            return
        try:
            self._lock = FileLock(self.folder / "lock", self._taken, _GOING)
        except BaseException:
            self._held.release()
            raise

    def release(self) -> None:
        """Let another run of this consumer start."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._held.locked():
            self._held.release()

    def close(self) -> None:
        """Close the file."""
        if self.folder is not None:
            self._database.close()
            self.backlog.close()

    def after_fork(self) -> None:
        """Leave open files to the parent process."""
        self._lock, self._held = None, threading.Lock()

    def _taken(self, by: str) -> LiveError:
        return LiveError(
            f"the consumer {self.name!r} is running already, in {by}",
            allowed="one run of a consumer at a time",
            hint="stop the other one, or give this one another consumer_name",
        )

    # -- how far it is ---------------------------------------------------------------------------------

    def progress(self, run: str) -> dict[str, int]:
        """Return the last batch of each sink that does not store it itself."""
        rows = self._database.rows("progress", "where run = ?", (run,))
        return {sink: number for sink, _, number in rows}

    def done(
        self, sink: str, run: str, number: int, letters: Sequence[DeadLetter], *, remember: bool
    ) -> None:
        """Note that a sink has the batches up to a number; failed deliveries become dead letters."""

        def change(connection: sqlite3.Connection) -> None:
            if remember:
                insert(connection, "insert or replace into progress", sealed([(sink, run, number)]))
            _put(connection, letters)

        self._database.write(change)

    @property
    def has_run(self) -> bool:
        """Return True if this consumer has run before."""
        return self.fact("acknowledged") is not None

    def check_whose(self) -> None:
        """Reject the file of another consumer, and one that was removed or replaced by a new one."""
        if self.folder is None:
            return
        whose = self.fact("consumer")
        if whose == self.name:
            return
        if whose is not None:
            raise LiveError(
                f"{_FILE} of the consumer {self.name!r} is that of {whose!r}",
                place=str(self.folder / _FILE),
                hint=_BRING_BACK,
            )
        # it says whose it is before there is any checkpoint
        if any(self.folder.glob("checkpoint-*")):
            raise LiveError(
                f"{_FILE} of the consumer {self.name!r} is missing, with its dead letters",
                place=str(self.folder / _FILE),
                hint=_BRING_BACK,
            )
        self.keep_fact("consumer", self.name)

    def begin(self, run: str, earlier: Sequence[str] = ()) -> None:
        """Start a new run; forget the progress of other runs, except the `earlier` ones that it continues."""
        known = (run, *earlier)
        self._database.write(
            lambda c: c.execute(f"delete from progress where run not in ({marks(known)})", known)
        )

    def fact(self, name: str) -> Any:
        """Return the value stored under a name, or None."""
        rows = self._database.rows("facts", "where name = ?", (name,))
        return rows[0][1] if rows else None

    def keep_fact(self, name: str, value: Any) -> None:
        """Store a value under a name."""
        self._database.write(lambda c: insert(c, "insert or replace into facts", sealed([(name, value)])))

    def bury_without_sink(self, sinks: Collection[str], now: int) -> None:
        """Turn what waits on disk for sinks that no longer exist into dead letters."""
        for sink in self.backlog.waiting().keys() - set(sinks):
            gone = Failure(f"there is no sink {sink!r} any more")
            while parcels := self.backlog.after(sink, (0, -1), _BURIED):
                self.put([letter_of_delivery(d, gone, now) for parcel in parcels for d in parcel.deliveries])
                self.backlog.remove(sink, parcels)

    # -- what was given up -----------------------------------------------------------------------------

    def give_up(self, rows: Sequence[GivenUp]) -> None:
        """Store discarded state; what is stored already, from before a crash, is skipped."""
        self._database.write(
            lambda c: insert(c, f"insert or ignore into given_up ({_CHECKED['given_up']}, crc)", sealed(rows))
        )

    def given_up(self) -> list[GivenUp]:
        """Return all discarded state."""
        return [GivenUp(*row) for row in self._database.rows("given_up", "order by rowid")]

    def forget_given_up(self) -> int:
        """Remove all discarded state; return the number of rows."""
        count = int(self._database.read("select count(*) from given_up")[0][0])
        if count:
            self._database.write(lambda c: c.execute("delete from given_up"))
        return count

    # -- dead letters ----------------------------------------------------------------------------------

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Add dead letters; those that exist or were settled are skipped."""
        if letters:
            self._database.write(lambda c: _put(c, letters))

    def letters(self) -> list[DeadLetter]:
        """Return the unsettled dead letters in log order."""
        rows = self._database.rows("letters", "where settled = 0 order by seq_no, rowid")
        return [DeadLetter(*row[:-1]) for row in rows]

    def owed(self, sink: str) -> set[str]:
        """Return the keys of the unsettled dead letters of a sink."""
        return {row[0] for row in self._database.rows("letters", "where settled = 0 and sink = ?", (sink,))}

    def count_letters(self) -> int:
        """Return the number of unsettled dead letters."""
        return int(self._database.read("select count(*) from letters where settled = 0")[0][0])

    def settle(self, keys: Sequence[str], last: int) -> None:
        """Settle these letters, with the log ending at `last`.

        They are kept hidden, since a recovery from before that may tell of them again.
        """
        self._change_letters(keys, lambda letter, _: (letter, last + 1))

    def forget_settled(self, seq_no: int) -> None:
        """Remove letters settled before the log had this event; no recovery from here on can repeat them."""
        settled = "from letters where settled between 1 and ?"
        if self._database.read(f"select 1 {settled} limit 1", (seq_no,)):
            self._database.write(lambda c: c.execute(f"delete {settled}", (seq_no,)))

    def tried_again(self, failed: Sequence[tuple[str, str]]) -> None:
        """Note that these letters (key, error) were retried and failed again."""
        errors = dict(failed)
        self._change_letters(
            list(errors),
            lambda letter, settled: (
                letter._replace(attempts=letter.attempts + 1, error=errors[letter.key]),
                settled,
            ),
        )

    def _change_letters(
        self, keys: Sequence[str], changed: Callable[[DeadLetter, int], tuple[DeadLetter, int]]
    ) -> None:
        """Replace the letters with these keys by what `changed` makes of them."""

        def change(connection: sqlite3.Connection) -> None:
            for key in keys:
                for row in self._database.rows_in(connection, "letters", "where key = ?", (key,)):
                    letter, settled = changed(DeadLetter(*row[:-1]), row[-1])
                    ((*_, crc),) = sealed([(*letter, settled)])
                    connection.execute(
                        "update letters set attempts = ?, error = ?, settled = ?, crc = ? where key = ?",
                        (letter.attempts, letter.error, settled, crc, key),
                    )

        if keys:
            self._database.write(change)


def _put(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    rows = sealed((*letter, 0) for letter in letters)
    insert(connection, f"insert or ignore into letters ({_LETTER}, crc)", rows)


def _make(folder: Path) -> None:
    """Create a folder for its owner only, and that of the log if a run comes before the first event."""
    with reading(str(folder), UNUSABLE, "what the consumer keeps cannot be used"):
        make_folder(folder.parent.parent)
        for path in (folder.parent, folder):
            make_folder(path, inside=True)


_MEMORY_LOCK = threading.Lock()
_IN_MEMORY: weakref.WeakKeyDictionary[EventLog, dict[str, ConsumerStore]] = weakref.WeakKeyDictionary()
