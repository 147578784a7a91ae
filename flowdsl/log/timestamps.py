"""Timestamps as files have them: RFC 3339, counts since 1970, spellings of their own, local times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import polars as pl

from flowdsl.errors import DataError, warn
from flowdsl.log.columns import (
    FIRST_SECOND,
    LAST_SECOND,
    TIME,
    SchemaCoercer,
    utc,
    within_years,
    zoned_and_local,
)
from flowdsl.log.problems import Problem
from flowdsl.pluralize import count_text
from flowdsl.values.zones import DAY, to_local, to_utc, zone_number

TimeUnit = Literal["s", "ms", "us", "ns"]
UNITS: Final[tuple[TimeUnit, ...]] = get_args(TimeUnit)
PER_SECOND: Final[dict[str, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# the unit of an epoch follows from its size, from 1980 to 2100: no number is in range in two units
_FIRST_EPOCH, _LAST_EPOCH = 315_532_800, 4_102_444_800
_WORDS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# what databases and spreadsheets write other than RFC 3339: zones in hours, no seconds, days alone
_SHORTER: Final = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_NUMBER: Final = r"^\s*[+-]?\d+(\.\d+)?\s*$"
# what a spreadsheet has for the days from 1982 to 2099
_FIRST_DAY, _LAST_DAY = 30_000, 73_050
_FIRST_DATE, _LAST_DATE = 19_000_101, 21_001_231
Odd = dict[int, tuple[Problem, str]]


class TimeReader:
    """Reads the timestamps of one source by its options, else by how they look; warns once of assumptions."""

    def __init__(
        self,
        unit: TimeUnit | None = None,
        formats: Sequence[str] = (),
        zone: str | None = None,
        *,
        note: bool = True,
    ) -> None:
        self._note = note
        self._unit: TimeUnit | None = unit
        # the unit by the size of the first counts
        self._found: TimeUnit | None = None
        self._formats = formats
        self._zone = zone
        self._shaper = SchemaCoercer()

    def read(self, raw: pl.Series, place: str = "") -> tuple[pl.Series, Odd]:
        """Return timestamps as UTC microseconds, null where one cannot be read, and the rows whose local time
        the clocks of the zone show twice or never.

        A day alone is its first moment.

        >>> TimeReader("s").read(pl.Series([1.5, None]))[0].dt.epoch("us").to_list()
        [1500000, None]
        """
        if raw.dtype == pl.Null:
            return raw.cast(TIME), {}
        if raw.dtype == pl.Date:
            raw = raw.cast(pl.Datetime("us"))
        if isinstance(raw.dtype, pl.Datetime):
            if raw.dtype.time_zone is None:
                return self._local(_micros(within_years(raw)), place)
            return utc(within_years(raw)), {}
        if raw.dtype.is_numeric() and not self._formats:
            plain = raw.cast(pl.Float64) if isinstance(raw.dtype, pl.Decimal) else raw
            return _parse_counts(plain, self._unit_of(raw, place)), {}
        if not isinstance(raw.dtype, (pl.String, pl.Categorical, pl.Enum)) and not raw.dtype.is_integer():
            raise DataError(
                f"timestamps are {raw.dtype}",
                place=place,
                allowed="a timestamp type, text, or a count with time_unit=",
                hint="columns={'timestamp': function} may make a datetime of a row",
            )
        return self._from_text(raw.cast(pl.String), place)

    def _from_text(self, text: pl.Series, place: str) -> tuple[pl.Series, Odd]:
        if self._unit:
            return self._parse_count_texts(text, self._unit), {}
        found = [_format(text, spelling) for spelling in self._formats]
        if not _are_read(text, found):
            found += (one for one in zoned_and_local(text) if one is not None)
        if not self._formats and not _are_read(text, found):
            shorter = text.str.replace("T", " ", literal=True)
            found += [_format(shorter, spelling) for spelling in _SHORTER]
            found += self._epochs(text, place)
        return self._first_read(text, found, place)

    def _first_read(self, text: pl.Series, found: Sequence[pl.Series], place: str) -> tuple[pl.Series, Odd]:
        """Return the first reading of each text that gives a time."""
        if found[0].null_count() == text.null_count() and found[0].dtype == TIME:
            return within_years(found[0]), {}
        times = pl.Series(text.name, [None], dtype=TIME).new_from_index(0, len(text))
        odd: Odd = {}
        for one in found:
            there = (one.is_not_null() & times.is_null()).arg_true()
            if not len(there):
                continue
            some = one.gather(there)
            if isinstance(some.dtype, pl.Datetime) and some.dtype.time_zone is None:
                some, strange = self._local(_micros(within_years(some)), place)
                odd |= {int(there[i]): why for i, why in strange.items()}
            times = times.scatter(there, utc(within_years(some)))
        return times, odd

    def _local(self, local: pl.Series, place: str) -> tuple[pl.Series, Odd]:
        """Return the moments of local times."""
        number = None if self._zone is None else zone_number(self._zone)
        if self._zone is None or number is None:
            self._shaper.warn_of_zone(place, without_zone=len(local) > local.null_count())
            return utc(local), {}
        there = local.is_not_null().arg_true()
        shown = local.gather(there).to_physical().to_numpy()
        moments = to_utc(shown, number)
        never = to_local(moments, number) != shown
        # a time comes again if it does so by the offset of the day after
        offset = to_local(moments + DAY, number) - (moments + DAY)
        later = shown - offset
        twice = (later > moments) & (to_local(later, number) == shown)
        odd: Odd = {}
        for mask, problem, happens, taken in (
            (never, "nonexistent", "is skipped by the clocks", "the moment after the gap is taken"),
            (twice, "ambiguous", "comes twice", "the first is taken"),
        ):
            rows = np.flatnonzero(mask)
            for i in rows.tolist():
                reason = f"{local[int(there[i])]} {happens} in {self._zone}: {taken}"
                odd[int(there[i])] = (problem, reason)  # type: ignore[assignment]
        if odd:
            warn(_warning(odd, self._zone, place))
        whole = np.zeros(len(local), np.int64)
        whole[there.to_numpy()] = moments
        found = pl.Series(local.name, whole).cast(TIME)
        nothing = found.clear().extend_constant(None, 1).new_from_index(0, len(found))
        return found.zip_with(local.is_not_null(), nothing), odd

    def _epochs(self, text: pl.Series, place: str) -> list[pl.Series]:
        """Return the texts that are counts as moments; refused where all are, and no unit fits."""
        counts = text.str.contains(_NUMBER).fill_null(value=False)
        if not counts.any():
            return []
        numbers = text.filter(counts).cast(pl.Float64, strict=False)
        if self._found is None and unit_by_size(numbers) is None and not (counts | text.is_null()).all():
            return []
        unit = self._unit_of(numbers, place)
        return [self._parse_count_texts(text, unit)]

    def _parse_count_texts(self, text: pl.Series, unit: TimeUnit) -> pl.Series:
        whole = text.cast(pl.Int64, strict=False)
        rest = _parse_counts(text.cast(pl.Float64, strict=False), unit)
        return _parse_counts(whole, unit).fill_null(rest)

    def _unit_of(self, numbers: pl.Series, place: str) -> TimeUnit:
        """Return the unit of counts: the one that was given, else the one that their size tells."""
        if self._unit is not None:
            return self._unit
        if self._found is None:
            found = unit_by_size(numbers)
            if found is None:
                raise _unit_needed(numbers, place)
            if self._note:
                low, high = _day(numbers.min(), found), _day(numbers.max(), found)
                warn(
                    f"{place}: timestamps are numbers, by their size {_WORDS[found]} since 1970 "
                    f"({low} to {high}); time_unit={found!r} says so"
                )
            self._found = found
        return self._found


def unit_by_size(numbers: pl.Series) -> TimeUnit | None:
    """Return the unit in which all numbers are moments from 1980 to 2100; None if there is none.

    >>> unit_by_size(pl.Series([1_767_225_600_000]))
    'ms'
    """
    low, high = numbers.min(), numbers.max()
    for unit in UNITS:
        first, end = _FIRST_EPOCH * PER_SECOND[unit], _LAST_EPOCH * PER_SECOND[unit]
        if low is not None and low >= first and high < end:  # type: ignore[operator]
            return unit
    return None


def _day(number: object, unit: str) -> str:
    seconds: Any = number
    return str(dt.datetime.fromtimestamp(float(seconds) / PER_SECOND[unit], dt.UTC).date())


def _warning(odd: Odd, zone: str, place: str) -> str:
    parts = []
    for problem, what in (
        ("ambiguous", "comes twice in {}, when the clocks go back: the first is taken"),
        ("nonexistent", "is skipped in {}, when the clocks go forward: the moment after the gap is taken"),
    ):
        count = sum(sort == problem for sort, _ in odd.values())
        if count:
            parts.append(
                f"{count_text(count, 'local time')} {what.format(zone)}".replace(
                    "times comes", "times come"
                ).replace("times is", "times are")
            )
    return f"{place}: {'; '.join(parts)} (log.problems has the rows)"


def _micros(times: pl.Series) -> pl.Series:
    """Return local times in microseconds; finer digits are cut."""
    return utc(times).dt.replace_time_zone(None)


def _parse_counts(numbers: pl.Series, unit: str) -> pl.Series:
    per_second = PER_SECOND[unit]
    if numbers.dtype.is_integer():
        numbers = numbers.cast(pl.Int64, strict=False)
        # what is beyond the years 1 to 9999 is nothing, before it is multiplied; 64 bits of nanoseconds are
        # within them
        if per_second <= 1_000_000:
            first, last = FIRST_SECOND * per_second, (LAST_SECOND + 1) * per_second
            inside = ((numbers >= first) & (numbers < last)).fill_null(value=False)
            nothing = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(numbers))
            numbers = numbers if inside.all() else numbers.zip_with(inside, nothing)
        micros = numbers // 1000 if per_second > 1_000_000 else numbers * (1_000_000 // per_second)
    else:
        micros = (numbers.cast(pl.Float64) * (1_000_000 / per_second)).round()
        micros = micros.fill_nan(None).cast(pl.Int64, strict=False)
    return micros.cast(TIME)


def _are_read(text: pl.Series, found: Sequence[pl.Series]) -> bool:
    """Return True if some reading gives as many times as there are texts."""
    return bool(found) and sum(one.count() for one in found) >= text.count()


def _format(text: pl.Series, spelling: str) -> pl.Series:
    """Return texts of one format as datetimes, of UTC where the format has a zone."""
    return text.str.to_datetime(spelling, time_unit="us", strict=False)


def _unit_needed(numbers: pl.Series, place: str) -> DataError:
    low, high = float(numbers.min() or 0), float(numbers.max() or 0)  # type: ignore[arg-type]
    hint = "ten digits are seconds, thirteen milliseconds"
    if low >= _FIRST_DAY and high <= _LAST_DAY:
        hint = (
            "they look like days of a spreadsheet; a function makes times of them: "
            "columns={'timestamp': lambda row: …}"
        )
    elif low >= _FIRST_DATE and high <= _LAST_DATE:
        hint = "they look like dates: time_format='%Y%m%d'"
    return DataError(
        f"timestamps are numbers from {low:.16g} to {high:.16g}, and only you know their unit",
        place=place,
        allowed="time_unit= one of 's', 'ms', 'us', 'ns'",
        hint=hint,
    )
