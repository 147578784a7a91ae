"""Events of a history that are dated far ahead of the events that follow, and must not move the clock."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from flowdsl.log.columns import TIME, readable
from flowdsl.log.source import EventSource
from flowdsl.log.wrapper import Wrapped
from flowdsl.values.json_types import Ints, Mask

# number of following events that a time is compared with
NEXT: Final = 10
_BLOCK: Final = 1 << 17
_NEVER: Final = np.iinfo(np.int64).min


def ahead_of_next(times: Ints, limit: int) -> tuple[Mask, Ints]:
    """Return which of these moments (µs, in log order) are ahead of the next ones, and the clock there.

    One is *contradicted* if it is more than `limit` later than at least half of the next ten. It is ahead if
    it is also more than `limit` later than every earlier one that is not contradicted. The clock stays where
    these put it; where there is none yet it begins with the next one that is not ahead.

    >>> ahead_of_next(np.array([0, 1, 900, 2, 3]), 10)[0].tolist()
    [False, False, True, False, False]
    """
    later, asked = np.zeros(len(times), np.int8), np.zeros(len(times), np.int8)
    for step in range(1, min(NEXT, len(times) - 1) + 1):
        later[:-step] += times[:-step] - times[step:] > limit
        asked[:-step] += 1
    contradicted = (later * 2 >= asked) & (later > 0)
    earlier = np.maximum.accumulate(np.where(contradicted, _NEVER, times)) if len(times) else times
    before = np.concatenate([np.full(min(1, len(times)), _NEVER), earlier[:-1]])
    known = before != _NEVER
    ahead = contradicted & (~known | (times - np.where(known, before, times) > limit))
    # the next one that is not ahead: the last never is
    place = np.where(ahead, len(times) - 1, np.arange(len(times)))
    following = np.minimum.accumulate(place[::-1])[::-1]
    return ahead, np.where(known, before, times.take(following))


class AheadOfNext(Wrapped):
    """Log in which events dated more than `limit` µs ahead of the next ones do not move the clock."""

    def __init__(self, source: EventSource, limit: int) -> None:
        super().__init__(source)
        self._limit = limit

    def ahead_marks(self) -> pl.DataFrame:
        """Return the events a live run found ahead of its clock, and those ahead of the next events."""
        return self._marks

    @cached_property
    def _marks(self) -> pl.DataFrame:
        marked = self.source.ahead_marks()
        frames = [readable(f).select("seq_no", "timestamp") for f in self.source.chunks((), _BLOCK)]
        if not frames:
            return marked
        events = pl.concat(frames)
        # the marks of a live run are kept; it has none for the other events
        events = (
            events.filter(~pl.col("seq_no").is_in(marked["seq_no"].to_list())) if marked.height else events
        )
        ahead, clock = ahead_of_next(events["timestamp"].to_physical().to_numpy(), self._limit)
        found = events.select("seq_no", pl.Series("clock", clock).cast(TIME)).filter(pl.Series(ahead))
        return pl.concat([marked, found]).sort("seq_no")
