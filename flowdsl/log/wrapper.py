"""Base of logs that present another log with some changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import polars as pl

from flowdsl.log.source import EventSource

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.log.pushdown import ScanFilter


class Wrapped:
    """Log that forwards everything to another one; subclasses change parts of it."""

    def __init__(self, source: EventSource) -> None:
        self.source = source

    @property
    def identity(self) -> str | None:
        """Identity of the log, if it has one."""
        return getattr(self.source, "identity", None)

    @property
    def broken(self) -> int:
        """Number of rows that cannot be events."""
        return self.source.broken

    @property
    def in_memory(self) -> bool:
        """True if the events lie in memory."""
        return self.source.in_memory

    def count(self) -> int | None:
        """Return the number of rows."""
        return self.source.count()

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks."""
        return self.source.chunks(columns, size, after, interest)

    def clock_marks(self) -> pl.DataFrame:
        """Return the clock marks of a live run."""
        return self.source.clock_marks()

    def ahead_marks(self) -> pl.DataFrame:
        """Return the events that do not move the clock."""
        return self.source.ahead_marks()

    @property
    def problems(self) -> pd.DataFrame:
        """Rows that could not be read or are unusual."""
        return self.source.problems


def unwrap(source: EventSource) -> EventSource:
    """Return the log itself, without what is changed of it."""
    while isinstance(source, Wrapped):
        source = source.source
    return source
