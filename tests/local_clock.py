"""Local clocks for tests, apart from the engine: Python's zoneinfo on the files of the package `tzdata`."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@functools.cache
def zone(name: str) -> ZoneInfo:
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def micros(text: str) -> int:
    """Return the µs since 1970 of an ISO text; local times count as if they were UTC."""
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // MICROSECOND


def shown(moment: int, name: str) -> datetime:
    """Return what the clock on a wall there shows."""
    return (EPOCH + moment * MICROSECOND).astimezone(zone(name)).replace(tzinfo=None)


def first_moment(local: datetime, name: str) -> int:
    """Return the first moment at which the clock shows this, or is past it where it skips this."""
    there = zone(name)
    low, high = sorted((local.replace(tzinfo=there, fold=n) - EPOCH) // MICROSECOND for n in (0, 1))
    if shown(low, name) == local:
        return low
    # in a gap, whose end lies between the two readings
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle, name) >= local else (middle, high)
    return high
