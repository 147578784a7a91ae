"""What a consumer keeps beside the log that it reads: how far each sink is, and what could not be done.

Of a log in a folder that is the folder `consumers/<name>` in it, with one SQLite file, the checkpoints and a lock; of
a log in memory it lasts as long as the log.
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

_SCHEMA: Final = (
    "create table if not exists progress (sink text, run text, number integer not null, crc integer not null, primary key (sink, run)) without rowid",
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
# deliveries that become dead letters at once
_BURIED: Final = 1 << 12


class ConsumerStore:
    """The durable side of one consumer of one log; `folder` is None where the log is in memory."""

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
        """The consumer of this name; the same one again for a log in memory."""
        folder = getattr(log, "folder", None)
        if folder is not None:
            # no name can lead elsewhere, be hidden or be too long for the file system
            safe = quote(name, safe="").replace(".", "%2E")
            if len(safe) > 200:
                raise LiveError(f"the consumer's name {name!r:.60} is too long", allowed="up to 200 letters")
            return cls(name, Path(folder) / _BESIDE / safe)
        with _MEMORY_LOCK:
            return _IN_MEMORY.setdefault(log, {}).setdefault(name, cls(name, None))

    @property
    def backlog(self) -> Backlog:
        """What waits on disk for sinks."""
        if self._backlog is None:
            self._backlog = Backlog(self.folder)
        return self._backlog

    # -- one at a time ---------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Be the only run of this consumer."""
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
        """Let another run of this consumer begin."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._held.locked():
            self._held.release()

    def close(self) -> None:
        """Let go of the file."""
        if self.folder is not None:
            self._database.close()
            self.backlog.close()

    def after_fork(self) -> None:
        """Leave what the parent runs to the parent."""
        self._lock, self._held = None, threading.Lock()

    def _taken(self, by: str) -> LiveError:
        return LiveError(
            f"the consumer {self.name!r} is running already, in {by}",
            allowed="one run of a consumer at a time",
            hint="stop the other one, or give this one another consumer_name",
        )

    # -- how far it is ---------------------------------------------------------------------------------

    def progress(self, run: str) -> dict[str, int]:
        """The last batch that each sink has taken, for sinks that do not know it themselves."""
        rows = self._database.rows("progress", "where run = ?", (run,))
        return {sink: number for sink, _, number in rows}

    def done(
        self, sink: str, run: str, number: int, letters: Sequence[DeadLetter], *, remember: bool
    ) -> None:
        """A sink has taken the batches up to a number; what it could not deliver becomes dead letters."""

        def change(connection: sqlite3.Connection) -> None:
            if remember:
                insert(connection, "insert or replace into progress", sealed([(sink, run, number)]))
            _put(connection, letters)

        self._database.write(change)

    @property
    def has_run(self) -> bool:
        """Whether there was a run."""
        return self.fact("acknowledged") is not None

    def begin(self, run: str, earlier: Sequence[str] = ()) -> None:
        """A new run: what is known of sinks in others is of no use any more, but for those `earlier` ones that it goes on from."""
        known = (run, *earlier)
        self._database.write(
            lambda c: c.execute(f"delete from progress where run not in ({marks(known)})", known)
        )

    def fact(self, name: str) -> Any:
        """Something that was kept under a name; None where nothing was."""
        rows = self._database.rows("facts", "where name = ?", (name,))
        return rows[0][1] if rows else None

    def keep_fact(self, name: str, value: Any) -> None:
        """Keep something under a name."""
        self._database.write(lambda c: insert(c, "insert or replace into facts", sealed([(name, value)])))

    def bury_without_sink(self, sinks: Collection[str], now: int) -> None:
        """Make dead letters of what waits on disk for sinks that are there no more."""
        for sink in self.backlog.waiting().keys() - set(sinks):
            gone = Failure(f"there is no sink {sink!r} any more")
            while parcels := self.backlog.after(sink, (0, -1), _BURIED):
                self.put([letter_of_delivery(d, gone, now) for parcel in parcels for d in parcel.deliveries])
                self.backlog.remove(sink, parcels)

    # -- what was given up -----------------------------------------------------------------------------

    def give_up(self, rows: Sequence[GivenUp]) -> None:
        """Remember what was given up; what is known already, from before a crash, is not told twice."""
        self._database.write(
            lambda c: insert(c, f"insert or ignore into given_up ({_CHECKED['given_up']}, crc)", sealed(rows))
        )

    def given_up(self) -> list[GivenUp]:
        """All that was given up."""
        return [GivenUp(*row) for row in self._database.rows("given_up", "order by rowid")]

    def forget_given_up(self) -> int:
        """Forget what was given up; how many rows that were."""
        count = int(self._database.read("select count(*) from given_up")[0][0])
        if count:
            self._database.write(lambda c: c.execute("delete from given_up"))
        return count

    # -- dead letters ----------------------------------------------------------------------------------

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Add dead letters; one that is there already, or was settled, stays as it is."""
        if letters:
            self._database.write(lambda c: _put(c, letters))

    def letters(self) -> list[DeadLetter]:
        """The dead letters that are not settled, in the order of the log."""
        rows = self._database.rows("letters", "where settled = 0 order by seq_no, rowid")
        return [DeadLetter(*row[:-1]) for row in rows]

    def owed(self, sink: str) -> set[str]:
        """The keys of the dead letters of a sink that are not settled."""
        return {row[0] for row in self._database.rows("letters", "where settled = 0 and sink = ?", (sink,))}

    def count_letters(self) -> int:
        """How many dead letters are not settled."""
        return int(self._database.read("select count(*) from letters where settled = 0")[0][0])

    def settle(self, keys: Sequence[str], last: int) -> None:
        """These letters are no matter any more, the log ending at `last`.

        They are kept hidden, since a recovery from before that may tell of them again.
        """
        self._change_letters(keys, lambda letter, _: (letter, last + 1))

    def forget_settled(self, seq_no: int) -> None:
        """Drop what was settled before the log had this event: no recovery from here on can tell of it again."""
        settled = "from letters where settled between 1 and ?"
        if self._database.read(f"select 1 {settled} limit 1", (seq_no,)):
            self._database.write(lambda c: c.execute(f"delete {settled}", (seq_no,)))

    def tried_again(self, failed: Sequence[tuple[str, str]]) -> None:
        """These letters (key, error) were tried again and failed again."""
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
        """Put the letters of these keys, as `changed` makes them of what they are, in their place."""

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
    """A folder for its owner alone, and so is that of the log where a run comes before the first event."""
    with reading(str(folder), UNUSABLE, "what the consumer keeps cannot be used"):
        make_folder(folder.parent.parent)
        for path in (folder.parent, folder):
            make_folder(path, inside=True)


_MEMORY_LOCK = threading.Lock()
_IN_MEMORY: weakref.WeakKeyDictionary[EventLog, dict[str, ConsumerStore]] = weakref.WeakKeyDictionary()
