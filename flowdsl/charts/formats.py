"""Text for counts, shares, durations and timestamps."""

from __future__ import annotations

import datetime as dt
from typing import Final

from flowdsl.moments import to_micros, to_moment

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_SPANS: Final = (("µs", 1), ("ms", 1_000), ("s", SECOND), ("min", MINUTE), ("h", HOUR), ("d", DAY))
# the number from which on the next unit is used
_MOST: Final = {"µs": 1_000, "ms": 1_000, "s": 60, "min": 60, "h": 48}
_SHORT: Final = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))


def number_text(number: float) -> str:
    """Return a number with thousands set apart and at most four decimals.

    >>> number_text(15322), number_text(0.25), number_text(1234567.0)
    ('15,322', '0.25', '1,234,567')
    """
    if number == int(number):
        return f"{int(number):,}"
    return f"{number:,.4f}".rstrip("0").rstrip(".") if abs(number) >= 0.001 else f"{number:.3g}"


def short_text(number: float) -> str:
    """Return a number in a few characters, for axes.

    >>> [short_text(n) for n in (0, 950, 1500, 20_000, 3_000_000, 0.004)]
    ['0', '950', '1.5k', '20k', '3M', '0.004']
    """
    if abs(number) < 10:
        return f"{number:.3g}"
    sign, size = ("-", -number) if number < 0 else ("", number)
    unit, scale = next((u, s) for u, s in reversed(_SHORT) if size >= s or s == 1)
    return f"{sign}{_three(size / scale)}{unit}"


def axis_text(number: float) -> str:
    """Return a number for an axis: all its digits, as long as they are few.

    >>> [axis_text(n) for n in (0, 0.25, 6_000, 20_000, 3_000_000)]
    ['0', '0.25', '6,000', '20,000', '3M']
    """
    return number_text(number) if 1_000 <= abs(number) < 100_000 else short_text(number)


def share_text(part: float, whole: float) -> str:
    """Return a share in per cent; only an empty share is 0 %, and only a full one 100 %.

    >>> share_text(1, 3), share_text(1, 10_000), share_text(9_999, 10_000), share_text(0, 5)
    ('33 %', '< 0.1 %', '> 99.9 %', '0 %')
    """
    if not whole or not part:
        return "0 %"
    share = 100 * part / whole
    if share < 0.1:
        return "< 0.1 %"
    if share >= 99.95 and part != whole:
        return "> 99.9 %"
    fine = (share < 10 or share > 99) and round(share, 1) != round(share)
    return f"{share:.1f} %" if fine else f"{share:.0f} %"


def span_text(micros: float) -> str:
    """Return a duration in its largest fitting unit, to three digits.

    >>> [span_text(s) for s in (0, 1500, 90_000_000, 3_600_000_000, 36 * 3_600_000_000, 1_000_000_000_000)]
    ['0 s', '1.5 ms', '1.5 min', '1 h', '36 h', '11.6 d']
    """
    if not micros:
        return "0 s"
    for unit, size in _SPANS:
        # a number that rounds up to the next unit is written in that unit
        if unit not in _MOST or float(_three(micros / size)) < _MOST[unit]:
            return f"{_three(micros / size)} {unit}"
    raise AssertionError


def moment(micros: int) -> dt.datetime:
    """Return microseconds since 1970 as a UTC datetime, limited to the range of the calendar."""
    lowest, highest = dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)
    try:
        return to_moment(micros)
    except OverflowError:
        return lowest if micros < 0 else highest


def micros(value: dt.datetime) -> int:
    """Return a datetime as microseconds since 1970; one without a time zone is UTC."""
    return to_micros(value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC))


def moment_text(micros: int, *, seconds: bool = False) -> str:
    """Return a timestamp in UTC, to the minute or the second.

    >>> moment_text(1_767_225_600_000_000), moment_text(1_767_225_601_000_000, seconds=True)
    ('2026-01-01 00:00', '2026-01-01 00:00:01')
    """
    return moment(micros).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def _three(number: float) -> str:
    """Return a number with three digits and no trailing zeros."""
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    text = f"{number:.{digits}f}"
    if float(text) == 0 and number:
        return f"{number:.3g}"
    return text.rstrip("0").rstrip(".") if "." in text else text
