"""Preferences and devices of recipients."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.arguments import one_of, texts_of
from flowdsl.errors import SinkError
from flowdsl.sinks.database import Database, marks, parts_of, seal_rows
from flowdsl.text import short_repr
from flowdsl.values.masks import as_mask

if TYPE_CHECKING:
    from flowdsl.values.json_types import Mask

SCHEMA: Final = (
    "create table if not exists muted (recipient text primary key, crc integer not null) without rowid",
    """create table if not exists opted_out (
        recipient text, type text, crc integer not null, primary key (recipient, type)
    ) without rowid""",
    """create table if not exists devices (
        token text primary key, recipient text not null, crc integer not null
    ) without rowid""",
    "create index if not exists devices_of on devices (recipient)",
    """create table if not exists tickets (
        id text primary key, token text not null, sent_at real not null, crc integer not null
    ) without rowid""",
)
CHECKED: Final = {
    "muted": "recipient",
    "opted_out": "recipient, type",
    "devices": "token, recipient",
    "tickets": "id, token, sent_at",
}
# parameters in one statement; SQLite takes 32,766
_AT_ONCE: Final = 10_000


@dataclass(frozen=True)
class Preferences:
    """Preferences of one recipient.

    Attributes
    ----------
    recipient
        The id of the recipient.
    muted
        True if nothing is let through.
    opted_out
        The notification types that are not let through, sorted.

    Examples
    --------
    >>> Recipients().preferences("ann")
    Preferences(recipient='ann', muted=False, opted_out=())
    """

    recipient: str
    muted: bool
    opted_out: tuple[str, ...]


class Recipients:
    """Store preferences and devices of recipients in a SQLite file.

    Parameters
    ----------
    path
        The SQLite file; None keeps everything in memory.
    database
        The database of a sink that derives from this class.

    Examples
    --------
    >>> people = Recipients()
    >>> people.opt_out("ann", "like")
    >>> people.preferences("ann")
    Preferences(recipient='ann', muted=False, opted_out=('like',))
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, database: Database | None = None
    ) -> None:
        if database is None:
            database = Database(path, "recipients", SCHEMA, CHECKED)
        self._database = one_of(database, "database", Database, "a Database, or None", error=SinkError)

    def open(self) -> None:
        """Open the file, and create it if it does not exist.

        Raises
        ------
        SinkError
            If the file cannot be opened.

        Examples
        --------
        >>> Recipients().open()
        """
        self._database.open()

    def close(self) -> None:
        """Close the file.

        Examples
        --------
        >>> Recipients().close()
        """
        self._database.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database!r})"

    def mute(self, recipient: str) -> None:
        """Stop all deliveries to a recipient.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Examples
        --------
        >>> people = Recipients()
        >>> people.mute("ann")
        >>> people.preferences("ann").muted
        True
        """
        self._change("insert or ignore into muted values (?, ?)", recipient, sealing=True)

    def unmute(self, recipient: str) -> None:
        """Undo `mute`; types that the recipient opted out of stay out.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Examples
        --------
        >>> Recipients().unmute("ann")
        """
        self._change("delete from muted where recipient = ?", recipient)

    def opt_out(self, recipient: str, *types: str) -> None:
        """Stop deliveries of some types to a recipient.

        Parameters
        ----------
        recipient
            The id of the recipient.
        *types
            The notification types.

        Examples
        --------
        >>> Recipients().opt_out("ann", "like", "comment")
        """
        for kind in types:
            self._change("insert or ignore into opted_out values (?, ?, ?)", recipient, kind, sealing=True)

    def opt_in(self, recipient: str, *types: str) -> None:
        """Undo `opt_out` for some types.

        Parameters
        ----------
        recipient
            The id of the recipient.
        *types
            The notification types.

        Examples
        --------
        >>> Recipients().opt_in("ann", "like")
        """
        for kind in types:
            self._change("delete from opted_out where recipient = ? and type = ?", recipient, kind)

    def preferences(self, recipient: str) -> Preferences:
        """Return the preferences of a recipient.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        Preferences
            The preferences; the defaults if nothing was set.

        Examples
        --------
        >>> Recipients().preferences("ann").muted
        False
        """
        muted = self._database.rows("muted", "where recipient = ?", (recipient,))
        out = self._database.rows("opted_out", "where recipient = ? order by type", (recipient,))
        return Preferences(recipient, bool(muted), tuple(kind for _, kind in out))

    def accepts(self, recipients: pl.Series, types: pl.Series) -> Mask | None:
        """Return which deliveries the preferences of their recipients allow.

        Parameters
        ----------
        recipients
            The recipients, one per delivery.
        types
            The notification types, one per delivery.

        Returns
        -------
        mask or None
            True where a delivery is allowed; None if all are.

        Examples
        --------
        >>> import polars as pl
        >>> people = Recipients()
        >>> people.mute("ann")
        >>> people.accepts(pl.Series(["ann", "bob"]), pl.Series(["like", "like"])).tolist()
        [False, True]
        """
        if not self._database.is_there:
            # a replay that only asks leaves no file behind
            return None
        asked = list(dict.fromkeys(recipients.drop_nulls().to_list()))
        muted = [r for (r,) in self._among("muted", asked)]
        out = list(self._among("opted_out", asked))
        if not muted and not out:
            return None
        refused = as_mask(recipients.is_in(muted))
        if out:
            pairs = pl.DataFrame({"r": recipients, "t": types})
            unwanted = pl.DataFrame(out, schema={"r": pl.String, "t": pl.String}, orient="row")
            found = pairs.with_row_index("row").join(unwanted, on=["r", "t"], how="semi")["row"].to_numpy()
            refused = refused.copy()
            refused[found] = True
        accepted: Mask = ~refused
        return accepted

    def register_device(self, recipient: str, token: str) -> None:
        """Add a device of a recipient.

        Parameters
        ----------
        recipient
            The id of the recipient.
        token
            The push token of the device. It belongs to the recipient who registered it last.

        Examples
        --------
        >>> people = Recipients()
        >>> people.register_device("ann", "ExponentPushToken[a]")
        >>> people.devices("ann")
        ('ExponentPushToken[a]',)
        """
        self._change("insert or replace into devices values (?, ?, ?)", token, recipient, sealing=True)

    def unregister_device(self, token: str) -> None:
        """Remove a device.

        Parameters
        ----------
        token
            The push token of the device.

        Examples
        --------
        >>> Recipients().unregister_device("ExponentPushToken[a]")
        """
        self._change("delete from devices where token = ?", token)

    def devices(self, recipient: str) -> tuple[str, ...]:
        """Return the devices of a recipient.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        tuple of str
            The push tokens, sorted.

        Examples
        --------
        >>> Recipients().devices("ann")
        ()
        """
        return self.devices_of([recipient]).get(recipient, ())

    def devices_of(self, recipients: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the devices of many recipients.

        Parameters
        ----------
        recipients
            The ids of the recipients.

        Returns
        -------
        dict of str to tuple of str
            The push tokens by recipient; recipients without a device are left out.

        Examples
        --------
        >>> Recipients().devices_of(["ann"])
        {}
        """
        asked = texts_of(recipients, "recipients", error=SinkError)
        found: dict[str, list[str]] = {}
        for token, recipient in self._among("devices", list(dict.fromkeys(asked))):
            found.setdefault(recipient, []).append(token)
        return {recipient: tuple(sorted(tokens)) for recipient, tokens in found.items()}

    def keep_tickets(self, tickets: Mapping[str, str], sent_at: float) -> None:
        """Store the tickets of a push service.

        Parameters
        ----------
        tickets
            The push token by ticket.
        sent_at
            When the messages were sent, in seconds since 1970.

        Examples
        --------
        >>> people = Recipients()
        >>> people.keep_tickets({"ticket-1": "ExponentPushToken[a]"}, 0.0)
        >>> people.tickets(before=1.0, limit=10)
        {'ticket-1': 'ExponentPushToken[a]'}
        """
        rows = seal_rows((ticket, token, float(sent_at)) for ticket, token in tickets.items())
        sql = "insert or replace into tickets values (?, ?, ?, ?)"
        self._database.write(lambda connection: connection.executemany(sql, rows))

    def tickets(self, before: float, limit: int) -> dict[str, str]:
        """Return the oldest tickets.

        Parameters
        ----------
        before
            Only tickets sent before this moment, in seconds since 1970.
        limit
            The greatest number of tickets.

        Returns
        -------
        dict of str to str
            The push token by ticket.

        Examples
        --------
        >>> Recipients().tickets(before=0.0, limit=10)
        {}
        """
        rest = "where sent_at <= ? order by sent_at, id limit ?"
        return {ticket: token for ticket, token, _ in self._database.rows("tickets", rest, (before, limit))}

    def forget_tickets(self, tickets: Iterable[str]) -> None:
        """Remove tickets.

        Parameters
        ----------
        tickets
            The tickets.

        Examples
        --------
        >>> Recipients().forget_tickets(["ticket-1"])
        """
        rows = [(ticket,) for ticket in tickets]
        self._database.write(
            lambda connection: connection.executemany("delete from tickets where id = ?", rows)
        )

    def _among(self, table: str, recipients: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Return the rows of a table for these recipients."""
        place = CHECKED[table].split(", ").index("recipient")
        size = self._database.read(
            f"select count(*) from (select 1 from {table} limit ?)", (len(recipients),)
        )[0][0]
        if size < len(recipients):
            # there are fewer rows than questions: they are read as they are
            asked = set(recipients)
            yield from (row for row in self._database.rows(table) if row[place] in asked)
            return
        for some in parts_of(recipients, _AT_ONCE):
            yield from self._database.rows(table, f"where recipient in ({marks(some)})", some)

    def _change(self, sql: str, *values: str, sealing: bool = False) -> None:
        for value in values:
            if not isinstance(value, str) or not value:
                raise SinkError(
                    f"there is {short_repr(value)}",
                    allowed="recipients, types and tokens are text that is not empty",
                )

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(sql, seal_rows([values])[0] if sealing else values)

        self._database.write(change)
