"""Subscriptions: the events of a consumer as they come."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, Protocol

import polars as pl

from flowdsl.events import EVENT_COLUMNS, event_mapping
from flowdsl.log.columns import chunk_columns, empty_events, readable
from flowdsl.log.rows import event_rows

_BATCH: Final = 65_536


class _Log(Protocol):
    def chunks(self, columns: Collection[str], size: int, after: int = 0) -> Iterator[pl.DataFrame]: ...

    def wait(self, after: int, timeout: float | None) -> bool: ...


class Subscription:
    """Iterator over a consumer's events that waits for new ones until it is closed.

    `take` returns them as frames. Neither acknowledges anything.
    """

    def __init__(self, log: _Log, consumer: str, after: int) -> None:
        self.consumer = consumer
        self.after = after
        self._log = log
        self._closed = False
        self._ready: Iterator[tuple[int, Any]] = iter(())

    def take(
        self, size: int = _BATCH, timeout: float | None = 0.0, columns: Collection[str] = EVENT_COLUMNS
    ) -> pl.DataFrame:
        """Return the next events as a frame.

        Parameters
        ----------
        size
            The greatest number of events.
        timeout
            How long to wait for the first one, in seconds; None waits until one comes or the subscription is
            closed.
        columns
            The columns of the event table.

        Returns
        -------
        polars.DataFrame
            The events; empty if none came in time.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog
        >>> MemoryEventLog().subscribe("mailer").take().height
        0
        """
        if self._wait(timeout):
            for chunk in self._log.chunks(columns, size, self.after):
                self.after = int(chunk["seq_no"][-1])
                # an earlier version may have let in events whose time cannot be shown
                if (good := readable(chunk)).height:
                    return good
        return empty_events().select(chunk_columns(columns))

    def close(self) -> None:
        """Stop waiting; the iteration ends."""
        self._closed = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        while True:
            for seq_no, row in self._ready:
                return event_mapping(row, seq_no)
            chunk = self.take(timeout=None)
            if not chunk.height:
                raise StopIteration
            self._ready = iter(event_rows(chunk))

    def __repr__(self) -> str:
        return (
            f"<Subscription {self.consumer!r}, "
            f"{'closed' if self._closed else f'read up to event {self.after}'}>"
        )

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, timeout: float | None) -> bool:
        if timeout is not None:
            return self._log.wait(self.after, timeout)
        while not self._closed:
            # in short turns, so that close() from another thread is seen
            if self._log.wait(self.after, 0.1):
                return True
        return False
