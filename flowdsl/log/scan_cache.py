"""Cache for scans of events in memory: what one has made of them is kept for the next that asks for the same.

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


class _KnownFrame(NamedTuple):
    frame: weakref.ref[Any]
    # the columns that may change, as they were: while they are held no others lie in their places
    columns: pl.DataFrame
    places: list[Hashable]
    cache: ScanCache


_known: dict[int, _KnownFrame] = {}


def cache_of(frame: Any) -> ScanCache | None:
    """Return the cache for scans of a frame as it is now; None for those whose changes would go unnoticed."""
    if not isinstance(frame, pl.DataFrame | pa.Table) or len(frame) > MOST:
        return None
    columns, number = _changeable(frame), id(frame)
    # Python objects may change where they lie
    if pl.Object in columns.dtypes:
        return None
    try:
        places = [_place(column) for column in columns]
    except pa.ArrowInvalid:
        # Arrow has no such type
        return None
    known = _known.get(number)
    if known is None or known.frame() is not frame or known.places != places:
        reference = weakref.ref(frame, lambda _: _known.pop(number, None))
        known = _known[number] = _KnownFrame(reference, columns, places, ScanCache())
    return known.cache


def _changeable(frame: pl.DataFrame | pa.Table) -> pl.DataFrame:
    """Return the columns of events that may be changed; none of an Arrow table."""
    if isinstance(frame, pa.Table):
        return pl.DataFrame()
    return frame[[name for name in frame.columns if name in SCHEMA]]


def _place(column: pl.Series) -> Hashable:
    """Return the name and type of a column, and where its values lie in memory."""
    place: list[Hashable] = [column.name, str(column.dtype)]
    # Arrow gets these as they lie
    plain = column.dtype == pl.String or column.dtype.is_temporal() or column.dtype.is_integer()
    for chunk in column.get_chunks():
        physical = chunk if plain else chunk.to_physical()
        values = physical.to_arrow(compat_level=pl.CompatLevel.newest())
        place += [len(values), values.offset]
        place += [buffer.address for buffer in values.buffers() if buffer is not None]
    return tuple(place)
