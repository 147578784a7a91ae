"""Durable data of a consumer, stored next to its log: progress of each sink, dead letters, discarded state.

Of a log in a folder that is the folder `consumers/<name>` in it, with one SQLite file, the checkpoints and a
lock; of a log in memory it lasts as long as the log. Each file says of the others how far they were, so that
one of another time, from a backup, say, is not taken for what was left.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flowdsl.errors import FlowError, LiveError, warn
from flowdsl.live.backlog import WAITING, WAITING_COLUMNS, Backlog
from flowdsl.live.dead_letters import LETTERS, DeadLetter, letter_of_delivery
from flowdsl.live.given_up import GIVEN_UP, GivenUp
from flowdsl.log.base import EventLog
from flowdsl.log.errors import reading
from flowdsl.log.forks import watch
from flowdsl.log.fsync import check_own, make_folder
from flowdsl.log.locks import FileLock, note
from flowdsl.sinks.base import Failure, Sink
from flowdsl.sinks.database import Database, insert, is_before, marks, seal_rows
from flowdsl.text import short_repr

_SCHEMA: Final = (
    (
        "create table if not exists progress (sink text, run text, number integer not null, crc integer not "
        "null, primary key (sink, run)) without rowid"
    ),
    "create table if not exists facts (name text primary key, value, crc integer not null) without rowid",
    *LETTERS,
    *GIVEN_UP,
    *WAITING,
)
# a wrong number here would lose deliveries, or make them twice
_LETTER: Final = ", ".join((*DeadLetter._fields, "settled"))
_CHECKED: Final = {
    "progress": "sink, run, number",
    "facts": "name, value",
    "letters": _LETTER,
    "given_up": ", ".join(GivenUp._fields),
    "waiting": WAITING_COLUMNS,
}
_FILE: Final = "consumer.sqlite"
_BESIDE: Final = "consumers"
_LOCK: Final = "lock"
UNUSABLE: Final = "is the folder there, is it this user's, and is there room on the disk?"
# a process that is ending holds the lock for a moment longer
_GOING: Final = 0.5
_BRING_BACK: Final = "bring back its own file; a new consumer_name starts afresh"
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
            None if folder is None else folder / _FILE,
            "flowdsl consumer",
            _SCHEMA,
            _CHECKED,
            self._note_change,
        )
        # deliveries that wait on disk
        self.backlog = Backlog(None if folder is None else self._database)
        self._lock: FileLock | None = None
        # the number of the last change, and whether an earlier run knew a later one
        self._changes, self._is_older = -1, False
        self._held = threading.Lock()
        watch(self)

    @classmethod
    def of(cls, log: EventLog, name: str) -> ConsumerStore:
        """Return the consumer with this name; for a log in memory always the same object."""
        folder = getattr(log, "folder", None)
        try:
            # no name can lead elsewhere, be hidden or be too long for the file system
            safe = quote(name, safe="").replace(".", "%2E")
        except UnicodeEncodeError:
            raise LiveError(f"the consumer's name {short_repr(name)} holds half a surrogate pair") from None
        if folder is not None:
            if len(safe) > 200:
                raise LiveError(
                    f"the consumer's name {short_repr(name)} is too long", allowed="up to 200 letters"
                )
            return cls(name, Path(folder) / _BESIDE / safe)
        with _MEMORY_LOCK:
            return _IN_MEMORY.setdefault(log, {}).setdefault(name, cls(name, None))

    def acquire(self) -> None:
        """Become the only run of this consumer."""
        if not self._held.acquire(blocking=False):
            raise self._running_error("this process")
        if self.folder is None:
            return
        try:
            self._lock = FileLock(self.folder / _LOCK, self._running_error, _GOING)
            before, self._changes = self._lock.before, self._database.changes
            self._is_older = before is not None and is_before(self._changes, before.number)
        except BaseException:
            self.release()
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

    def _note_change(self, changes: int) -> None:
        """Note in the lock how far the file is, for readers that find it older or gone."""
        if self._changes >= 0 and is_before(changes, self._changes):
            raise LiveError(
                f"{_FILE} of the consumer {self.name!r} was removed or replaced while it was used",
                place=str(self.folder),
                hint=_BRING_BACK,
            )
        self._changes = changes
        # one that is in doubt stays so until a run begins anew
        if self._is_older or self.folder is None:
            return
        if self._lock is not None:
            self._lock.store(changes)
        else:
            note(self.folder / _LOCK, changes)

    def after_fork(self) -> None:
        """Leave open files to the parent process."""
        self._lock, self._held = None, threading.Lock()

    def _running_error(self, by: str) -> LiveError:
        return LiveError(
            f"the consumer {self.name!r} is running already, in {by}",
            allowed="one run of a consumer at a time",
            hint="stop the other one, or give this one another consumer_name",
        )

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
                insert(connection, "insert or replace into progress", seal_rows([(sink, run, number)]))
            _put(connection, letters)

        self._database.write(change)

    @property
    def has_run(self) -> bool:
        """Return True if this consumer has run before."""
        return self.fact("acknowledged") is not None

    def check_whose(self, identity: str | None) -> None:
        """Raise an error for the file of another consumer or log, and if the file was removed or replaced."""
        if self.folder is None:
            return
        whose = self.fact("consumer")
        if whose == self.name:
            self._check_log(identity)
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
        self.keep_facts(consumer=self.name)
        self._check_log(identity)

    def _check_log(self, identity: str | None) -> None:
        known = self.fact("log")
        if identity is None or known == identity:
            return
        if known is not None:
            raise LiveError(
                f"{_FILE} of the consumer {self.name!r} is that of a run over another log",
                place=str(self.folder),
                hint=_BRING_BACK,
            )
        self.keep_facts(log=identity)

    def doubt(self, log: EventLog) -> str | None:
        """Return why this file and the log cannot belong together, or None."""
        if self.folder is None:
            return None
        if self._is_older:
            return f"{_FILE} is older than the last run"
        known, there = self.fact("by_run"), log.position_by_run(self.name)
        if known is None:
            return (
                f"{_FILE} knows of no run, and the log says that one reached event {there}" if there else None
            )
        if there is None or there in (positions := json.loads(known)):
            return None
        return f"{_FILE} says that the last run reached event {max(positions)}, and the log says {there}"

    def reached(self) -> list[int]:
        """Return the positions that the last run stored in the log, or was about to."""
        return list(json.loads(self.fact("by_run") or "[]"))

    def acknowledge(self, log: EventLog, before: int, last: int) -> None:
        """Store the position of the run in the log, and in this file first: a position that somebody else set
        in the log, or the log of another time, differs from it.
        """
        by_run = log.position_by_run(self.name)
        self.keep_facts(
            acknowledged=json.dumps([before, last]),
            by_run=json.dumps([before if by_run is None else by_run, last]),
        )
        # it may have been moved to an event that is still to come
        if last <= log.last_seq_no():
            log.ack(self.name, last, by_run=True)

    def begin(self, run: str, earlier: Sequence[str] = ()) -> None:
        """Start a new run; forget the progress of other runs, except the `earlier` ones that it continues."""
        known = (run, *earlier)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(f"delete from progress where run not in ({marks(known)})", known)
            _put_facts(connection, {"runs": json.dumps(known)})

        self._is_older = False
        self._database.write(change)

    def knows(self, run: str) -> bool:
        """Return True if the progress of a run is still known."""
        runs = self.fact("runs")
        return runs is None or run in json.loads(runs)

    def vouch(self, number: int, stamp: str, sinks: Mapping[str, Sink]) -> None:
        """Note the checkpoint that comes next, before it is there, and how far the files of the sinks are."""
        before = [known for known in sorted(self.vouched_stamps().items()) if known[0] < number]
        known = dict([*before[-1:], (number, stamp)])
        self.keep_facts(checkpoints=json.dumps(known), sinks=json.dumps(files_of(sinks)))

    def forget_checkpoints(self) -> None:
        """Stop vouching for the present checkpoints, which come from another time."""
        self.keep_facts(checkpoints="{}")

    def vouched_stamps(self) -> dict[int, str]:
        """Return the stamps of the last two checkpoints, by number; the last one may not be there yet."""
        return {int(number): stamp for number, stamp in json.loads(self.fact("checkpoints") or "{}").items()}

    def check_sinks(self, sinks: Mapping[str, Sink]) -> None:
        """Warn of sinks whose file lacks what the last run handed over."""
        before, now, odd = json.loads(self.fact("sinks") or "{}"), files_of(sinks), False
        for name, (path, identity, changes) in now.items():
            known_path, known, known_changes = before.get(name, (None, None, 0))
            if known == identity and is_before(changes, known_changes):
                what = "is older than the last run"
            elif known != identity and known_path == path:
                what = "is not the file of the last run, but a new or another one"
            else:
                continue
            odd = True
            warn(
                f"the sink {name!r}: {path} {what}: what was delivered before may be missing; "
                "fd.replay(flows, log, graph, sinks=…, dispatch=True, open_windows='keep') hands it over"
            )
        if odd:
            # warn only once
            self.keep_facts(sinks=json.dumps(now))

    def fact(self, name: str) -> Any:
        """Return the value stored under a name, or None."""
        rows = self._database.rows("facts", "where name = ?", (name,))
        return rows[0][1] if rows else None

    def keep_facts(self, **facts: str) -> None:
        """Store values under names, together."""
        self._database.write(lambda c: _put_facts(c, facts))

    def bury_without_sink(self, sinks: Collection[str], now: int) -> None:
        """Turn what waits on disk for sinks that no longer exist into dead letters."""
        for sink in self.backlog.waiting().keys() - set(sinks):
            self._bury(sink, f"there is no sink {sink!r} any more", now)

    def bury_all(self, why: str, now: int) -> None:
        """Turn all that waits on disk into dead letters."""
        for sink in self.backlog.waiting():
            self._bury(sink, why, now)

    def _bury(self, sink: str, why: str, now: int) -> None:
        while parcels := self.backlog.after(sink, (0, -1), _BURIED):
            letters = [
                letter_of_delivery(d, Failure(why), now) for parcel in parcels for d in parcel.deliveries
            ]
            self.put(letters)
            self.backlog.remove(sink, parcels)

    def give_up(self, rows: Sequence[GivenUp]) -> None:
        """Store discarded state; what is stored already, from before a crash, is skipped."""
        self._database.write(
            lambda c: insert(
                c, f"insert or ignore into given_up ({_CHECKED['given_up']}, crc)", seal_rows(rows)
            )
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

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Add dead letters; those that exist or were settled are skipped."""
        if letters:
            self._database.write(lambda c: _put(c, letters))

    def letters(self) -> list[DeadLetter]:
        """Return the unsettled dead letters in log order."""
        rows = self._database.rows("letters", "where settled = 0 order by seq_no, rowid")
        return [DeadLetter(*row[:-1]) for row in rows]

    def owed_keys(self, sink: str) -> set[str]:
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
                    ((*_, crc),) = seal_rows([(*letter, settled)])
                    connection.execute(
                        "update letters set attempts = ?, error = ?, settled = ?, crc = ? where key = ?",
                        (letter.attempts, letter.error, settled, crc, key),
                    )

        if keys:
            self._database.write(change)


def files_of(sinks: Mapping[str, Sink]) -> dict[str, tuple[str, str, int]]:
    """Return path, identity and number of changes of the files that sinks keep."""
    found = {}
    for name, sink in sinks.items():
        database = sink.database
        if database is None or database.path is None:
            continue
        # errors of the sink itself are reported by its worker
        with contextlib.suppress(FlowError):
            found[name] = (os.path.abspath(database.path), database.identity, database.changes)
    return found


def _put_facts(connection: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    insert(connection, "insert or replace into facts", seal_rows(facts.items()))


def _put(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    rows = seal_rows((*letter, 0) for letter in letters)
    insert(connection, f"insert or ignore into letters ({_LETTER}, crc)", rows)


def _make(folder: Path) -> None:
    """Create a folder for its owner only, and that of the log if a run comes before the first event."""
    with reading(str(folder), UNUSABLE, "what the consumer keeps cannot be used"):
        make_folder(folder.parent.parent)
        for path in (folder.parent, folder):
            make_folder(path, inside=True)


_MEMORY_LOCK = threading.Lock()
_IN_MEMORY: weakref.WeakKeyDictionary[EventLog, dict[str, ConsumerStore]] = weakref.WeakKeyDictionary()
