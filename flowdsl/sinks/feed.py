"""feed: what each recipient is to see, in order, page by page."""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from flowdsl.operators.base import Option
from flowdsl.sinks.base import Delivery, Failure, storable
from flowdsl.sinks.database import Database, insert
from flowdsl.sinks.kept import PATH, KeptSink, check_page, json_text, no_recipient

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_SCHEMA: Final = (
    """create table if not exists items (
        number integer primary key autoincrement, id text not null unique, recipient text not null,
        payload text not null, delivered_at integer not null
    )""",
    "create index if not exists items_of on items (recipient, number)",
)

Row = tuple[str, str, str, int]


class FeedItem(NamedTuple):
    """One item of a feed: `id` names it, `delivered_at` is when it came (UTC)."""

    id: str
    payload: Any
    delivered_at: dt.datetime


@dataclass(frozen=True)
class FeedPage:
    """Some items of a feed, newest first; `next` is where the page after it begins, None behind the last."""

    items: tuple[FeedItem, ...]
    next: int | None


class Feed(KeptSink[Row]):
    """Feeds in a SQLite file, one for each recipient, in the order of delivery.

    A page begins where the one before it ended, whatever came in between. `path=None` keeps all of it in memory.

    >>> feed = Feed()
    >>> feed.deliver([Delivery({"title": title}, "ann") for title in "abc"])
    [None, None, None]
    >>> page = feed.page("ann", limit=2)
    >>> [item.payload["title"] for item in page.items], [item.payload["title"] for item in feed.page("ann", page.next).items]
    (['c', 'b'], ['a'])
    """

    type: ClassVar[str] = "feed"
    summary: ClassVar[str] = "what each recipient is to see, in order, page by page"
    options: ClassVar[tuple[Option, ...]] = (PATH,)

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(Database(path, "feed", _SCHEMA))

    def page(self, recipient: str, before: int | None = None, *, limit: int = 50) -> FeedPage:
        """The newest items of a recipient's feed, or those that come after the page whose `next` is `before`."""
        check_page(limit, 0 if before is None else before)
        end = "" if before is None else "and number < ? "
        rows = self._database.read(
            f"select number, id, payload, delivered_at from items where recipient = ? {end}order by number desc limit ?",
            (recipient, *(() if before is None else (before,)), limit + 1),
        )
        # one more than asked for tells whether there is another page
        more = len(rows) > limit > 0
        items = [
            FeedItem(name, json.loads(text), _EPOCH + at * _MICROSECOND) for _, name, text, at in rows[:limit]
        ]
        return FeedPage(tuple(items), rows[limit - 1][0] if more else None)

    def items(self, recipient: str) -> Iterator[FeedItem]:
        """A recipient's whole feed, newest first, read page by page."""
        before: int | None = None
        while True:
            page = self.page(recipient, before, limit=500)
            yield from page.items
            before = page.next
            if before is None:
                return

    def total(self, recipient: str) -> int:
        """How many items a recipient's feed has."""
        return int(self._database.read("select count(*) from items where recipient = ?", (recipient,))[0][0])

    def delete(self, recipient: str, ids: Sequence[str]) -> int:
        """Delete some items of a recipient's feed; how many there were."""
        given = [(recipient, name) for name in ([ids] if isinstance(ids, str) else ids)]

        def change(connection: sqlite3.Connection) -> int:
            return connection.executemany("delete from items where recipient = ? and id = ?", given).rowcount

        return self._database.write(change)

    def _row(self, delivery: Delivery) -> Row | Failure:
        if not delivery.recipient:
            return no_recipient("feed")
        at = (delivery.delivered_at - _EPOCH) // _MICROSECOND
        return delivery.key or uuid.uuid4().hex, storable(delivery.recipient), json_text(delivery.payload), at

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        insert(connection, "insert or ignore into items (id, recipient, payload, delivered_at)", rows)
