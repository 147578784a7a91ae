"""The range of a log that flows run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from flowdsl.batches.chunk import Chunk, Micros
from flowdsl.values.json_types import Ints, Mask

# events read at once; the larger number where that takes little memory
CHUNK, LARGE_CHUNK = 1 << 17, 1 << 19
# the log clock (µs) before the first event
BEGINNING = -(1 << 62)


@dataclass(frozen=True)
class ReplayRange:
    """Range of events that flows run on: from `start` on, before `stop`, as sequence numbers or as µs; `only`
    some of them.
    """

    start: int | None = None
    stop: int | None = None
    start_time: int | None = None
    stop_time: int | None = None
    only: Ints | None = None

    @property
    def whole(self) -> bool:
        """Return True if flows run on all events."""
        bounds = (self.start, self.stop, self.start_time, self.stop_time, self.only)
        return all(bound is None for bound in bounds)

    @property
    def endless(self) -> bool:
        """Return True if no end is given."""
        return self.stop is None and self.stop_time is None

    def cut(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
        """Return the part of a frame that is not behind the end, and whether the end was reached."""
        stops = np.zeros(frame.height, np.bool_)
        if self.stop is not None:
            # event numbers have 63 bits, a given one may have more
            stops |= (frame["seq_no"] >= max(0, min(self.stop, 2**63 - 1))).to_numpy()
        if self.stop_time is not None:
            stops |= micros(frame) >= self.stop_time
        if not stops.any():
            return frame, False
        return frame.head(int(stops.argmax())), True

    def runs(self, chunk: Chunk, times: Micros) -> Mask | None:
        """Return a mask of the events that flows run on, or None for all."""
        parts: list[Mask] = []
        if self.start is not None:
            parts.append(chunk.seq >= self.start)
        if self.start_time is not None:
            parts.append(times >= self.start_time)
        if self.only is not None:
            parts.append(np.isin(chunk.seq, self.only))
        return np.logical_and.reduce(parts) if parts else None


def micros(frame: pl.DataFrame) -> Micros:
    """Timestamps as microseconds since 1970."""
    return frame["timestamp"].cast(pl.Int64).to_numpy()
