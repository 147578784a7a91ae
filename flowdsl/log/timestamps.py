"""Timestamps as files have them: RFC 3339, counts since 1970, spellings of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

from flowdsl.errors import DataError
from flowdsl.log.columns import (
    FIRST_SECOND,
    LAST_SECOND,
    TIME,
    SchemaCoercer,
    parse_rfc3339,
    utc,
    within_years,
)

TimeUnit = Literal["s", "ms", "us", "ns"]
# what databases and spreadsheets write beside RFC 3339: zones in hours, no seconds, days alone
_SHORTER: Final = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M", "%Y-%m-%d")
PER_SECOND: Final[dict[str, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def instants(
    raw: pl.Series, place: str, shaper: SchemaCoercer, unit: str | None = None, formats: Sequence[str] = ()
) -> pl.Series:
    """Timestamps as UTC microseconds, null where one cannot be read; `shaper` says once that a zone was
    assumed.

    A day alone is its first moment.

    >>> instants(pl.Series([1.5, None]), "a.csv", SchemaCoercer(), unit="s").dt.epoch("us").to_list()
    [1500000, None]
    """
    if raw.dtype == pl.Null:
        return raw.cast(TIME)
    if raw.dtype == pl.Date:
        raw = raw.cast(pl.Datetime("us"))
    if isinstance(raw.dtype, pl.Datetime):
        shaper.say_zone(place, raw.dtype.time_zone is None)
        return utc(within_years(raw))
    if raw.dtype.is_numeric() and unit:
        return _counted(raw, unit)
    if not isinstance(raw.dtype, (pl.String, pl.Categorical, pl.Enum)):
        raise (
            _unit_needed(place)
            if raw.dtype.is_numeric()
            else DataError(
                f"timestamps are {raw.dtype}",
                place=place,
                allowed="a timestamp type, text, or a count with time_unit=",
                hint="columns={'timestamp': function} may make a datetime of a row",
            )
        )
    text = raw.cast(pl.String)
    if unit:
        whole = text.cast(pl.Int64, strict=False)
        rest = _counted(text.cast(pl.Float64, strict=False), unit)
        return _counted(whole, unit).fill_null(rest)
    if formats:
        return _formatted(text, formats, place, shaper)
    times, zoneless = parse_rfc3339(text)
    shaper.say_zone(place, zoneless)
    if times.null_count() > text.null_count():
        shorter = text.str.replace("T", " ", literal=True)
        times = times.fill_null(_formatted(shorter, _SHORTER, place, shaper))
    if times.null_count() == len(times) and text.str.contains(r"^\s*\d+(\.\d+)?\s*$").any():
        raise _unit_needed(place)
    return times


def _counted(numbers: pl.Series, unit: str) -> pl.Series:
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


def _formatted(text: pl.Series, formats: Sequence[str], place: str, shaper: SchemaCoercer) -> pl.Series:
    times = pl.Series(text.name, [None], dtype=TIME).new_from_index(0, len(text))
    for spelling in formats:
        found = text.str.to_datetime(spelling, time_unit="us", strict=False)
        zoneless = isinstance(found.dtype, pl.Datetime) and found.dtype.time_zone is None
        shaper.say_zone(place, zoneless and found.null_count() < len(found))
        times = times.fill_null(utc(found))
    return times


def _unit_needed(place: str) -> DataError:
    return DataError(
        "timestamps are numbers, and only you know their unit",
        place=place,
        allowed="time_unit= one of 's', 'ms', 'us', 'ns'",
        hint="ten digits are seconds, thirteen milliseconds",
    )
