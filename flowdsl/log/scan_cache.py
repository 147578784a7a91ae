"""What scans of events in memory have made of them, kept for the next scan that asks for the same.

People replay one flow after another over the same events. Integers for their ids and the values of their JSON
are most of the work, and the same each time.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from operator import is_
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa

from flowdsl.log.columns import SCHEMA

# scans kept of a log, and the most events that one of them may have
_KEPT: Final = 2
MOST: Final = 1 << 22


class Scan(NamedTuple):
    """All chunks of a log, as they were prepared, and the number of rows that cannot be events."""

    chunks: list[Any]
    broken: int


class ScanCache:
    """The last scans of a log that does not change.

    They belong to their owners, who have given ids their integers: scans for others replace them.
    """

    def __init__(self) -> None:
        # replaced as a whole, so that threads need no lock
        self._kept: tuple[tuple[Any, ...], dict[Hashable, Scan]] = (), {}

    def find(self, owners: tuple[Any, ...], key: Hashable) -> Scan | None:
        """Return the scan that was kept for the same owners and key."""
        return self._scans_for(owners).get(key)

    def keep(self, owners: tuple[Any, ...], key: Hashable, scan: Scan) -> None:
        """Keep a scan of the whole log, in place of the oldest one."""
        others = [item for item in self._scans_for(owners).items() if item[0] != key]
        self._kept = owners, dict([*others[1 - _KEPT :], (key, scan)])

    def _scans_for(self, owners: tuple[Any, ...]) -> dict[Hashable, Scan]:
        kept_for, scans = self._kept
        return scans if len(kept_for) == len(owners) and all(map(is_, kept_for, owners)) else {}


class _Known(NamedTuple):
    frame: weakref.ref[Any]
    # the columns as they were, and where: while they are held no others can lie there
    columns: pl.DataFrame | None
    places: Hashable
    cache: ScanCache


_known: dict[int, _Known] = {}


def cache_of(frame: Any) -> ScanCache | None:
    """Return the cache for scans of a frame as it is now; None for those whose changes would go unnoticed."""
    if not isinstance(frame, pl.DataFrame | pa.Table):
        return None
    number, columns = id(frame), None
    if isinstance(frame, pl.DataFrame):
        columns = frame[[name for name in frame.columns if name in SCHEMA]]
    places = None if columns is None else _places(columns)
    known = _known.get(number)
    if known is None or known.frame() is not frame or known.places != places:
        reference = weakref.ref(frame, lambda gone: _forget(number, gone))
        known = _known[number] = _Known(reference, columns, places, ScanCache())
    return known.cache


def _forget(number: int, frame: weakref.ref[Any]) -> None:
    known = _known.get(number)
    if known is not None and known.frame is frame:
        del _known[number]


def _places(frame: pl.DataFrame) -> Hashable:
    return tuple(
        (series.name, str(series.dtype), *map(_places_of_chunk, series.get_chunks()))
        for series in frame.get_columns()
    )


def _places_of_chunk(chunk: pl.Series) -> Hashable:
    array = chunk.to_physical().to_arrow(compat_level=pl.CompatLevel.newest())
    return len(array), array.offset, *(buffer and buffer.address for buffer in array.buffers())
