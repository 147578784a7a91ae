"""Local time on columns: hours, days, weeks and months, and moments that come again in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from flowdsl.values.json_types import Ints
from flowdsl.values.zones import DAY, SECOND, Zones, first_days, latest_local, to_local, to_utc

Every = Literal["hour", "day", "week", "month"]
PERIODS: Final[tuple[Every, ...]] = get_args(Every)
HOUR: Final = 3600 * SECOND
MINUTE: Final = 60 * SECOND


def time_of_day(moments: Ints, zones: Zones) -> Ints:
    """Return what the local clock shows at moments, in µs since midnight."""
    since: Ints = to_local(moments, zones) % DAY
    return since


def days(moments: Ints, zones: Zones) -> Ints:
    """Return the local date at moments, in days since 1970-01-01."""
    return to_local(moments, zones) // DAY


def weekdays(moments: Ints, zones: Zones) -> Ints:
    """Return the local weekday at moments, 1 for Monday."""
    # day 0 was a Thursday
    found: Ints = (days(moments, zones) + 3) % 7 + 1
    return found


def period_numbers(every: Every, moments: Ints, zones: Zones) -> Ints:
    """Return in which local hour, day, week (from Monday) or month each moment lies, counted from 1970.

    >>> from flowdsl.values.zones import zone_number
    >>> monday = np.array([1_777_852_800_000_000])  # 2026-05-04 00:00 UTC
    >>> new_york = zone_number("America/New_York")
    >>> period_numbers("week", monday, zone_number("UTC")) - period_numbers("week", monday, new_york)
    array([1])
    """
    return _numbers(every, to_local(moments, zones))


# so many moments are looked up one by one; of more, all that they may come to are made first
_FEW: Final = 64


@dataclass(frozen=True)
class Schedule:
    """Local moments that come again.

    Parameters
    ----------
    every
        `"hour"`, `"day"`, `"week"` or `"month"`
    at
        µs from the start of the hour or day
    on
        the weekday, 1 for Monday, or the day of the month; the last one where a month is shorter

    >>> from flowdsl.values.zones import zone_number
    >>> mondays_at_nine = Schedule("week", at=9 * HOUR, on=1)
    >>> noon = np.array([1_774_612_800_000_000])  # Friday, 2026-03-27 12:00 UTC, before summer time
    >>> mondays_at_nine.next_after(noon, zone_number("Europe/Berlin")).astype("datetime64[us]")
    array(['2026-03-30T07:00:00.000000'], dtype='datetime64[us]')
    """

    every: Every
    at: int = 0
    on: int = 1

    def next_after(self, moments: Ints, zones: Zones) -> Ints:
        """Return the first of these moments that is later than each."""
        if isinstance(zones, int) and len(moments) > _FEW:
            ahead = self._all_of(int(moments.min()), int(moments.max()), zones, len(moments) // _FEW)
            if ahead is not None:
                return ahead[np.searchsorted(ahead, moments, side="right")]
        # a local time that the clock has shown does not come again, even where it is shown twice
        shown = latest_local(moments, zones)
        number = _numbers(self.every, shown)
        local = self._local(number)
        passed = local <= shown
        if passed.any():
            local = np.where(passed, self._local(number + 1), local)
        return to_utc(local, zones)

    def _all_of(self, first: int, last: int, zone: int, most: int) -> Ints | None:
        """Return these moments in order, from one at or before `first` to one after `last`; None if there are
        more than `most`.
        """
        begin, end = _numbers(self.every, latest_local(np.array([first, last]), zone)).tolist()
        if end - begin > most:
            return None
        return to_utc(self._local(np.arange(begin, end + 2)), zone)

    def next_from(self, moments: Ints, zones: Zones) -> Ints:
        """Return the first of these moments that is not earlier than each."""
        return self.next_after(moments - 1, zones)

    def _local(self, numbers: Ints) -> Ints:
        starts = _starts(self.every, numbers) + self.at
        if self.every == "week":
            return starts + (self.on - 1) * DAY
        if self.every == "month":
            lengths = first_days(numbers + 1) - first_days(numbers)
            starts += (np.minimum(self.on, lengths) - 1) * DAY
        return starts


def _numbers(every: Every, local: Ints) -> Ints:
    if every == "hour":
        return local // HOUR
    day = local // DAY
    return day if every == "day" else (day + 3) // 7 if every == "week" else _months(day)


def _starts(every: Every, numbers: Ints) -> Ints:
    if every == "hour":
        return numbers * HOUR
    day = numbers if every == "day" else numbers * 7 - 3 if every == "week" else first_days(numbers)
    return day * DAY


def _months(day: Ints) -> Ints:
    months: Ints = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months
