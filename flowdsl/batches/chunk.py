"""Chunk of the log: event columns, the log clock, and the graph state that the events see.

Rows `0 … fresh-1` are the events of the chunk, in order. The event rows of contexts that a window or queue
has kept since earlier chunks are appended to them, and do not affect the clock.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.events import JSON_COLUMNS
from flowdsl.log.event_rows import EventRows
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.orders import inverse
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    from flowdsl.graph.state import GraphState

Micros = npt.NDArray[np.int64]


class Chunk:
    """Events of a chunk, their clock, the graph as it changes over them, and rows of earlier chunks."""

    def __init__(self, events: EventRows, clock: Micros, graph: GraphState, *, seq_before: int = 0) -> None:
        self.fresh = len(events)
        self.clock = clock
        self.graph = graph
        self.interner = graph.interner
        self.seq = events.frame["seq_no"].to_numpy() if self.fresh else np.zeros(0, np.int64)
        self.seq_before = seq_before
        self._parts = [events]
        self._starts = [0]
        self._total = self.fresh
        self._lock = threading.Lock()

    @property
    def events(self) -> EventRows:
        """Events of this chunk itself."""
        return self._parts[0]

    def bring(self, rows: EventRows) -> int:
        """Append rows kept from earlier chunks, and return the number of the first one."""
        # flows may run on several threads
        with self._lock:
            start = self._total
            self._parts.append(rows)
            self._starts.append(start)
            self._total += len(rows)
            return start

    def column(self, path: Path, rows: Index) -> Column:
        """Return the values of an event variable at some rows."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.column_at(path, rows - start if start else rows)
        if path[0] not in JSON_COLUMNS:
            return Column.concat([p.column(path) for p in self._parts]).take(rows)
        # of documents only those of these rows are parsed
        which = np.searchsorted(self._starts, rows, side="right") - 1
        found, places = [], []
        for number in np.flatnonzero(np.bincount(which)).tolist():
            mine = np.flatnonzero(which == number)
            found.append(self._parts[number].column_at(path, rows[mine] - self._starts[number]))
            places.append(mine)
        return Column.concat(found).take(inverse(np.concatenate(places)))

    def numbers(self, rows: Index) -> Ints:
        """Return the sequence numbers of some rows."""
        if len(rows) and int(rows.max()) < self.fresh:
            return self.seq.take(rows)
        column = self.column(("event", "seq_no"), rows)
        return column.ints if column.ints is not None else np.zeros(len(rows), np.int64)

    def codes(self, name: str, rows: Index) -> Codes:
        """Return a text column at some rows as codes."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.codes_at(name, rows - start if start else rows)
        return np.concatenate([p.codes(name) for p in self._parts]).take(rows)

    def frame(self, rows: Index) -> pl.DataFrame:
        """Return some rows of the event table, in the given order."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.frame[rows - start]
        # empty parts may lack columns of the others
        return pl.concat([p.frame for p in self._parts if len(p)], how="diagonal", rechunk=True)[rows]

    def keep(self, rows: Index) -> EventRows:
        """Copy some rows so that they can outlive the chunk."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.gather(rows - start)
        return EventRows(self.frame(rows), self.interner, self.events._hints)

    def seen_at(self, moments: Micros) -> npt.NDArray[np.int32]:
        """Return the last event processed before each moment, -1 for none of this chunk."""
        return (np.searchsorted(self.clock, moments, side="left") - 1).astype(np.int32)

    def seq_seen(self, seen: npt.NDArray[np.int32]) -> Ints:
        """Return the sequence number of the last visible event."""
        if not self.fresh:
            return np.full(len(seen), self.seq_before, np.int64)
        found: Ints = self.seq.take(seen, mode="clip")
        return found if (seen >= 0).all() else np.where(seen >= 0, found, self.seq_before)

    def _part_of(self, rows: Index) -> tuple[int, EventRows] | None:
        """Return the part that contains all these rows, and its first row; None if there are several."""
        if len(self._parts) == 1 or not len(rows):
            return 0, self._parts[0]
        low, high = int(rows.min()), int(rows.max())
        which = int(np.searchsorted(self._starts, low, side="right")) - 1
        end = self._starts[which] + len(self._parts[which])
        return (self._starts[which], self._parts[which]) if high < end else None
