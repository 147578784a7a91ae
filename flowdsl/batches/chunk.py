"""A stretch of the log as the operators see it: event rows as columns, the clock, and the graph beside them.

Rows `0 … fresh-1` are the events of the chunk, in order. Contexts that a window or a queue held since earlier
chunks bring their event rows with them; these are added behind, and mean nothing for the clock.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.log.event_rows import EventRows
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_types import Index
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    from flowdsl.graph.state import GraphState

Micros = npt.NDArray[np.int64]


class Chunk:
    """The events of one stretch, their clock, the graph as it changes over them, and rows brought along."""

    def __init__(
        self, events: EventRows, clock: Micros, graph: GraphState, interner: Interner, *, seq_before: int = 0
    ) -> None:
        self.fresh = len(events)
        self.clock = clock
        self.graph = graph
        self.interner = interner
        self.seq = events.frame["seq_no"].to_numpy() if self.fresh else np.zeros(0, np.int64)
        self.seq_before = seq_before
        self._parts = [events]
        self._starts = [0]
        self._total = self.fresh
        self._lock = threading.Lock()

    @property
    def events(self) -> EventRows:
        """The events of this chunk itself."""
        return self._parts[0]

    def bring(self, rows: EventRows) -> int:
        """Add rows kept from earlier chunks; their first one gets the number returned."""
        # flows may run on several threads
        with self._lock:
            start = self._total
            self._parts.append(rows)
            self._starts.append(start)
            self._total += len(rows)
            return start

    def column(self, path: Path, rows: Index) -> Column:
        """The values of an event variable at some rows."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.column_at(path, rows - start if start else rows)
        return Column.concat([p.column(path) for p in self._parts]).take(rows)

    def codes(self, name: str, rows: Index) -> Codes:
        """A text column as codes, at some rows."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.codes(name).take(rows - start if start else rows)
        return np.concatenate([p.codes(name) for p in self._parts]).take(rows)

    def frame(self, rows: Index) -> pl.DataFrame:
        """Some rows of the event table, in that order."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.frame[rows - start]
        # an empty part may lack columns that were read for the rows of others
        return pl.concat([p.frame for p in self._parts if len(p)], how="diagonal")[rows]

    def keep(self, rows: Index) -> EventRows:
        """A copy of some rows that outlives the chunk."""
        part = self._part_of(rows)
        if part is not None:
            start, events = part
            return events.gather(rows - start)
        return EventRows(self.frame(rows), self.interner, self.events._hints)

    def seen_at(self, moments: Micros) -> npt.NDArray[np.int32]:
        """For moments at which a timer fires: the last event processed before, -1 for none of this chunk."""
        return (np.searchsorted(self.clock, moments, side="left") - 1).astype(np.int32)

    def seq_seen(self, seen: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """The sequence number of the last event that is visible."""
        if not self.fresh:
            return np.full(len(seen), self.seq_before, np.int64)
        return np.where(seen >= 0, self.seq.take(seen.clip(0)), self.seq_before)

    def _part_of(self, rows: Index) -> tuple[int, EventRows] | None:
        """The one part that all these rows are in, and where it starts; None where they are in several."""
        if len(self._parts) == 1 or not len(rows):
            return 0, self._parts[0]
        low, high = int(rows.min()), int(rows.max())
        which = int(np.searchsorted(self._starts, low, side="right")) - 1
        end = self._starts[which] + len(self._parts[which])
        return (self._starts[which], self._parts[which]) if high < end else None
