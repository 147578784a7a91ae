"""A log seen through another one, which says some things otherwise and leaves all else to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import polars as pl

from flowdsl.log.source import EventSource

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.log.pushdown import ScanFilter


class Wrapped:
    """A log that is just what another one is: classes of this kind change what they are for."""

    def __init__(self, source: EventSource) -> None:
        self._source = source

    @property
    def source(self) -> EventSource:
        """The log as it is."""
        return self._source

    @property
    def identity(self) -> str | None:
        """What tells the log from all others, where it has that."""
        return getattr(self._source, "identity", None)

    @property
    def broken(self) -> int:
        """Rows that cannot be events."""
        return self._source.broken

    def count(self) -> int | None:
        """How many rows there are."""
        return self._source.count()

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """The events in chunks."""
        return self._source.chunks(columns, size, after, interest)

    def clock_marks(self) -> pl.DataFrame:
        """The clock marks of a live run."""
        return self._source.clock_marks()

    def ahead_marks(self) -> pl.DataFrame:
        """The events that do not move the clock."""
        return self._source.ahead_marks()

    @property
    def problems(self) -> pd.DataFrame:
        """Rows that could not be read or stand out."""
        return self._source.problems
