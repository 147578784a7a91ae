"""Moments as microseconds since 1970, and as datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_moment(micros: int) -> datetime:
    """Return microseconds since 1970 as a datetime in UTC.

    >>> to_moment(1_500_000).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return EPOCH + micros * _MICROSECOND


def to_micros(moment: datetime) -> int:
    """Return the microseconds since 1970 of a datetime with a time zone; finer digits are cut.

    >>> to_micros(to_moment(1_500_000))
    1500000
    """
    return (moment - EPOCH) // _MICROSECOND
