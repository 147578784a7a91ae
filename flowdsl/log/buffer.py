"""Buffer of appended events as columns, built once for all readers and joined at a geometric pace."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl

from flowdsl.events import EventRow
from flowdsl.log.rows import frame_of

# so many neighbours of like size are joined, and none with more rows than this
_ALIKE: Final = 8
_MOST: Final = 65_536


class Blocks:
    """Frames of numbered events, in order.

    There are few of them and each row is copied rarely, however few come at a time: the sizes grow
    geometrically.
    """

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self._lasts: list[int] = []
        # what was asked for last, and the answer: readers that keep up all ask for the same
        self._answer: tuple[tuple[int, int], list[pl.DataFrame]] = (-1, -1), []

    @property
    def height(self) -> int:
        """Number of events."""
        return sum(frame.height for frame in self._frames)

    def add(self, frame: pl.DataFrame) -> None:
        """Append numbered events."""
        if not frame.height:
            return
        self._frames.append(frame)
        self._lasts.append(int(frame["seq_no"][-1]))
        while len(alike := self._alike()) >= _ALIKE:
            self._frames[-len(alike) :] = [pl.concat(alike, rechunk=True)]
            self._lasts[-len(alike) :] = self._lasts[-1:]

    def after(self, seq_no: int) -> list[pl.DataFrame]:
        """Return the events after a number, without a copy; events added later are not included."""
        begin = bisect.bisect_right(self._lasts, seq_no)
        if begin == len(self._lasts):
            return []
        asked = (seq_no, self._lasts[-1])
        if self._answer[0] != asked:
            frames = self._frames[begin:]
            row = int(np.searchsorted(frames[0]["seq_no"].to_numpy(), seq_no, side="right"))
            frames[0] = frames[0].slice(row) if row else frames[0]
            self._answer = asked, frames
        return list(self._answer[1])

    def _alike(self) -> list[pl.DataFrame]:
        """Return the last frames of similar size that together are not too large."""
        limit = _ALIKE * self._frames[-1].height
        rows, begin = 0, len(self._frames)
        while begin and self._frames[begin - 1].height < limit and rows <= _MOST:
            begin -= 1
            rows += self._frames[begin].height
        return self._frames[begin:] if rows <= _MOST else []


def pick_columns(frames: Iterable[pl.DataFrame], names: list[str]) -> Iterator[pl.DataFrame]:
    """Return these columns of numbered frames as frames of the caller's own."""
    for frame in frames:
        yield frame.clone() if frame.columns == names else frame[names]


class TailRows:
    """Rows at the end of a log, from number `first` on, and the same as columns for readers.

    One thread adds rows, any number read.
    """

    def __init__(self, first: int, rows: Sequence[EventRow] = ()) -> None:
        self.first = first
        self.rows = list(rows)
        self._blocks = Blocks()
        self._made = 0
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def last(self) -> int:
        """Number of the last row."""
        return self.first + len(self.rows) - 1

    def add(self, rows: Sequence[EventRow]) -> None:
        """Append rows."""
        self.rows += rows

    def from_number(self, seq_no: int) -> TailRows:
        """Return the rows from a number on."""
        begin = max(seq_no, self.first)
        return TailRows(begin, self.rows[begin - self.first :])

    def after(self, seq_no: int) -> list[pl.DataFrame]:
        """Return the rows after a number as numbered frames."""
        with self._making:
            fresh = self.rows[self._made :]
            if fresh:
                self._blocks.add(frame_of(fresh, self.first + self._made))
                self._made += len(fresh)
            return self._blocks.after(seq_no)
