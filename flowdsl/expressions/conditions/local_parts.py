"""Parts of local times, on arrays of moments (µs since 1970) and of zones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from flowdsl.values.json_types import Ints
from flowdsl.values.local_time import HOUR, MINUTE, days, time_of_day, weekdays
from flowdsl.values.zones import zone_number

Parts = Callable[[Ints, Ints | int], Ints]


def hours(moments: Ints, zones: Ints | int) -> Ints:
    """Return the hours that local clocks show."""
    return time_of_day(moments, zones) // HOUR


def minutes(moments: Ints, zones: Ints | int) -> Ints:
    """Return the minutes that local clocks show."""
    return time_of_day(moments, zones) % HOUR // MINUTE


PARTS: Final[Mapping[str, Parts]] = {"hour": hours, "minute": minutes, "weekday": weekdays, "date": days}


def part_of(name: str, moment: int, tz: str) -> int | str | None:
    """Return a part of the local time at one moment; None for an unknown time zone."""
    zone = zone_number(tz)
    if zone is None:
        return None
    part = int(PARTS[name](np.array([moment]), zone)[0])
    return str(np.datetime64(part, "D")) if name == "date" else part
