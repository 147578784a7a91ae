"""Columns that hold times, and how these are read: found by their values, the likeliest by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

from flowdsl.arguments import is_number
from flowdsl.errors import DataError
from flowdsl.log.likely_columns import Paths, is_id, word_of, words
from flowdsl.log.timestamps import unit_by_size

# names of columns, the likeliest first
_TIMES: Final = words(
    "timestamp time ts event_time occurred_at event_timestamp created_at createdat originaltimestamp "
    "sent_at received_at triggered_at at when date datetime updated_at order_date purchased_at logged_at "
    "start_time started_at start_date"
)
_FORMATS: Final = words(
    "%a, %d %b %Y %H:%M:%S %z|%m/%d/%Y %I:%M:%S %p|%d-%m-%Y %H:%M|%d-%m-%Y %H:%M:%S|%d-%m-%Y|%d.%m.%Y "
    "%H:%M|%d.%m.%Y %H:%M:%S|%d.%m.%Y|%d/%m/%Y %H:%M|%d/%m/%Y %H:%M:%S|%d/%m/%Y|%m/%d/%Y %H:%M|%m/%d/%Y "
    "%H:%M:%S|%m/%d/%Y|%Y/%m/%d %H:%M:%S|%Y/%m/%d %H:%M|%Y/%m/%d|%Y/%m/%d %H:%M:%S "
    "%z|%Y%m%dT%H%M%S|%Y%m%d|%d %b %Y %H:%M:%S|%b %d, %Y|%a %b %d %H:%M:%S %z %Y|%d/%b/%Y:%H:%M:%S %z",
    "|",
)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*([Zz]|[+-]\d\d(:?\d\d)?)?)?")
_ZONE: Final = re.compile(r":\d\d.*([Zz]|[+-]\d\d(:?\d\d)?)|[A-Z]{2,5}$|[+-]\d{4}\b")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK: Final = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?")
_NUMBER: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,9})?")


def time_of(paths: Paths, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the column of times, and how to read it."""
    read = {path: how for path, values in paths.items() if (how := _reading(values)) is not None}
    if not read:
        raise DataError(
            "no column holds times",
            allowed="times such as 2026-01-02T03:04:05Z or 02.01.2026 03:04, "
            "or numbers of seconds since 1970",
            hint=f"the columns are {', '.join(paths)}",
        )
    path = _likeliest(read, paths)
    others = [repr(other) for other in read if other != path and not is_id(other)]
    if others:
        notes.append(f"other columns with times: {', '.join(others)}")
    how = read[path]
    if "time_unit" not in how and any(map(_is_local, paths[path])):
        how = {**how, "time_zone": "UTC"}
        notes.append(f"the times in {path!r} have no zone, and UTC is only a guess")
    if how.get("time_format", "").startswith(("%d/%m", "%m/%d")):
        notes.append(f"look whether days or months come first in {path!r}")
    return path, how


def _likeliest(found: Iterable[str], paths: Paths) -> str:
    order = {name: place for place, name in enumerate(_TIMES)}
    whole = 0.9 * max(map(len, paths.values()))

    def place(path: str) -> tuple[bool, int, int]:
        # numbers of orders may look like days, and a time that many rows lack is not that of the event
        odd = is_id(path) or len(paths[path]) < whole
        return odd, order.get(word_of(path), len(order)), path.count(".")

    return min(found, key=place)


def clock_of(paths: Paths, day: str) -> str | None:
    """Return the column with the time of day, where the column of times has only days."""
    if not are_all(paths[day], _DAY):
        return None
    return next((p for p, v in paths.items() if len(v) == len(paths[day]) and are_all(v, _CLOCK)), None)


def are_all(values: Sequence[Any], form: re.Pattern[str]) -> bool:
    """Return True if all values are texts of a form."""
    return all(isinstance(value, str) and form.fullmatch(value) for value in values)


def _is_local(value: Any) -> bool:
    """Return True for a time without a zone."""
    if not isinstance(value, str):
        return getattr(value, "tzinfo", None) is None
    return _ZONE.search(value) is None


def _reading(values: Sequence[Any]) -> dict[str, Any] | None:
    """Return how values are read as times; None if they are none."""
    if not values:
        return None
    if all(hasattr(value, "isoformat") and hasattr(value, "year") for value in values):
        return {}
    if all(map(is_number, values)):
        unit = unit_by_size(pl.Series(values, strict=False))
        return None if unit is None else {"time_unit": unit}
    return _reading_of_texts(values) if all(isinstance(value, str) for value in values) else None


def _reading_of_texts(values: Sequence[str]) -> dict[str, Any] | None:
    # beside any format, these are read as they are
    values = [value for value in values if not _RFC3339.fullmatch(value.strip())]
    if not values:
        return {}
    # bytes of another encoding are half a surrogate pair, which Polars refuses
    if not all(map(str.isprintable, values)):
        return None
    if all(map(_NUMBER.fullmatch, values)):
        epoch = _reading([*map(float, values)])
        if epoch is not None:
            return epoch
    texts = pl.Series(values)
    for form in _FORMATS:
        if texts.str.strptime(pl.Datetime, form, strict=False).null_count() == 0:
            return {"time_format": form}
    return None
