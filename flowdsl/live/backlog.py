"""Backlog on disk for sinks that hang or are slow, so that neither the run nor its memory waits for them.

Rows in it were promised: checkpoints count it as handed over. It is removed once the sink has it. It is
in the consumer's file, so that the two are never of different times; of a log in memory it lies in a
temporary file, as long as the log lasts.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flowdsl.sinks.base import Delivery
from flowdsl.sinks.database import Database, insert, seal_rows

WAITING_COLUMNS: Final = "sink, era, number, run, seq_no, since, size, deliveries"
WAITING: Final = (
    (
        "create table if not exists waiting (sink text, era integer, number integer, run text not null, "
        "seq_no integer not null, since integer not null, size integer not null, deliveries text not null, "
        "crc integer not null, primary key (sink, era, number)) without rowid"
    ),
)
_TIMES: Final = ("event_time", "delivered_at")


@dataclass
class Parcel:
    """Deliveries of one batch to one sink, each with the moment (µs) at which it was due.

    Batches follow each other by `era`, which counts runs, and by `number`. This one ends with the event
    `seq_no`, and its deliveries wait `since` a time (µs); `kept` says whether they are on disk.
    """

    number: int
    deliveries: list[Delivery] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    run: str = ""
    era: int = 0
    seq_no: int = 0
    since: int = 0
    kept: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Position among all parcels of the sink."""
        return self.era, self.number


class Backlog:
    """Parcels of one consumer that wait on disk, in order for each sink."""

    def __init__(self, database: Database | None) -> None:
        self._opened = database

    def put(self, sink: str, parcels: Sequence[Parcel]) -> None:
        """Store parcels; they are on disk when this returns."""
        rows = seal_rows(_row(sink, parcel) for parcel in parcels)
        self._database().write(
            lambda c: insert(c, f"insert or replace into waiting ({WAITING_COLUMNS}, crc)", rows)
        )
        for parcel in parcels:
            parcel.kept = True

    def after(self, sink: str, place: tuple[int, int], most: int) -> list[Parcel]:
        """Return the next parcels of a sink after a position, up to `most` deliveries but at least one
        parcel.
        """
        behind = "sink = ? and (era, number) > (?, ?) order by era, number"
        sizes = self._read(
            f"select era, number, size from waiting where {behind} limit ?", (sink, *place, most)
        )
        wanted: list[tuple[int, int]] = []
        total = 0
        for era, number, size in sizes:
            if wanted and total + size > most:
                break
            wanted.append((era, number))
            total += size
        if not wanted:
            return []
        rest = f"where {behind} limit ?"
        return [_parcel(*row) for row in self._database().rows("waiting", rest, (sink, *place, len(wanted)))]

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Return for each sink how many deliveries wait, and since when (µs)."""
        rows = self._read("select sink, sum(size), min(since) from waiting group by sink")
        return {sink: (size, since) for sink, size, since in rows}

    def era(self, run: str) -> int:
        """Return the number of a run, which is greater than those of all runs before it."""
        known = self._read("select era from waiting where run = ? limit 1", (run,))
        last = known or self._read("select coalesce(max(era), 0) + 1 from waiting")
        return int(last[0][0]) if last else 1

    def remove(self, sink: str, parcels: Sequence[Parcel]) -> None:
        """Remove delivered parcels."""
        places = [(sink, *parcel.place) for parcel in parcels if parcel.kept]
        if places:
            delete = "delete from waiting where sink = ? and era = ? and number = ?"
            self._database().write(lambda c: c.executemany(delete, places))

    def forget_after(self, run: str, number: int) -> None:
        """Remove what a run stored after a batch; the run goes on from there and stores it again."""
        self._forget("run = ? and number > ?", (run, number))

    def forget_events_after(self, seq_no: int) -> None:
        """Remove what came of events after this one; it comes again."""
        self._forget("seq_no > ?", (seq_no,))

    def _forget(self, where: str, parameters: Sequence[Any]) -> None:
        if self._read(f"select 1 from waiting where {where} limit 1", parameters):
            self._database().write(lambda c: c.execute(f"delete from waiting where {where}", parameters))

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        # most sinks get on: a temporary file is made when something has to wait
        return self._opened.read(sql, parameters) if self._opened is not None else []

    def _database(self) -> Database:
        if self._opened is None:
            folder = Path(tempfile.mkdtemp(prefix="flowdsl-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._opened = Database(
                folder / "waiting.sqlite", "flowdsl backlog", WAITING, {"waiting": WAITING_COLUMNS}
            )
        return self._opened


def _row(sink: str, parcel: Parcel) -> tuple[Any, ...]:
    records = [
        {
            **delivery._asdict(),
            **{name: getattr(delivery, name).isoformat() for name in _TIMES},
            "moment": moment,
        }
        for delivery, moment in zip(parcel.deliveries, parcel.moments, strict=True)
    ]
    return sink, *parcel.place, parcel.run, parcel.seq_no, parcel.since, len(records), json.dumps(records)


def _parcel(
    sink: str, era: int, number: int, run: str, seq_no: int, since: int, size: int, text: str
) -> Parcel:
    records = json.loads(text)
    moments = [one.pop("moment") for one in records]
    times = [{name: dt.datetime.fromisoformat(one[name]) for name in _TIMES} for one in records]
    deliveries = [Delivery(**{**one, **at}) for one, at in zip(records, times, strict=True)]
    return Parcel(number, deliveries, moments, run, era, seq_no, since, kept=True)
