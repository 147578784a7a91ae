"""Pending append: events that wait in the writer's queue for the tail, and how their append ended."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.wal import encode_events


class PendingAppend:
    """Events to append, encoded by the calling thread; `last` is the number of the last one once `done`."""

    def __init__(self, rows: Sequence[EventRow]) -> None:
        self.rows = rows
        self.events = encode_events(rows)
        self.last = 0
        self.done = False
        self.error: BaseException | None = None

    def make_error(self) -> BaseException:
        """Return the error as a new exception for this thread."""
        error = self.error
        if isinstance(error, OSError):
            return OSError(error.errno, error.strerror, error.filename)
        if isinstance(error, DataError):
            return DataError(error.what, place=error.place, allowed=error.allowed, hint=error.hint)
        assert error is not None
        return error
