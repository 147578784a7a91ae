"""The functions over local time on columns; see `declaration.Vectorized`."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from flowdsl.expressions.conditions.local_parts import Parts, hours, minutes
from flowdsl.expressions.conditions.operands import ConstantOperand, Operand, Where
from flowdsl.expressions.conditions.time_functions import moment_of
from flowdsl.values.columns import Column
from flowdsl.values.distinct_texts import UNREAD, read_texts
from flowdsl.values.json_types import Ints, Mask, Tag
from flowdsl.values.local_time import days, weekdays
from flowdsl.values.masks import where_present
from flowdsl.values.zones import zone_number

# timestamps that Polars and Python read alike
_PLAIN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?Z$"
# first and last day, counted from 1970, of the years 1 to 9999: other years have dates of another length
_FIRST_DAY: Final = -719_162
_LAST_DAY: Final = 2_932_896


def hour(size: int, timestamp: Operand, tz: Operand) -> tuple[Column, Where]:
    """Return the hours of local times."""
    return _numbers(size, hours, timestamp, tz)


def minute(size: int, timestamp: Operand, tz: Operand) -> tuple[Column, Where]:
    """Return the minutes of local times."""
    return _numbers(size, minutes, timestamp, tz)


def weekday(size: int, timestamp: Operand, tz: Operand) -> tuple[Column, Where]:
    """Return the weekdays of local times."""
    return _numbers(size, weekdays, timestamp, tz)


def date(size: int, timestamp: Operand, tz: Operand) -> tuple[Column, Where]:
    """Return local dates as text."""
    local, unread = _parts(size, days, timestamp, tz)
    unread |= (local < _FIRST_DAY) | (local > _LAST_DAY)
    texts = pl.Series(np.where(unread, 0, local).astype(np.int32)).cast(pl.Date).cast(pl.String)
    return Column(size, Tag.TEXT, texts=texts), unread


def _numbers(size: int, part: Parts, timestamp: Operand, tz: Operand) -> tuple[Column, Where]:
    numbers, unread = _parts(size, part, timestamp, tz)
    return Column(size, Tag.INT, ints=numbers), unread


def _parts(size: int, part: Parts, timestamp: Operand, tz: Operand) -> tuple[Ints, Mask]:
    """Return a part of each local time, and a mask of the rows for which the scalar function is called."""
    moments, zones = _moments(size, timestamp), _zones(tz)
    unread = (moments == UNREAD) | (zones == UNREAD)
    if unread.any():
        moments, zones = np.where(unread, 0, moments), np.where(unread, _utc(), zones)
    return part(moments, zones), unread


def _utc() -> int:
    found = zone_number("UTC")
    assert found is not None
    return found


def _moments(size: int, timestamp: Operand) -> Ints:
    if isinstance(timestamp, ConstantOperand):
        moment = moment_of(timestamp.value) if isinstance(timestamp.value, str) else None
        return np.full(size, UNREAD if moment is None else moment)
    if timestamp.one_tag() is Tag.TEXT:
        texts = timestamp.text_series()
        plain = texts.str.contains(_PLAIN)
        if plain.all():
            read = texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
            if where_present(read).all():
                return read.to_physical().to_numpy()
    return read_texts(timestamp, moment_of)


def _zones(tz: Operand) -> Ints | int:
    if not isinstance(tz, ConstantOperand):
        return read_texts(tz, zone_number)
    zone = zone_number(tz.value) if isinstance(tz.value, str) else None
    return UNREAD if zone is None else zone
