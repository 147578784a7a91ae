"""An append on its way to the disk, which the thread that appends waits for and another one writes."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.wal import encoded_rows


class PendingAppend:
    """Events to be appended, encoded by the thread that has them; `last` is the number of the last once they are `done`."""

    def __init__(self, rows: Sequence[EventRow]) -> None:
        self.rows = rows
        self.events = encoded_rows(rows)
        self.last = 0
        self.done = False
        self.error: BaseException | None = None

    def raised(self) -> BaseException:
        """What went wrong, as an error of its own for this thread."""
        error = self.error
        if isinstance(error, OSError):
            return OSError(error.errno, error.strerror, error.filename)
        if isinstance(error, DataError):
            return DataError(error.what, place=error.place, allowed=error.allowed, hint=error.hint)
        assert error is not None
        return error
