"""Interface of event sources."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

import polars as pl

if TYPE_CHECKING:
    import os

    import pandas as pd

    from flowdsl.frames import FrameLike
    from flowdsl.log.pushdown import ScanFilter


class EventSource(Protocol):
    """Interface of event sources: events in order of `seq_no`, read in chunks, any number of times.

    Examples
    --------
    >>> from flowdsl.log import open_log
    >>> open_log([]).broken
    0
    """

    @property
    def broken(self) -> int:
        """Number of rows that the last reading skipped because they cannot be events."""
        ...

    @property
    def in_memory(self) -> bool:
        """True if the events lie in memory, so that a chunk of any size is no copy."""
        ...

    def count(self) -> int | None:
        """Return the number of rows, broken ones included.

        Returns
        -------
        int or None
            The number, or None if only reading would tell.

        Examples
        --------
        >>> from flowdsl.log import open_log
        >>> open_log([]).count()
        0
        """
        ...

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks.

        Parameters
        ----------
        columns
            The columns wanted in addition to `seq_no`, `timestamp` and `kind`.
        size
            The greatest number of events per frame.
        after
            Only events after this number.
        interest
            Which events matter. Stretches without any may have null in all columns but `seq_no`, `timestamp`
            and `kind`.

        Yields
        ------
        polars.DataFrame
            Events, strictly ascending in `seq_no` (Int64), with `timestamp` (UTC, microseconds), `kind` (an
            Enum of the five), and those of `columns` that an event table has: text columns as String, null
            where the source lacks them; `data` and `metadata` as JSON text or as the source's nested type.

        Examples
        --------
        >>> from flowdsl.log import open_log
        >>> [chunk["seq_no"].to_list() for chunk in open_log([]).chunks([], 100)]
        []
        """
        ...

    def clock_marks(self) -> pl.DataFrame:
        """Return the clock marks of a live run.

        Returns
        -------
        polars.DataFrame
            `seq_no` and `clock`: the clock after an event at which a timer fired without one.

        Examples
        --------
        >>> from flowdsl.log import open_log
        >>> open_log([]).clock_marks().columns
        ['seq_no', 'clock']
        """
        ...

    def ahead_marks(self) -> pl.DataFrame:
        """Return the events that do not move the log clock.

        Returns
        -------
        polars.DataFrame
            `seq_no` and `clock`, the clock at the event unless it is later already.

        Examples
        --------
        >>> from flowdsl.log import open_log
        >>> open_log([]).ahead_marks().columns
        ['seq_no', 'clock']
        """
        ...

    @property
    def problems(self) -> pd.DataFrame:
        """Rows that could not be read or are unusual: `place`, `row`, `problem`, `reason`, `text`."""
        ...


LogLike: TypeAlias = "EventSource | str | os.PathLike[str] | FrameLike | Iterable[Mapping[str, Any]]"


def is_source(log: object) -> TypeGuard[EventSource]:
    """Return True if an object is an `EventSource`; does not touch its `problems`, which may be expensive."""
    return callable(getattr(log, "chunks", None)) and callable(getattr(log, "clock_marks", None))
