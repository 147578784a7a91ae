"""What durable sinks have in common: deliveries become rows, and rows are written in one transaction."""

from __future__ import annotations

import datetime as dt
import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from flowdsl.errors import SinkError
from flowdsl.operators.base import Option, text_schema
from flowdsl.sinks.base import PROVISIONAL, Delivery, DurableSink, Failure, Outcome, storable
from flowdsl.sinks.database import Database, insert, marks, sealed

Row = TypeVar("Row")
PATH: Final = Option(
    "path",
    "the SQLite file; by default one named like the sink",
    text_schema("notifications.sqlite"),
    portable=False,
)


_OURS: Final = re.compile("[0-9a-f]{32}")
# made once: `json.dumps` makes one at each call, which takes as long as the encoding
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


KEYS: Final = "create table if not exists keys (key blob primary key, until integer, undo text, crc integer not null) without rowid"
CHECKED: Final = {"keys": "key, until, undo"}
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
# keys that are looked for in one statement
_AT_ONCE: Final = 900


class _Known(NamedTuple):
    """A key that a sink has: up to when what it stands for was known, where it is provisional, and what takes that back."""

    until: int | None
    undo: str | None


class KeptSink(DurableSink, Generic[Row]):
    """A durable sink over a database: subclasses make a row of a delivery, and write rows.

    What has a key that the sink has is there already, whichever way it comes, and nothing is done (rule 31). The key
    stays when what it stood for is deleted. What a window let go of only because a log ended gives way to what comes
    of the window when more of the log is there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> None:
        """Make or open the file."""
        self._database.open()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def verify(self) -> Sequence[str]:
        """Read the whole file; what is wrong with it, as sentences, and nothing where all is well."""
        return self._database.damage()

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Keep deliveries, all in one transaction, but for those whose key is there."""
        kept, outcomes = self._rows(deliveries)
        if kept:
            self._database.write(lambda connection: self._keep(connection, kept))
            self._told()
        return outcomes

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Sequence[Outcome]:
        """Keep a numbered batch once, however often it is handed over."""
        # what cannot be kept depends on the deliveries alone: a batch that is handed over again has the same answer
        kept, outcomes = self._rows(deliveries)

        def change(connection: sqlite3.Connection, new: bool) -> None:
            # the number tells of what has no key; keys are asked always, for numbers are those of one run
            self._keep(connection, kept if new else [(d, row) for d, row in kept if d.key])

        self._database.apply(consumer, batch, change)
        self._told()
        return outcomes

    def applied(self, consumer: str) -> int:
        """The number of the last batch of a consumer; 0 before any."""
        return self._database.applied(consumer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database!r})"

    def _rows(self, deliveries: Sequence[Delivery]) -> tuple[list[tuple[Delivery, Row]], list[Outcome]]:
        kept: list[tuple[Delivery, Row]] = []
        outcomes: list[Outcome] = []
        for delivery in deliveries:
            row = self._row(delivery)
            if isinstance(row, Failure):
                outcomes.append(row)
            else:
                kept.append((delivery, row))
                outcomes.append(None)
        return kept, outcomes

    def _keep(self, connection: sqlite3.Connection, kept: Sequence[tuple[Delivery, Row]]) -> None:
        keys = [stored_key(delivery.key) for delivery, _ in kept]
        known = self._known(connection, [key for key in keys if key])
        # by key, the last one of this batch that counts
        fresh: dict[Any, tuple[Row, int | None]] = {}
        back: dict[Any, str] = {}
        for place, (key, (delivery, row)) in enumerate(zip(keys, kept, strict=True)):
            if not key:
                fresh[place] = (row, None)
                continue
            until = None
            if delivery.key.endswith(PROVISIONAL):
                until = (delivery.event_time - _EPOCH) // _MICROSECOND
            had = known.get(key)
            if had is not None:
                if had.until is None or (until is not None and until <= had.until):
                    continue
                if had.undo is not None:
                    back[key] = had.undo
                fresh.pop(key, None)
            known[key] = _Known(until, None)
            fresh[key] = (row, until)
        for key, undo in back.items():
            self._take_back(connection, key, json.loads(undo))
        undos = self._write(connection, [row for row, _ in fresh.values()])
        told = [
            (key, until, None if until is None else json_text(undo))
            for (key, (_, until)), undo in zip(fresh.items(), undos, strict=True)
            if not isinstance(key, int)
        ]
        # in their order: neighbours in the file are then written one after the other
        told.sort(key=lambda row: (isinstance(row[0], str), row[0]))
        insert(connection, "insert or replace into keys", sealed(told))

    def _known(self, connection: sqlite3.Connection, keys: Sequence[bytes | str]) -> dict[Any, _Known]:
        """What is known of those keys that are there."""
        found: dict[Any, _Known] = {}
        last = connection.execute("select max(key) from keys").fetchone()[0]
        if isinstance(last, bytes):
            # keys of a log begin with a time: most of what comes is behind all that is there
            keys = [key for key in keys if isinstance(key, str) or key <= last]
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            rows = self._database.rows_in(connection, "keys", f"where key in ({marks(some)})", some)
            found.update((key, _Known(until, undo)) for key, until, undo in rows)
        return found

    def _row(self, delivery: Delivery) -> Row | Failure:
        """A delivery as a row, or why it cannot be kept."""
        raise NotImplementedError

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[Any]:
        """Write rows, in order; of each what `_take_back` needs to take it back, as a JSON value."""
        raise NotImplementedError

    def _take_back(self, connection: sqlite3.Connection, key: bytes | str, undo: Any) -> None:
        """Undo what was written for a key."""
        raise NotImplementedError

    def _told(self) -> None:
        """There may be something new."""


def stored_key(key: str) -> bytes | str:
    """A key as it is kept, that of a provisional delivery being that of the final one; one made elsewhere stays text.

    >>> stored_key("00" * 15 + "ff-end") == stored_key("00" * 15 + "ff") == bytes(15) + b"\\xff", stored_key("mine")
    (True, 'mine')
    """
    key = key.removesuffix(PROVISIONAL)
    return bytes.fromhex(key) if _OURS.fullmatch(key) else storable(key)


def told_key(stored: bytes | str) -> str:
    """A kept key as text."""
    return stored.hex() if isinstance(stored, bytes) else stored


def changed_by_id(database: Database, sql: str, recipient: str, ids: Sequence[str]) -> int:
    """Change those rows of a recipient that have these ids; `sql` goes up to its `where`. How many there were."""
    stored = [stored_key(name) for name in ([ids] if isinstance(ids, str) else ids)]

    def change(connection: sqlite3.Connection) -> int:
        changed = 0
        for start in range(0, len(stored), _AT_ONCE):
            some = stored[start : start + _AT_ONCE]
            done = connection.execute(f"{sql} recipient = ? and id in ({marks(some)})", (recipient, *some))
            changed += done.rowcount
        return changed

    return database.write(change)


def no_recipient(sink: str) -> Failure:
    """The failure of a delivery that is for nobody."""
    return Failure(
        f"{sink} needs a recipient, and there is none: give the payload a recipient_id", permanent=True
    )


def json_text(value: Any) -> str:
    """A JSON value as compact text."""
    return _COMPACT.encode(value)


def check_page(limit: object, offset: object = 0) -> None:
    """Refuse a limit or offset that is no whole number from 0 up."""
    for name, number in (("limit", limit), ("offset", offset)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise SinkError(f"{name} is {number!r}", allowed="a whole number from 0 up")
