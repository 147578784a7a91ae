"""Timers of batch and of a queueing rate limit: when a timer fires, and what its context then sees."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from flowdsl.batches.chunk import Chunk, Micros
from flowdsl.kernels.outcome import FOREVER, Until
from flowdsl.values.json_types import Mask

Seen = npt.NDArray[np.int32]
# the end of the year 9999 in µs: no timer can be due later, for times beyond it cannot be written
LAST_MOMENT: Final = 253_402_300_799_999_999


def due(chunk: Chunk, deadlines: Micros, opened: Micros, seen: Seen, until: Until) -> Mask:
    """Return which timers fire: those due by then, once an event comes after what set them.

    A timer fires before any event at or after its deadline. One that is due at the very moment it is set
    (a window of 0s) waits for the next event, even if that comes at the same clock.
    """
    if until.clock == FOREVER:
        return np.ones(len(deadlines), np.bool_)
    alone = (deadlines <= opened) & (seen >= max(chunk.fresh - 1, 0))
    return (deadlines <= until.clock) & ~alone
