"""Filter `date`: formats a time given as text or in seconds.

The codes are those of production's library (chrono) in English; `locale` is accepted and ignored, as in
production.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Final

from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.expressions.templates.filters.declaration import column_form, value_filter
from flowdsl.expressions.templates.filters.moments import Moment, is_known, read_day, read_time
from flowdsl.expressions.templates.values import is_i64, kind, number

_CODE = re.compile(r"%(?:([-_0])([A-Za-z])|(\.[369]?f|[369]f|:{0,3}z|#z|[A-Za-z+%]))", re.ASCII)
_NAMES: Final = "January February March April May June July August September October November December"
_MONTHS: Final = _NAMES.split()
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ALIASES: Final = {
    "%D": "%m/%d/%y",
    "%x": "%m/%d/%y",
    "%F": "%Y-%m-%d",
    "%v": "%e-%b-%Y",
    "%R": "%H:%M",
    "%T": "%H:%M:%S",
    "%X": "%H:%M:%S",
    "%r": "%I:%M:%S %p",
    "%c": "%a %b %e %H:%M:%S %Y",
    "%+": "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%h": "%b",
}
_NUMBERS: Final = frozenset("YCyGgqmdeHkIlMSfjUWVuws")
"""Codes that print numbers."""
_WIDTHS: Final = {"Y": 4, "G": 4, "j": 3, "f": 9, "s": 9, "q": 1, "u": 1, "w": 1}
"""How wide these are, where it is not two digits."""
_FILLS: Final = {"e": "_", "k": "_", "l": "_", "s": "-"}
"""What fills them up, where it is no zero."""


@value_filter("date", optional=("format", "timezone", "locale"), column=column_form("date"))
def date(value: Any, args: Arguments) -> str:
    """Format a time by `format` (default `%Y-%m-%d`), in `timezone` if given."""
    pattern = expand(args.text("format", "%Y-%m-%d"))
    zone = _zone(args.text("timezone")) if "timezone" in args else None
    if isinstance(value, str):
        moment = _of_text(value, zone)
    else:
        found = number(value)
        if not isinstance(found, int) or not is_i64(found):
            raise RenderError(f"`date` takes text or whole seconds, not {kind(value)}")
        moment = _of_seconds(found, zone)
    return _CODE.sub(lambda code: _format_code(code, moment), pattern)


@lru_cache
def expand(pattern: str) -> str:
    """Return a format without aliases; raise `RenderError` if it has unknown codes."""
    rest = _CODE.sub(lambda code: "" if _is_known(code) else "%", pattern)
    if "%" in rest:
        raise RenderError(f"`date` cannot read the format {pattern!r}")
    # two rounds, because aliases such as `%v` contain further aliases
    for _ in range(2):
        pattern = _CODE.sub(lambda code: _ALIASES.get(code.group(), code.group()), pattern)
    return pattern


def _is_known(code: re.Match[str]) -> bool:
    padded, plain = code.group(2), code.group(3)
    if padded:
        return padded in _NUMBERS
    return plain in _NUMBERS or f"%{plain}" in _ALIASES or plain[-1] in "fz" or plain in "BbAaPpZtn%"


def codes_of(pattern: str) -> set[str]:
    """Return the letters of the codes in a format."""
    return {code.group()[-1] for code in _CODE.finditer(expand(pattern))}


@lru_cache
def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if not re.fullmatch(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*", name):
        raise RenderError(f"`date` knows no time zone {name!r}")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        # the name of a folder, or too long for a file name
        raise RenderError(f"`date` knows no time zone {name!r}") from error


def _of_seconds(seconds: int, zone: tzinfo | None) -> Moment:
    if not is_known(seconds):
        raise RenderCrashError(f"`date` knows no time {seconds} seconds from 1970")
    moment = Moment(seconds)
    return moment if zone is None else moment.at(zone)


def _of_text(text: str, zone: tzinfo | None) -> Moment:
    if "T" not in text:
        day = read_day(text)
        if day is None:
            raise RenderError(f"`date` cannot read {text!r} as YYYY-MM-DD")
        return day
    moment = read_time(text)
    if moment is None:
        raise RenderError(f"`date` cannot read {text!r} as a time such as 2026-01-31T12:00:00Z")
    # a time without an offset is not converted to the zone of the filter
    if moment.zone is not None:
        return moment
    return replace(moment, zone=_offset(moment.offset or 0, ":", 2)) if zone is None else moment.at(zone)


def _format_code(code: re.Match[str], moment: Moment) -> str:
    padding, padded, plain = code.groups()
    name = padded or plain
    if name in _NUMBERS:
        return _pad(name, _number(name, moment), _WIDTHS.get(name, 2), padding or _FILLS.get(name, "0"))
    if name[-1] == "f":
        return _fraction(name, moment.nanoseconds % 1_000_000_000)
    if name[-1] in "zZ":
        return _zone_text(name, moment)
    time = moment.time
    month, day = _MONTHS[time.month - 1], _DAYS[time.weekday()]
    texts = {"B": month, "A": day, "t": "\t", "n": "\n", "%": "%"}
    texts |= {"b": month[:3], "a": day[:3], "p": "AM" if time.hour < 12 else "PM"}
    return {**texts, "P": texts["p"].lower()}[name]


def _zone_text(name: str, moment: Moment) -> str:
    if name == "#z":
        raise RenderCrashError("the format of `date` has a code that only reads")
    if moment.zone is None or moment.offset is None:
        raise RenderCrashError(f"`%{name}` needs a time with an offset")
    if name == "Z":
        return moment.zone
    return _offset(moment.offset, ":" if ":" in name else "", _parts(name))


def _pad(name: str, number: int, width: int, fill: str) -> str:
    if name == "C":
        # chrono prints the tens of a byte as one character, counted on from `0`, even beyond `9`
        tens, ones = divmod(number % 256, 10)
        head = chr(ord("0") + tens) if tens else {"0": "0", "_": " "}.get(fill, "")
        return f"{head}{ones}"
    sign = "+" if name in "YG" and not 0 <= number <= 9999 else ""
    width += bool(sign)
    return format(number, {"-": sign, "_": f"{sign}{width}d"}.get(fill, f"{sign}0{width}d"))


def _parts(name: str) -> int:
    return {":::z": 1, "::z": 3}.get(name, 2)


def _fraction(name: str, nanoseconds: int) -> str:
    digits = f"{nanoseconds:09d}"
    if name == ".f":
        short = digits if nanoseconds % 1000 else digits[:6] if nanoseconds % 1_000_000 else digits[:3]
        return "." + short if nanoseconds else ""
    dot = "." if name[0] == "." else ""
    return dot + digits[: int(name.strip(".f"))]


def _offset(offset: int, separator: str, parts: int) -> str:
    seconds = abs(offset)
    if parts == 2:
        # to the nearest minute
        seconds += 30
    numbers = [seconds // 3600, seconds // 60 % 60, seconds % 60][:parts]
    return ("-" if offset < 0 else "+") + separator.join(f"{part:02d}" for part in numbers)


def _number(name: str, moment: Moment) -> int:
    time, years = moment.time, moment.years
    day_of_year = time.timetuple().tm_yday
    week_year, week, week_day = time.isocalendar()
    hour = time.hour % 12 or 12
    return {
        "Y": time.year + years,
        "C": (time.year + years) // 100,
        "y": time.year % 100,
        "G": week_year + years,
        "g": week_year % 100,
        "q": (time.month + 2) // 3,
        "m": time.month,
        "d": time.day,
        "e": time.day,
        "H": time.hour,
        "k": time.hour,
        "I": hour,
        "l": hour,
        "M": time.minute,
        "S": time.second + moment.nanoseconds // 1_000_000_000,
        "f": moment.nanoseconds % 1_000_000_000,
        "j": day_of_year,
        "U": (day_of_year + 6 - (time.weekday() + 1) % 7) // 7,
        "W": (day_of_year + 6 - time.weekday()) // 7,
        "V": week,
        "u": week_day,
        "w": week_day % 7,
        "s": moment.timestamp,
    }[name]
