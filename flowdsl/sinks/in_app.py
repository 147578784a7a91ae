"""In-app sink: notifications that recipients read inside an application."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from flowdsl.arguments import seconds_of, whole_number
from flowdsl.errors import SinkError
from flowdsl.moments import to_micros, to_moment
from flowdsl.operators.options import Option, count_schema
from flowdsl.sinks.base import GENERIC, Delivery, Failure, json_text, storable
from flowdsl.sinks.database import Database, insert, marks, parts_of, seal_rows
from flowdsl.sinks.recipients import CHECKED as RECIPIENTS_CHECKED
from flowdsl.sinks.recipients import SCHEMA as RECIPIENTS
from flowdsl.sinks.recipients import Recipients
from flowdsl.sinks.sqlite_sink import (
    CHECKED,
    KEYS,
    PATH,
    KeptSink,
    StoredKey,
    change_by_id,
    check_page,
    key_text,
    no_recipient,
    page_of,
)

# how many notifications of a recipient are kept
KEEP: Final = 1_000
_SCHEMA: Final = (
    """create table if not exists notifications (
        number integer primary key autoincrement, id blob not null, recipient text not null,
        type text not null, title text not null, body text not null, payload text not null,
        created_at integer not null, read integer not null default 0, crc integer not null
    )""",
    # one that also answers what is unread: each more is a page more to write for every notification
    "create index if not exists notifications_of on notifications (recipient, number, read)",
    *KEYS,
    *RECIPIENTS,
)
_COLUMNS: Final = "id, recipient, type, title, body, payload, created_at"
_CHECKED: Final = {"notifications": _COLUMNS, **CHECKED, **RECIPIENTS_CHECKED}
_BESIDE: Final = "number, read"
# how often it is looked whether another process has written
_LOOK: Final = 0.2
_READ_AT_ONCE: Final = 500

Row = tuple[bytes | str, str, str, str, str, str, int]


class Notification(NamedTuple):
    """Stored notification.

    Attributes
    ----------
    id
        The key of the delivery.
    recipient, notification_type, title, body, data
        Whom it is for, and its parts.
    read
        True if it was marked as read.
    created_at
        When it was delivered, in UTC.
    payload
        The whole payload.

    Examples
    --------
    >>> in_app = InApp()
    >>> _ = in_app.deliver([Delivery({"title": "hello"}, "ann")])
    >>> in_app.list("ann")[0].title
    'hello'
    """

    id: str
    recipient: str
    notification_type: str
    title: str
    body: str
    data: Any
    read: bool
    created_at: dt.datetime
    payload: Any


@dataclass(frozen=True)
class NotificationPage:
    """Page of notifications, newest first.

    Attributes
    ----------
    items
        The notifications.
    next
        The cursor of the next page, or None on the last page.
    """

    items: tuple[Notification, ...]
    next: int | None


class InApp(Recipients, KeptSink[Row]):
    """Store notifications in a SQLite file, with preferences and devices of recipients.

    A payload's `notification_type` (default `generic`), `title` (default `Notification`), `body` (default
    empty) and `data` become fields of the notification; the whole payload is stored too. Threads and
    processes may share a file.

    Parameters
    ----------
    path
        The SQLite file; None keeps everything in memory.
    keep
        How many notifications are kept per recipient, the newest.

    Raises
    ------
    SinkError
        If an option is of the wrong type, or the file cannot be opened.

    Examples
    --------
    >>> in_app = InApp()
    >>> in_app.deliver([Delivery({"title": "hello"}, "ann")])
    [None]
    >>> in_app.list("ann")[0].title, in_app.unread("ann")
    ('hello', 1)
    """

    type: ClassVar[str] = "in_app"
    portable: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "notifications to list and to mark as read, by recipient, and what recipients want"
    )
    options: ClassVar[tuple[Option, ...]] = (
        PATH,
        Option(
            "keep",
            "how many notifications of a recipient are kept, the newest",
            count_schema(KEEP),
            portable=False,
        ),
    )

    def __init__(self, path: str | os.PathLike[str] | None = None, *, keep: int = KEEP) -> None:
        keep = whole_number(keep, "keep", 1, error=SinkError)
        KeptSink.__init__(self, Database(path, "in_app", _SCHEMA, _CHECKED))
        self._kept_at_most = keep
        self._news = threading.Condition()

    def list(self, recipient: str, limit: int = 50, offset: int = 0) -> Sequence[Notification]:
        """Return a recipient's notifications, newest first.

        Parameters
        ----------
        recipient
            The id of the recipient.
        limit
            The greatest number of notifications.
        offset
            How many of the newest to skip. `page` is better for paging: new notifications do not shift its
            pages.

        Returns
        -------
        sequence of Notification
            The notifications.

        Examples
        --------
        >>> InApp().list("ann")
        []
        """
        check_page(limit=limit, offset=offset)
        rest = "where recipient = ? order by number desc limit ? offset ?"
        rows = self._database.rows("notifications", rest, (recipient, limit, offset), _BESIDE)
        return [_notification(row) for row in rows]

    def page(self, recipient: str, before: int | None = None, *, limit: int = 20) -> NotificationPage:
        """Return a page of a recipient's notifications, newest first.

        Parameters
        ----------
        recipient
            The id of the recipient.
        before
            The `next` of the previous page; None for the first page.
        limit
            The greatest number of notifications, at least 1.

        Returns
        -------
        NotificationPage
            The notifications and the cursor of the next page.

        Raises
        ------
        SinkError
            If `limit` or `before` is not valid, or the file is damaged.

        Examples
        --------
        >>> in_app = InApp()
        >>> in_app.deliver([Delivery({"title": title}, "ann") for title in "abc"])
        [None, None, None]
        >>> page = in_app.page("ann", limit=2)
        >>> [n.title for n in page.items], [n.title for n in in_app.page("ann", page.next).items]
        (['c', 'b'], ['a'])
        """
        rows, following = page_of(self._database, "notifications", _BESIDE, recipient, before, limit)
        return NotificationPage(tuple(map(_notification, rows)), following)

    def total(self, recipient: str) -> int:
        """Return the number of a recipient's notifications.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        int
            The number of notifications.

        Examples
        --------
        >>> InApp().total("ann")
        0
        """
        return self._count("select count(*) from notifications where recipient = ?", recipient)

    def unread(self, recipient: str) -> int:
        """Return the number of a recipient's unread notifications.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        int
            The number of unread notifications.

        Examples
        --------
        >>> InApp().unread("ann")
        0
        """
        return self._count("select count(*) from notifications where recipient = ? and read = 0", recipient)

    def subscribe(
        self, recipient: str | None = None, *, timeout: float | None = None
    ) -> Iterator[Notification]:
        """Iterate over notifications as they are delivered, also by other processes.

        Parameters
        ----------
        recipient
            The id of a recipient; None for all.
        timeout
            Stop after so many seconds without a notification; None to go on until the iterator is closed.

        Returns
        -------
        iterator of Notification
            The notifications from now on.

        Examples
        --------
        >>> list(InApp().subscribe("ann", timeout=0.01))
        []
        """
        if timeout is not None:
            timeout = seconds_of(timeout, "timeout", error=SinkError)
        last = self._count("select coalesce(max(number), 0) from notifications")
        return self._coming(recipient, last, timeout)

    def mark_read(self, recipient: str, ids: Sequence[str]) -> int:
        """Mark notifications of a recipient as read.

        Parameters
        ----------
        recipient
            The id of the recipient.
        ids
            The ids of the notifications.

        Returns
        -------
        int
            How many of them were unread.

        Examples
        --------
        >>> InApp().mark_read("ann", ["no such notification"])
        0
        """
        sql = "update notifications set read = 1 where read = 0 and"
        return change_by_id(self._database, sql, recipient, ids)

    def mark_all_read(self, recipient: str) -> int:
        """Mark all notifications of a recipient as read.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        int
            How many of them were unread.

        Examples
        --------
        >>> InApp().mark_all_read("ann")
        0
        """
        sql = "update notifications set read = 1 where read = 0 and recipient = ?"
        return self._database.write(lambda connection: connection.execute(sql, (recipient,)).rowcount)

    def delete(self, recipient: str, ids: Sequence[str]) -> int:
        """Delete notifications of a recipient.

        Parameters
        ----------
        recipient
            The id of the recipient.
        ids
            The ids of the notifications.

        Returns
        -------
        int
            How many of them existed.

        Examples
        --------
        >>> InApp().delete("ann", ["no such notification"])
        0
        """
        return change_by_id(self._database, "delete from notifications where", recipient, ids)

    def _row(self, delivery: Delivery, key: StoredKey) -> Row | Failure:
        if not delivery.recipient:
            return no_recipient("in_app")
        payload = delivery.payload
        fields = payload if isinstance(payload, dict) else {}
        body = payload if isinstance(payload, str) else _text(fields.get("body"), "")
        return (
            key or uuid.uuid4().bytes,
            storable(delivery.recipient),
            _text(fields.get("notification_type"), GENERIC),
            _text(fields.get("title"), "Notification"),
            storable(body),
            json_text(payload),
            to_micros(delivery.delivered_at),
        )

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[Any]:
        insert(connection, f"insert into notifications ({_COLUMNS}, crc)", seal_rows(rows))
        recipients = list(dict.fromkeys(row[1] for row in rows))
        for some in parts_of(recipients, _READ_AT_ONCE):
            self._forget_old(connection, some)
        return [row[1] for row in rows]

    def _take_back(self, connection: sqlite3.Connection, key: StoredKey, undo: Any) -> None:
        connection.execute("delete from notifications where recipient = ? and id = ?", (undo, key))

    def _forget_old(self, connection: sqlite3.Connection, recipients: Sequence[str]) -> None:
        """Delete all but the newest notifications of these recipients."""
        full = connection.execute(
            f"select recipient from notifications where recipient in ({marks(recipients)}) "
            "group by recipient having count(*) > ?",
            (*recipients, self._kept_at_most),
        ).fetchall()
        connection.executemany(
            "delete from notifications where recipient = ? and number <= "
            "(select number from notifications where recipient = ? order by number desc limit 1 offset ?)",
            [(recipient, recipient, self._kept_at_most) for (recipient,) in full],
        )

    def _on_change(self) -> None:
        with self._news:
            self._news.notify_all()

    def _coming(self, recipient: str | None, last: int, timeout: float | None) -> Iterator[Notification]:
        one = "" if recipient is None else "recipient = ? and "
        given = () if recipient is None else (recipient,)
        rest = f"where {one}number > ? order by number limit ?"
        patience = math.inf if timeout is None else timeout
        heard = time.monotonic()
        while True:
            with self._news:
                rows = self._database.rows("notifications", rest, (*given, last, _READ_AT_ONCE), _BESIDE)
                if not rows:
                    left = heard + patience - time.monotonic()
                    if left <= 0:
                        return
                    self._news.wait(min(left, _LOOK))
            for row in rows:
                last = row[0]
                yield _notification(row)
            if rows:
                heard = time.monotonic()

    def _count(self, sql: str, *values: str) -> int:
        return int(self._database.read(sql, values)[0][0])


def _text(value: Any, default: str) -> str:
    if value is None:
        return default
    return storable(value if isinstance(value, str) else json_text(value))


def _notification(row: Sequence[Any]) -> Notification:
    _, read, name, recipient, kind, title, body, text, created = row
    payload = json.loads(text)
    data = payload.get("data") if isinstance(payload, dict) else None
    return Notification(
        key_text(name),
        recipient,
        kind,
        title,
        body,
        data,
        bool(read),
        to_moment(created),
        payload,
    )
