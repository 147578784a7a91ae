"""What durable sinks have in common: deliveries become rows, and rows are written in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from flowdsl.errors import SinkError
from flowdsl.operators.base import Option, text_schema
from flowdsl.sinks.base import Delivery, DurableSink, Failure, Outcome
from flowdsl.sinks.database import Database

Row = TypeVar("Row")
PATH: Final = Option(
    "path",
    "the SQLite file; by default one named like the sink",
    text_schema("notifications.sqlite"),
    portable=False,
)


# made once: `json.dumps` makes one at each call, which takes as long as the encoding
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


class KeptSink(DurableSink, Generic[Row]):
    """A durable sink over a database: subclasses make a row of a delivery, and write rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> None:
        """Make or open the file."""
        self._database.open()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Keep deliveries, all in one transaction."""
        rows, outcomes = self._rows(deliveries)
        if rows:
            self._database.write(lambda connection: self._write(connection, rows))
            self._told()
        return outcomes

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Sequence[Outcome]:
        """Keep a numbered batch once, however often it is handed over."""
        # what cannot be kept depends on the deliveries alone: a batch that is handed over again has the same answer
        rows, outcomes = self._rows(deliveries)
        self._database.apply(consumer, batch, lambda connection: self._write(connection, rows))
        self._told()
        return outcomes

    def applied(self, consumer: str) -> int:
        """The number of the last batch of a consumer; 0 before any."""
        return self._database.applied(consumer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database!r})"

    def _rows(self, deliveries: Sequence[Delivery]) -> tuple[list[Row], list[Outcome]]:
        rows: list[Row] = []
        outcomes: list[Outcome] = []
        for delivery in deliveries:
            row = self._row(delivery)
            if isinstance(row, Failure):
                outcomes.append(row)
            else:
                rows.append(row)
                outcomes.append(None)
        return rows, outcomes

    def _row(self, delivery: Delivery) -> Row | Failure:
        """A delivery as a row, or why it cannot be kept."""
        raise NotImplementedError

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Write rows, in order."""
        raise NotImplementedError

    def _told(self) -> None:
        """There may be something new."""


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
