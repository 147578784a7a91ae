"""Feed sink: items for each recipient, read page by page."""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from flowdsl.moments import to_micros, to_moment
from flowdsl.operators.options import Option
from flowdsl.sinks.base import Delivery, Failure, json_text, storable
from flowdsl.sinks.database import Database, insert, seal_rows
from flowdsl.sinks.sqlite_sink import (
    CHECKED,
    KEYS,
    PATH,
    KeptSink,
    StoredKey,
    change_by_id,
    key_text,
    no_recipient,
    page_of,
)

_SCHEMA: Final = (
    """create table if not exists items (
        number integer primary key autoincrement, id blob not null, recipient text not null,
        payload text not null, delivered_at integer not null, crc integer not null
    )""",
    "create index if not exists items_of on items (recipient, number)",
    *KEYS,
)
_CHECKED: Final = {"items": "id, recipient, payload, delivered_at", **CHECKED}

Row = tuple[bytes | str, str, str, int]


class FeedItem(NamedTuple):
    """Item of a feed.

    Attributes
    ----------
    id
        The key of the delivery.
    payload
        The payload, a JSON value.
    delivered_at
        When it was delivered, in UTC.

    Examples
    --------
    >>> feed = Feed()
    >>> _ = feed.deliver([Delivery("hello", "ann")])
    >>> next(feed.items("ann")).payload
    'hello'
    """

    id: str
    payload: Any
    delivered_at: dt.datetime


@dataclass(frozen=True)
class FeedPage:
    """Page of a feed, newest items first.

    Attributes
    ----------
    items
        The items.
    next
        The cursor of the next page, or None on the last page.

    Examples
    --------
    >>> Feed().page("ann")
    FeedPage(items=(), next=None)
    """

    items: tuple[FeedItem, ...]
    next: int | None


class Feed(KeptSink[Row]):
    """Store deliveries in a SQLite file as one feed per recipient.

    Pages are addressed by a cursor, so new items never shift them.

    Parameters
    ----------
    path
        The SQLite file; None keeps all feeds in memory.

    Raises
    ------
    SinkError
        If the file cannot be opened.

    Examples
    --------
    >>> feed = Feed()
    >>> feed.deliver([Delivery({"title": title}, "ann") for title in "abc"])
    [None, None, None]
    >>> page = feed.page("ann", limit=2)
    >>> (
    ...     [item.payload["title"] for item in page.items],
    ...     [item.payload["title"] for item in feed.page("ann", page.next).items],
    ... )
    (['c', 'b'], ['a'])
    """

    type: ClassVar[str] = "feed"
    portable: ClassVar[bool] = True
    implemented: ClassVar[bool] = False
    summary: ClassVar[str] = "what each recipient is to see, in order, page by page"
    options: ClassVar[tuple[Option, ...]] = (PATH,)

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(Database(path, "feed", _SCHEMA, _CHECKED))

    def page(self, recipient: str, before: int | None = None, *, limit: int = 50) -> FeedPage:
        """Return a page of a recipient's feed, newest items first.

        Parameters
        ----------
        recipient
            The id of the recipient.
        before
            The `next` of the previous page; None for the first page.
        limit
            The greatest number of items, at least 1.

        Returns
        -------
        FeedPage
            The items and the cursor of the next page.

        Raises
        ------
        SinkError
            If `limit` or `before` is not valid, or the file is damaged.

        Examples
        --------
        >>> Feed().page("ann").next is None
        True
        """
        rows, following = page_of(self._database, "items", "number", recipient, before, limit)
        items = (FeedItem(key_text(name), json.loads(text), to_moment(at)) for _, name, _, text, at in rows)
        return FeedPage(tuple(items), following)

    def items(self, recipient: str) -> Iterator[FeedItem]:
        """Iterate over a recipient's whole feed, newest items first.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        iterator of FeedItem
            The items, read page by page.

        Examples
        --------
        >>> list(Feed().items("ann"))
        []
        """
        page = self.page(recipient, limit=500)
        yield from page.items
        while page.next is not None:
            page = self.page(recipient, page.next, limit=500)
            yield from page.items

    def total(self, recipient: str) -> int:
        """Return the number of items in a recipient's feed.

        Parameters
        ----------
        recipient
            The id of the recipient.

        Returns
        -------
        int
            The number of items.

        Examples
        --------
        >>> Feed().total("ann")
        0
        """
        return int(self._database.read("select count(*) from items where recipient = ?", (recipient,))[0][0])

    def delete(self, recipient: str, ids: Sequence[str]) -> int:
        """Delete items of a recipient's feed.

        Parameters
        ----------
        recipient
            The id of the recipient.
        ids
            The ids of the items.

        Returns
        -------
        int
            How many of them existed.

        Examples
        --------
        >>> Feed().delete("ann", ["no such item"])
        0
        """
        return change_by_id(self._database, "delete from items where", recipient, ids)

    def _row(self, delivery: Delivery, key: StoredKey) -> Row | Failure:
        if not delivery.recipient:
            return no_recipient("feed")
        at = to_micros(delivery.delivered_at)
        return (
            key or uuid.uuid4().bytes,
            storable(delivery.recipient),
            json_text(delivery.payload),
            at,
        )

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Sequence[Any]:
        insert(connection, "insert into items (id, recipient, payload, delivered_at, crc)", seal_rows(rows))
        return [row[1] for row in rows]

    def _take_back(self, connection: sqlite3.Connection, key: StoredKey, undo: Any) -> None:
        connection.execute("delete from items where recipient = ? and id = ?", (undo, key))
