"""Times with the range of production's library (chrono): years -262143 to 262142, and leap seconds.

Python's times only reach from year 1 to 9999. As the calendar repeats every 400 years, a time is mapped to a
Python time in the years 1970 to 2369, plus a multiple of 400 years.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from flowdsl.values.white_space import WHITE_SPACE

_DAY: Final = 86_400
_CYCLE: Final = 146_097 * _DAY
_EPOCH: Final = datetime(1970, 1, 1)
_ORDINAL: Final = _EPOCH.toordinal()
_LEAST_YEAR: Final = -262_143
_MOST_YEAR: Final = 262_142
# offsets of zones are known up to the end of 2099; later times use the last one
_ZONES_END: Final = 4_102_444_799
_ZONES_BEGIN: Final = -62_100_000_000

_BLANKS: Final = f"[{WHITE_SPACE}]*"
_NUMBER: Final = rf"{_BLANKS}([0-9]{{1,2}})"
_YEAR: Final = rf"{_BLANKS}([+-][0-9]+|[0-9]{{1,4}})"
_DATE: Final = rf"{_YEAR}{_BLANKS}-{_NUMBER}{_BLANKS}-{_NUMBER}"
_CLOCK: Final = rf"{_NUMBER}{_BLANKS}:{_NUMBER}{_BLANKS}:{_NUMBER}(?:\.([0-9]{{1,9}})[0-9]*)?{_BLANKS}"
_OFFSET: Final = rf"(?:(UTC|Z)|([+\-\u2212])([0-9]{{2}})[:{WHITE_SPACE}]*([0-5][0-9])){_BLANKS}"
_DAY_ALONE: Final = re.compile(f"{_YEAR}-{_NUMBER}-{_NUMBER}")
_WITH_OFFSET: Final = re.compile(_DATE + "[Tt ]" + _CLOCK + _OFFSET, re.IGNORECASE)
_WITHOUT_OFFSET: Final = re.compile(_DATE + _BLANKS + "T" + _CLOCK)


@dataclass(frozen=True)
class Moment:
    """Time with nanoseconds in some zone.

    `seconds` counts from 1970 by the zone's clock, `offset` is its distance from UTC in seconds, and `zone`
    its name; the last two may be None. In a leap second, `nanoseconds` is 1,000,000,000 or more.
    """

    seconds: int
    nanoseconds: int = 0
    offset: int | None = None
    zone: str | None = None

    @property
    def time(self) -> datetime:
        """The same time in one of the years 1970 to 2369."""
        return _EPOCH + timedelta(seconds=self.seconds % _CYCLE)

    @property
    def years(self) -> int:
        """The number of years to add to that time; a multiple of 400."""
        return self.seconds // _CYCLE * 400

    @property
    def timestamp(self) -> int:
        """Seconds since 1970 in UTC."""
        return self.seconds - (self.offset or 0)

    def at(self, zone: tzinfo) -> Moment:
        """Return the same moment in another zone."""
        known = min(max(self.timestamp, _ZONES_BEGIN), _ZONES_END)
        there = datetime.fromtimestamp(known, UTC).astimezone(zone)
        offset = int((there.utcoffset() or timedelta()).total_seconds())
        return Moment(self.timestamp + offset, self.nanoseconds, offset, there.tzname())


def is_known(seconds: int) -> bool:
    """Return True if a number of seconds since 1970 is within production's years."""
    return _LEAST_SECONDS <= seconds <= _MOST_SECONDS


def read_day(text: str) -> Moment | None:
    """Parse a day such as `2026-01-31`; return None if it is not one."""
    found = _DAY_ALONE.fullmatch(text)
    seconds = _seconds(*found.groups()) if found else None
    return None if seconds is None else Moment(seconds, 0, 0, "UTC")


def read_time(text: str) -> Moment | None:
    """Parse a time such as `2026-01-31T12:00:00Z`, UTC without an offset; return None if it is not one."""
    for found, offset in _readings(text):
        year, month, day, *clock, fraction = found.groups()[:7]
        day_seconds, time_seconds = _seconds(year, month, day), _time_of_day(*map(int, clock))
        if day_seconds is None or time_seconds is None or abs(offset) >= _DAY:
            continue
        seconds = day_seconds + time_seconds
        nanoseconds = int((fraction or "").ljust(9, "0")) + (1_000_000_000 if clock[2] == "60" else 0)
        if is_known(seconds - offset):
            name = "UTC" if found.re is _WITHOUT_OFFSET else None
            return Moment(seconds, nanoseconds, offset, name)
    return None


def _time_of_day(hour: int, minute: int, second: int) -> int | None:
    """Return the seconds since midnight, with second 60 as 59; None if there is no such time."""
    if hour > 23 or minute > 59 or second > 60:
        return None
    return hour * 3600 + minute * 60 + min(second, 59)


def _readings(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Yield the possible readings of the text with their offset from UTC in seconds."""
    if (found := _WITH_OFFSET.fullmatch(text)) is not None:
        named, sign, hours, minutes = found.groups()[7:]
        offset = 0 if named else int(hours) * 3600 + int(minutes) * 60
        yield found, offset if named or sign == "+" else -offset
    if (found := _WITHOUT_OFFSET.fullmatch(text)) is not None:
        yield found, 0


def _seconds(year: str, month: str, day: str) -> int | None:
    """Return the seconds from 1970 to the start of a day, or None if there is no such day."""
    number = int(year) if len(year) < 20 else _MOST_YEAR + 1
    if not _LEAST_YEAR <= number <= _MOST_YEAR:
        return None
    cycles, rest = divmod(number - 2000, 400)
    try:
        days = date(2000 + rest, int(month), int(day)).toordinal() - _ORDINAL
    except ValueError:
        return None
    return days * _DAY + cycles * _CYCLE


_LEAST_SECONDS: Final = _seconds(str(_LEAST_YEAR), "1", "1") or 0
_MOST_SECONDS: Final = (_seconds(f"+{_MOST_YEAR}", "12", "31") or 0) + _DAY - 1
