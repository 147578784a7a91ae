"""Base of durable sinks: deliveries become rows, written in one transaction."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from flowdsl.arguments import texts_of, whole_number
from flowdsl.errors import SinkError
from flowdsl.moments import to_micros
from flowdsl.operators.options import Option, text_schema
from flowdsl.sinks.base import (
    PROVISIONAL,
    Delivery,
    DurableSink,
    Failure,
    Outcome,
    check_deliveries,
    json_text,
    storable,
)
from flowdsl.sinks.database import Database, insert, marks, parts_of, seal_rows

Row = TypeVar("Row")
PATH: Final = Option(
    "path",
    "the SQLite file; by default one named like the sink",
    text_schema("notifications.sqlite"),
    portable=False,
)
_OURS: Final = re.compile("[0-9a-f]{32}")

KEYS: Final = (
    """create table if not exists keys (
        key blob primary key, until integer, undo text, crc integer not null
    ) without rowid""",
    """create table if not exists stretches (
        low blob primary key, high blob not null, keys blob not null, crc integer not null
    ) without rowid""",
)
"""The keys that a sink has, each in a row; many of a batch that come behind all others are one row, a stretch
of keys.
"""
CHECKED: Final = {"keys": "key, until, undo", "stretches": "low, high, keys"}
# keys that are looked for in one statement
_AT_ONCE: Final = 900
# from how many keys on they are a row together
_TOGETHER: Final = 8
_SIZE: Final = 16

StoredKey = bytes | str


class _Known(NamedTuple):
    """Key that a sink has; for a provisional one, up to when its window was known, and what undoes it."""

    until: int | None
    undo: str | None


_FOR_GOOD: Final = _Known(None, None)


class KeptSink(DurableSink, Generic[Row]):
    """Durable sink over a SQLite database. Subclasses turn deliveries into rows and write them.

    A delivery whose key the sink has is skipped, however it arrives (rule 31); keys stay when their rows are
    deleted. A provisional delivery is replaced by what its window delivers once the log has gone on.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> None:
        """Open the file, and create it if it does not exist.

        Raises
        ------
        SinkError
            If the file cannot be opened.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> Feed().open()
        """
        self._database.open()

    def close(self) -> None:
        """Close the file.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> Feed().close()
        """
        self._database.close()

    def verify(self) -> Sequence[str]:
        """Read the whole file and check it.

        Returns
        -------
        sequence of str
            What is damaged, one sentence each; empty if nothing is.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> Feed().verify()
        []
        """
        return self._database.damage()

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Store deliveries whose key is new, in one transaction.

        Parameters
        ----------
        deliveries
            The deliveries, in order.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None, or why it failed.

        Examples
        --------
        >>> from flowdsl.sinks import Delivery, Feed
        >>> Feed().deliver([Delivery("hello", "ann")])
        [None]
        """
        kept, outcomes = self._rows(deliveries)
        if kept:
            self._database.write(lambda connection: self._keep(connection, kept))
            self._on_change()
        return outcomes

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Sequence[Outcome]:
        """Store a numbered batch once, however often it is applied.

        Parameters
        ----------
        deliveries
            The deliveries of the batch.
        consumer
            Whose batches are counted.
        batch
            The number of the batch.

        Returns
        -------
        sequence of Failure or None
            As of `deliver`.

        Examples
        --------
        >>> from flowdsl.sinks import Delivery, Feed
        >>> Feed().apply([Delivery("hello", "ann")], "mailer", 1)
        [None]
        """
        # what cannot be kept depends on the deliveries alone: a batch that is handed over again has the same
        # answer
        kept, outcomes = self._rows(deliveries)

        def change(connection: sqlite3.Connection, new: bool) -> None:
            # the batch number covers deliveries without a key; keys are always checked, as numbers are those
            # of one run
            self._keep(connection, kept if new else [one for one in kept if one[0]])

        self._database.apply(consumer, batch, change)
        self._on_change()
        return outcomes

    def applied(self, consumer: str) -> int:
        """Return the number of a consumer's last batch.

        Parameters
        ----------
        consumer
            The name of the consumer.

        Returns
        -------
        int
            The number, or 0 before the first batch.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> Feed().applied("mailer")
        0
        """
        return self._database.applied(consumer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database!r})"

    def _rows(
        self, deliveries: Sequence[Delivery]
    ) -> tuple[list[tuple[StoredKey, int | None, Row]], list[Outcome]]:
        """Return what can be stored: key, end of knowledge of provisional ones, and row."""
        kept: list[tuple[StoredKey, int | None, Row]] = []
        outcomes: list[Outcome] = []
        for delivery in check_deliveries(deliveries):
            key = stored_key(delivery.key)
            try:
                row = self._row(delivery, key)
            except SinkError as error:
                row = Failure(str(error), permanent=True)
            if isinstance(row, Failure):
                outcomes.append(row)
                continue
            outcomes.append(None)
            provisional = delivery.key.endswith(PROVISIONAL)
            until = to_micros(delivery.event_time) if provisional else None
            kept.append((key, until, row))
        return kept, outcomes

    def _keep(
        self, connection: sqlite3.Connection, kept: Sequence[tuple[StoredKey, int | None, Row]]
    ) -> None:
        asked = [key for key, _, _ in kept if key]
        last = self._last_before(connection, asked)
        known = self._read_stored(connection, [key for key in asked if isinstance(key, str) or key <= last])
        fresh, back = _changes(kept, known)
        for key, undo in back.items():
            self._take_back(connection, key, json.loads(undo))
        undos = self._write(connection, [row for row, _ in fresh.values()])
        together: list[bytes] = []
        keys: list[tuple[StoredKey, int | None, str | None]] = []
        for (key, (_, until)), undo in zip(fresh.items(), undos, strict=True):
            if isinstance(key, bytes) and until is None and key > last:
                together.append(key)
            elif not isinstance(key, int):
                keys.append((key, until, None if until is None else json_text(undo)))
        self._remember(connection, together, keys)

    def _remember(
        self,
        connection: sqlite3.Connection,
        together: list[bytes],
        keys: list[tuple[StoredKey, int | None, str | None]],
    ) -> None:
        """Write keys: adjacent ones together, others one by one."""
        together.sort()
        if len(together) < _TOGETHER:
            keys += [(key, None, None) for key in together]
        else:
            stretch = (together[0], together[-1], b"".join(together))
            insert(connection, "insert into stretches", seal_rows([stretch]))
        # in their order: neighbours in the file are then written one after the other
        keys.sort(key=lambda row: (isinstance(row[0], str), row[0]))
        insert(connection, "insert or replace into keys", seal_rows(keys))

    def _last_before(self, connection: sqlite3.Connection, asked: Sequence[StoredKey]) -> bytes:
        """Return the greatest stored key up to the last of these; keys beyond it are new."""
        highest = max((key for key in asked if isinstance(key, bytes)), default=b"")
        found = b""
        for sql in (
            "select key from keys where key <= ? order by key desc limit 1",
            "select high from stretches where low <= ? order by low desc limit 1",
        ):
            for (key,) in connection.execute(sql, (highest,)) if highest else ():
                found = max(found, key) if isinstance(key, bytes) else found
        return found

    def _read_stored(self, connection: sqlite3.Connection, keys: Sequence[StoredKey]) -> dict[Any, _Known]:
        """Return what is stored of these keys."""
        found: dict[Any, _Known] = {}
        for some in parts_of(keys, _AT_ONCE):
            rows = self._database.rows_in(connection, "keys", f"where key in ({marks(some)})", some)
            found.update((key, _Known(until, undo)) for key, until, undo in rows)
            left = [key for key in some if isinstance(key, bytes) and key not in found]
            if left:
                # stretches have nothing in common: only the last one that begins before a key can hold it
                lows = (
                    "select (select max(low) from stretches where low <= column1) from (values "
                    f"{', '.join(['(?)'] * len(left))})"
                )
                rows = self._database.rows_in(connection, "stretches", f"where low in ({lows})", left)
                there = {keys[at : at + _SIZE] for _, _, keys in rows for at in range(0, len(keys), _SIZE)}
                found.update((key, _FOR_GOOD) for key in left if key in there)
        return found

    def _row(self, delivery: Delivery, key: StoredKey) -> Row | Failure:
        """Return a delivery as a row, or why it cannot be kept; `key` is its key as it is kept."""
        raise NotImplementedError

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[Any]:
        """Write rows, in order; of each what `_take_back` needs to take it back, as a JSON value."""
        raise NotImplementedError

    def _take_back(self, connection: sqlite3.Connection, key: StoredKey, undo: Any) -> None:
        """Undo what was written for a key."""
        raise NotImplementedError

    def _on_change(self) -> None:
        """There may be something new."""


def stored_key(key: str) -> StoredKey:
    """Return a key as it is kept, that of a provisional delivery being that of the final one; one made
    elsewhere
    stays text.

    >>> (
    ...     stored_key("00" * 15 + "ff-end") == stored_key("00" * 15 + "ff") == bytes(15) + b"\\xff",
    ...     stored_key("mine"),
    ... )
    (True, 'mine')
    """
    key = key.removesuffix(PROVISIONAL)
    return bytes.fromhex(key) if _OURS.fullmatch(key) else storable(key)


def _changes(
    kept: Iterable[tuple[StoredKey, int | None, Row]], known: dict[StoredKey, _Known]
) -> tuple[dict[Any, tuple[Row, int | None]], dict[Any, str]]:
    """Return by key the last row of a batch that counts, and how to take back those it replaces.

    What has no key has its place in the batch instead. `known` gets what the batch adds.
    """
    fresh: dict[Any, tuple[Row, int | None]] = {}
    back: dict[Any, str] = {}
    for place, (key, until, row) in enumerate(kept):
        if not key:
            fresh[place] = (row, None)
            continue
        had = known.get(key)
        if had is not None:
            if had.until is None or (until is not None and until <= had.until):
                continue
            if had.undo is not None:
                back[key] = had.undo
            fresh.pop(key, None)
        known[key] = _FOR_GOOD if until is None else _Known(until, None)
        fresh[key] = (row, until)
    return fresh, back


def key_text(stored: StoredKey) -> str:
    """Return a kept key as text."""
    return stored.hex() if isinstance(stored, bytes) else stored


def change_by_id(database: Database, sql: str, recipient: str, ids: Sequence[str]) -> int:
    """Change those rows of a recipient that have these ids; `sql` goes up to its `where`. How many there
    were.
    """
    stored = [stored_key(name) for name in texts_of(ids, "ids", error=SinkError)]

    def change(connection: sqlite3.Connection) -> int:
        changed = 0
        for some in parts_of(stored, _AT_ONCE):
            done = connection.execute(f"{sql} recipient = ? and id in ({marks(some)})", (recipient, *some))
            changed += done.rowcount
        return changed

    return database.write(change)


def no_recipient(sink: str) -> Failure:
    """Return the failure of a delivery without recipient."""
    return Failure(
        f"{sink} needs a recipient, and there is none: give the payload a recipient_id", permanent=True
    )


def check_page(*, limit: object, **places: object) -> None:
    """Refuse a limit, offset or cursor that is not a whole number; a page has at least one row."""
    whole_number(limit, "limit", 1, error=SinkError)
    for name, place in places.items():
        whole_number(place, name, error=SinkError)


def page_of(
    database: Database, table: str, beside: str, recipient: str, before: int | None, limit: int
) -> tuple[list[Any], int | None]:
    """Return a recipient's newest rows before a number, and the number at which the next page begins.

    `number` is the first of the columns `beside`.
    """
    check_page(limit=limit, before=0 if before is None else before)
    end, given = ("", ()) if before is None else ("and number < ? ", (before,))
    # one more than asked for tells whether there is another page
    rest = f"where recipient = ? {end}order by number desc limit ?"
    rows = database.rows(table, rest, (recipient, *given, limit + 1), beside)
    return rows[:limit], rows[limit - 1][0] if len(rows) > limit else None
