"""Positions of axis ticks: 1, 2 or 5 times a power of ten, and the starts of calendar units."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flowdsl.charts.formats import DAY, HOUR, MINUTE, SECOND, micros, moment

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# steps of fixed length; longer ones are multiples of shorter ones
_FIXED: Final = tuple(
    n * unit
    for unit, times in (
        (SECOND, (1, 2, 5, 10, 15, 30)),
        (MINUTE, (1, 2, 5, 10, 15, 30)),
        (HOUR, (1, 2, 3, 6, 12)),
        (DAY, (1, 2)),
    )
    for n in times
)
WEEK: Final = 7 * DAY
# 1970-01-05 was a Monday
_MONDAY: Final = 4 * DAY


@dataclass(frozen=True)
class Tick:
    """A position on an axis and its label; `above` is the larger unit where it changes, such as the day above
    hours.
    """

    at: float
    label: str
    above: str = ""


def number_ticks(low: float, high: float, most: int = 5, *, whole: bool = False) -> list[float]:
    """Return about `most` round numbers that cover `low` to `high`; only whole ones for counts.

    >>> number_ticks(0, 87), number_ticks(0, 0.4, 4), number_ticks(0, 1, whole=True)
    ([0, 20, 40, 60, 80, 100], [0.0, 0.1, 0.2, 0.3, 0.4], [0, 1])
    """
    if high <= low:
        high = low + 1
    step = max(round_step((high - low) / most), 1 if whole else 0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    ticks = [round(n * step, digits) for n in range(first, last + 1)]
    return [*map(int, ticks)] if step >= 1 else ticks


def span_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return about `most` round durations that cover `low` to `high`, in microseconds.

    >>> [tick / MINUTE for tick in span_ticks(0, 50 * MINUTE)]
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    size = max(high - low, 1.0) / most
    steps = (step for step in (*_FIXED, WEEK) if step >= size)
    step = round_step(size) if size < SECOND else next(steps, round_step(size / DAY) * DAY)
    return [n * step for n in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def round_step(size: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not smaller.

    >>> round_step(17), round_step(20), round_step(0.3), round_step(51)
    (20, 20, 0.5, 100)
    """
    power = 10.0 ** math.floor(math.log10(size))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= size * (1 - 1e-9))
    return int(step) if step >= 1 else step


def time_ticks(low: int, high: int, most: int = 8) -> list[Tick]:
    """Return about `most` starts of calendar units (UTC, in µs) within a range.

    >>> ticks = time_ticks(micros(dt.datetime(2026, 1, 1, 20)), micros(dt.datetime(2026, 1, 2, 9)), 4)
    >>> [(t.label, t.above) for t in ticks]
    [('00:00', '2 Jan 2026'), ('06:00', '')]
    """
    places, form = _places(low, high, most)
    ticks, before = [], ""
    for place in places:
        label, above = _labels(moment(place), form)
        ticks.append(Tick(place, label, above if above != before else ""))
        before = above
    return ticks


def _places(low: int, high: int, most: int) -> tuple[list[int], str]:
    for step in _FIXED:
        if (high - low) / step <= most:
            places = list(range(-(-low // step) * step, high + 1, step))
            return places, "second" if step < MINUTE else "minute" if step < DAY else "day"
    for step in (WEEK, 2 * WEEK):
        if (high - low) / step <= most:
            return list(range(-(-(low - _MONDAY) // step) * step + _MONDAY, high + 1, step)), "day"
    for months in (1, 2, 3, 6):
        if (high - low) / (months * 30 * DAY) <= most:
            return list(_months(low, high, months)), "month"
    years = int(round_step(max((high - low) / (365 * DAY) / most, 1)))
    return list(_years(low, high, years)), "year"


def _months(low: int, high: int, step: int) -> Iterator[int]:
    first = moment(low)
    number = 12 * first.year + (first.month - 1) // step * step
    while number // 12 <= dt.MAXYEAR:
        at = month_start(number)
        if at > high:
            return
        if at >= low:
            yield at
        number += step


def month_start(number: int) -> int:
    """Return the first moment (µs) of a month, counted as 12 × year + month − 1."""
    return micros(dt.datetime(number // 12, number % 12 + 1, 1))


def _years(low: int, high: int, step: int) -> Iterator[int]:
    year = max(moment(low).year // step * step, step)
    while year <= dt.MAXYEAR:
        at = micros(dt.datetime(year, 1, 1))
        if at > high:
            return
        if at >= low:
            yield at
        year += step


def _labels(at: dt.datetime, form: str) -> tuple[str, str]:
    day = f"{at.day} {MONTHS[at.month - 1]}"
    if form == "second":
        return f"{at:%H:%M:%S}", f"{day} {at.year}"
    if form == "minute":
        return f"{at:%H:%M}", f"{day} {at.year}"
    if form == "day":
        return day, str(at.year)
    if form == "month":
        return MONTHS[at.month - 1], str(at.year)
    return str(at.year), ""
