"""Append in the group-commit queue: one thread waits for it, another writes it."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.wal import encoded_rows


class PendingAppend:
    """Events to append, encoded by the calling thread; `last` is the number of the last one once `done`."""

    def __init__(self, rows: Sequence[EventRow]) -> None:
        self.rows = rows
        self.events = encoded_rows(rows)
        self.last = 0
        self.done = False
        self.error: BaseException | None = None

    def raised(self) -> BaseException:
        """Return the error as a new exception for this thread."""
        error = self.error
        if isinstance(error, OSError):
            return OSError(error.errno, error.strerror, error.filename)
        if isinstance(error, DataError):
            return DataError(error.what, place=error.place, allowed=error.allowed, hint=error.hint)
        assert error is not None
        return error
