"""Detection of events dated too far ahead of the wall clock, which a live run marks before it processes
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from flowdsl.engine.range import BEGINNING, micros
from flowdsl.log.base import EventLog
from flowdsl.log.columns import readable
from flowdsl.moments import to_moment


@dataclass(frozen=True)
class AheadOfClock:
    """Finds events that must not move the log clock, and records them in the log.

    `most` is how far ahead (µs) an event may be dated; with None nothing is found, and what other runs found
    counts.
    """

    log: EventLog
    now: Callable[[], int]
    most: int | None

    def __call__(self, frame: pl.DataFrame, clock: int) -> pl.DataFrame:
        """Return the marks of events in a frame; new ones are on disk when this returns. `clock` is the clock
        before them.
        """
        events = readable(frame.select("seq_no", "timestamp"))
        if not events.height:
            return self.log.ahead_marks(1 << 62)
        if self.most is not None:
            times = micros(events)
            now = self.now()
            if int(times.max()) > now + self.most:
                ahead = times > now + self.most
                if clock == BEGINNING:
                    # a log without a clock: it begins with the first event that is not ahead, if that is
                    # known already
                    clock = now if ahead.all() else int(times[~ahead][0])
                self.log.mark_ahead(events["seq_no"].to_numpy()[ahead].tolist(), to_moment(clock))
        last = int(events["seq_no"][-1])
        marks = self.log.ahead_marks(int(events["seq_no"][0]))
        return marks.filter(pl.col("seq_no") <= last) if marks.height else marks
