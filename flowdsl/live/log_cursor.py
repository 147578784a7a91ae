"""Cursor over a log: events and clock marks in processing order.

All readers of a log from the same position get the same events and marks in the same order, however they
are cut into slices. So a live run, the run after a crash and a replay have the same results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from flowdsl.errors import LiveError
from flowdsl.log.base import EventLog

# events of one batch at most: more make it no faster, and what comes out of them must fit into memory
MOST = 1 << 14


@dataclass(frozen=True)
class LogPosition:
    """Position of a run: the last event, the clock marks used since the run began, and those right after the
    event.

    `number` grows by one at least with every event and every mark: it numbers the batches that end here.
    """

    seq_no: int
    marks: int = 0
    here: int = 0

    @property
    def number(self) -> int:
        """Number of the batch that ends here."""
        return self.seq_no + self.marks

    def marked(self, count: int) -> LogPosition:
        """Return the position after `count` more marks, without an event."""
        return replace(self, marks=self.marks + count, here=self.here + count)


@dataclass(frozen=True)
class LogSlice:
    """Next slice of a log: events with the clock marks between them, or a clock (µs) without events."""

    after: LogPosition
    events: pl.DataFrame | None = None
    marks: pl.DataFrame | None = None
    clock: int | None = None


class LogCursor:
    """Reader of consecutive slices from a position on.

    `cuts` are numbers of batches at which a piece has to end, since a sink has had just so much.
    """

    def __init__(
        self, log: EventLog, place: LogPosition, columns: Collection[str], cuts: Collection[int] = ()
    ) -> None:
        self.place = place
        self._log = log
        self._columns = columns
        self._cuts = sorted(cuts)
        self._frames: Iterator[pl.DataFrame] = iter(())
        self._frame: pl.DataFrame | None = None

    def next(self) -> LogSlice | None:
        """Return the next slice, or None if the log has no more for now."""
        # events first, marks then: a mark between two events was made before the second could be read
        frame = self._frame if self._frame is not None else self._read()
        marks = self._log.clock_marks(self.place.seq_no)
        self._frame = frame
        if marks.height:
            here = marks.filter(pl.col("seq_no") == self.place.seq_no)[self.place.here :]
            if here.height:
                return self._advance(self._clock_piece(here))
            marks = marks.filter(pl.col("seq_no") > self.place.seq_no)
        if frame is None:
            return None
        return self._advance(self._events_piece(frame, marks))

    def _advance(self, piece: LogSlice) -> LogSlice:
        self.place = piece.after
        return piece

    def _clock_piece(self, marks: pl.DataFrame) -> LogSlice:
        room = self._next_cut() - self.place.number
        taken = marks.head(room) if room < marks.height else marks
        clock = int(taken["clock"].to_physical().max())  # type: ignore[arg-type]
        return LogSlice(self.place.marked(taken.height), clock=clock)

    def _events_piece(self, frame: pl.DataFrame, marks: pl.DataFrame) -> LogSlice:
        if self._cuts:
            frame = frame.head(self._rows_before_cut(frame, marks))
        last = int(frame["seq_no"][-1])
        whole = self._frame
        self._frame = whole[frame.height :] if whole is not None and whole.height > frame.height else None
        inside = marks.filter(pl.col("seq_no") < last) if marks.height else marks
        return LogSlice(LogPosition(last, self.place.marks + inside.height), frame, inside)

    def _rows_before_cut(self, frame: pl.DataFrame, marks: pl.DataFrame) -> int:
        """Return how many of the events come before the next cut."""
        seq = frame["seq_no"].to_numpy()
        before = np.searchsorted(marks["seq_no"].to_numpy(), seq, side="left")
        rows = int(np.searchsorted(seq + self.place.marks + before, self._next_cut(), side="right"))
        return max(rows, 1)

    def _next_cut(self) -> int:
        while self._cuts and self._cuts[0] <= self.place.number:
            self._cuts.pop(0)
        return self._cuts[0] if self._cuts else 1 << 62

    def _read(self) -> pl.DataFrame | None:
        frame = next(self._frames, None)
        if frame is None:
            self._frames = self._log.chunks(self._columns, MOST, self.place.seq_no)
            frame = next(self._frames, None)
        return frame


def marks_after(marks: pl.DataFrame, seq_no: int) -> int:
    """Return how many of the marks were made right after an event."""
    return int((marks["seq_no"] == seq_no).sum()) if marks.height else 0


def check_cuts(log: EventLog, place: LogPosition, cuts: list[int]) -> None:
    """Raise an error if a sink has batches beyond the end of the log, which has then lost events."""
    marks = log.clock_marks(place.seq_no).height - place.here
    last = max(log.last_seq_no(), place.seq_no) + place.marks + marks
    if max(cuts, default=0) > last:
        raise LiveError(
            f"a sink has batches up to {max(cuts)}, and the log ends at {last}: the log has lost events",
            hint='start("latest") goes on with what comes from now on',
        )
