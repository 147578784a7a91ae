"""Events of a log that are read by their sequence numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import polars as pl

from flowdsl.events import EVENT_COLUMNS
from flowdsl.log.columns import empty_events
from flowdsl.log.source import EventSource
from flowdsl.progress import Tick, noop
from flowdsl.values.json_types import Ints

_BLOCK: Final = 1 << 17


def frames_at(
    source: EventSource, seqs: Ints, columns: Collection[str] = EVENT_COLUMNS, tick: Tick = noop
) -> Iterator[pl.DataFrame]:
    """Yield the events of these sequence numbers, which ascend; the log may lack some."""
    for frame in source.chunks(columns, _BLOCK, int(seqs[0]) - 1) if len(seqs) else ():
        numbers = frame["seq_no"].to_numpy()
        rows = numbers.searchsorted(seqs)
        rows = rows[(rows < len(numbers)) & (numbers.take(rows, mode="clip") == seqs)]
        if len(rows):
            yield frame[rows]
        tick(frame.height)
        if int(numbers[-1]) >= int(seqs[-1]):
            return


def read_events_at(
    source: EventSource, seqs: Ints, columns: Collection[str] = EVENT_COLUMNS, tick: Tick = noop
) -> pl.DataFrame:
    """Return the events of these sequence numbers as one frame, with all columns that any of them has."""
    found = list(frames_at(source, seqs, columns, tick))
    joined: pl.DataFrame = pl.concat(found, how="diagonal_relaxed") if found else empty_events()
    return joined
