"""Files as products write them: webhooks, exports and dumps in the public forms, small and made up."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

ROWS = range(12)


def at(row: int) -> dt.datetime:
    return dt.datetime(2026, 3, 2, 7, tzinfo=dt.UTC) + dt.timedelta(hours=row)


def utc(row: int) -> str:
    return at(row).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(path: Path, rows: list[dict[str, Any]], between: str = "\n") -> None:
    path.write_text(between.join(map(json.dumps, rows)), "utf-8")


def shop_webhooks(folder: Path) -> None:
    """What a shop's webhooks sent: each with its topic, and orders with items of their own."""
    topics = ("orders/create", "orders/paid", "customers/create")
    orders = [
        {
            "id": 5000 + row // 3,
            "created_at": at(row).isoformat(),
            "total_price": f"{40 * row}.50",
            "customer": {"id": 700 + row % 2},
            "line_items": [{"sku": f"SKU-{n}", "quantity": n} for n in range(row % 3)],
        }
        for row in ROWS
    ]
    written(
        folder / "webhooks.ndjson",
        [
            {"X-Shop-Topic": topics[row % 3], "X-Shop-Triggered-At": utc(row), "payload": orders[row]}
            for row in ROWS
        ],
    )


def web_analytics(folder: Path) -> None:
    """The export of web analytics to a warehouse: parameters are lists of keys and values."""
    written(
        folder / "analytics.json",
        [
            {
                "event_date": at(row).strftime("%Y%m%d"),
                "event_timestamp": str(int(at(row).timestamp() * 1_000_000)),
                "event_name": "purchase" if row % 2 else "page_view",
                "event_params": [
                    {"key": "page", "value": {"string_value": "/", "double_value": None}},
                    {"key": "value", "value": {"string_value": None, "double_value": row + 0.5}},
                ],
                "user_pseudo_id": f"{row % 5}.1700000000",
                "user_id": None,
            }
            for row in ROWS
        ],
    )


def outbox(folder: Path) -> None:
    """The outbox of a person on a federated network, as its archive has it."""
    me = "https://social.example/users/ann"
    notes = [
        {
            "id": f"{me}/statuses/{row}",
            "type": "Note",
            "content": "<p>hello</p>",
            "tag": [{"type": "Mention", "href": f"https://other.example/u{n}"} for n in range(row % 3)],
        }
        for row in ROWS
    ]
    items = [
        {"id": f"{note['id']}/activity", "type": "Create", "actor": me, "published": utc(row), "object": note}
        for row, note in enumerate(notes)
    ]
    (folder / "outbox.json").write_text(json.dumps({"type": "OrderedCollection", "orderedItems": items}))


def ticket_audits(folder: Path) -> None:
    """Two pages of the audits of tickets: each has several changes."""
    audits = [
        {
            "id": 2127362000 + row,
            "ticket_id": 600 + row % 4,
            "created_at": utc(row),
            "author_id": 35 + row % 3,
            "via": {"channel": "web"},
            "events": [{"id": n, "type": "Change", "value": ("open", "solved")[n]} for n in range(2)],
        }
        for row in ROWS
    ]
    for page in range(2):
        (folder / f"audits-{page}.json").write_text(
            json.dumps({"audits": audits[page::2], "next_page": None, "count": len(audits)}, indent=1)
        )


def topic_of_orders(folder: Path) -> None:
    """What a connector wrote of a topic: keys and values in envelopes with their schemas."""
    written(
        folder / "orders+0+0000000000.json",
        [
            {
                "topic": "orders",
                "partition": 0,
                "offset": row,
                "timestamp": int(at(row).timestamp() * 1000),
                "key": {"schema": {"type": "string"}, "payload": f"o{row // 2}"},
                "value": {
                    "schema": {"type": "struct", "fields": [{"field": "id"}, {"field": "total"}]},
                    "payload": {"id": f"o{row // 2}", "customer": f"c{row % 3}", "total": f"{row}.25"},
                },
            }
            for row in ROWS
        ],
    )


def sheet(folder: Path) -> None:
    """A sheet saved as CSV by a German Excel: a mark of the encoding, semicolons, decimal commas."""
    head = "Bestell-Nr.;Kunde;Betrag (€);Bestellt am;Bemerkung\r\n"
    rows = [
        f'{20260000 + row};Müller {row % 3};1.{100 + row},50;{at(row):%d.%m.%Y %H:%M};"eilig; bitte"\r\n'
        for row in ROWS
    ]
    (folder / "Bestellungen.csv").write_bytes("".join([head, *rows]).encode("utf-8-sig"))


def documents(folder: Path) -> None:
    """A dump of a document database: ids and times are objects that say their type."""
    written(
        folder / "comments.json",
        [
            {
                "_id": {"$oid": f"65f0c0de{row:016x}"},
                "author": {"$oid": f"65f0aaaa{row % 3:016x}"},
                "post": {"$oid": f"65f0bbbb{row % 2:016x}"},
                "at": {"$date": utc(row)},
                "likes": row,
            }
            for row in ROWS
        ],
    )


def requests(folder: Path) -> None:
    """A web server's log, written as JSON."""
    written(
        folder / "access.log",
        [
            {
                "time_local": at(row).strftime("%d/%b/%Y:%H:%M:%S %z"),
                "remote_addr": f"203.0.113.{row % 3}",
                "remote_user": "",
                "request_method": "GET",
                "request_uri": f"/tea/{row % 4}",
                "status": "502" if row % 4 == 3 else "200",
                "http_user_agent": "curl/8.5",
            }
            for row in ROWS
        ],
    )


def stream(folder: Path) -> None:
    """What a delivery stream wrote: objects without line breaks, in a file without an ending."""
    written(
        folder / "stream-1-2026-03-02-07-00-00-3a1b",
        [
            {
                "id": f"6a7e-{row}",
                "detail-type": "Order Placed" if row % 2 else "Order Shipped",
                "source": "com.example.shop",
                "time": utc(row),
                "detail": {"orderId": f"o{row}", "customer": {"id": f"c{row % 3}"}, "total": 5 * row},
            }
            for row in ROWS
        ],
        between="",
    )
