"""The filter `date`: a time, as text or in seconds, written by a pattern of `%` codes.

The codes are those of production's library (chrono) in English; `locale` is taken and means nothing there either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final

from flowdsl.language.templates.failures import Crash, RenderFailure, Stop
from flowdsl.language.templates.filters.arguments import Arguments
from flowdsl.language.templates.values import is_i64, kind, number

_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d{2}:\d{2})?", re.ASCII
)
_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)
_CODE = re.compile(r"%(?:([-_0])([A-Za-z])|(\.[369]?f|[369]f|:{0,3}z|#z|[A-Za-z+%]))", re.ASCII)
# the years that chrono knows, -262143 to 262142, in seconds from 1970
_LEAST_SECOND: Final = -8_334_601_228_800
_MOST_SECOND: Final = 8_210_266_876_799
_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
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
_NUMBERS: Final = {
    "Y": (4, "0"),
    "C": (2, "0"),
    "y": (2, "0"),
    "G": (4, "0"),
    "g": (2, "0"),
    "q": (1, "0"),
    "m": (2, "0"),
    "d": (2, "0"),
    "e": (2, "_"),
    "H": (2, "0"),
    "k": (2, "_"),
    "I": (2, "0"),
    "l": (2, "_"),
    "M": (2, "0"),
    "S": (2, "0"),
    "f": (9, "0"),
    "j": (3, "0"),
    "U": (2, "0"),
    "W": (2, "0"),
    "V": (2, "0"),
    "u": (1, "0"),
    "w": (1, "0"),
    "s": (9, "-"),
}
"""Codes that print numbers: how wide, and filled up with zeros or spaces."""


@dataclass(frozen=True)
class _Moment:
    """A time to the nanosecond; `zone` is how `%Z` prints its offset, None where it has none."""

    time: datetime
    nanoseconds: int
    zone: str | None


def date(value: Any, args: Arguments) -> str:
    """The time by `format` (`%Y-%m-%d`), in `timezone` if one is given."""
    pattern = args.text("format", "%Y-%m-%d")
    _check(pattern)
    zone = _zone(args.text("timezone")) if "timezone" in args else None
    if isinstance(value, str):
        moment = _of_text(value, zone)
    else:
        found = number(value)
        if not isinstance(found, int) or not is_i64(found):
            raise RenderFailure(f"`date` takes text or whole seconds, not {kind(value)}")
        moment = _of_seconds(found, zone)
    return _CODE.sub(lambda code: _coded(code, moment), _expanded(pattern))


def _check(pattern: str) -> None:
    rest = _CODE.sub(lambda code: "" if _known(code) else "%", pattern)
    if "%" in rest:
        raise RenderFailure(f"`date` cannot read the format {pattern!r}")


def _known(code: re.Match[str]) -> bool:
    padded, plain = code.group(2), code.group(3)
    if padded:
        return padded in _NUMBERS
    return plain in _NUMBERS or f"%{plain}" in _ALIASES or plain[-1] in "fz" or plain in "BbAaPpZtn%"


def _expanded(pattern: str) -> str:
    def alias(code: re.Match[str]) -> str:
        return _ALIASES.get(code.group(), code.group())

    # two rounds, because `%v` and the like stand for codes that stand for others
    return _CODE.sub(alias, _CODE.sub(alias, pattern))


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if not re.fullmatch(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*", name):
        raise RenderFailure(f"`date` knows no time zone {name!r}")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, IsADirectoryError) as error:
        raise RenderFailure(f"`date` knows no time zone {name!r}") from error


def _of_seconds(seconds: int, zone: tzinfo | None) -> _Moment:
    if not _LEAST_SECOND <= seconds <= _MOST_SECOND:
        raise Crash(f"`date` knows no time {seconds} seconds from 1970")
    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        if zone is None:
            return _Moment(time, 0, None)
        time = time.astimezone(zone)
    except OverflowError as error:
        raise Stop(f"`date` knows no time {seconds} seconds from 1970") from error
    return _Moment(time, 0, time.tzname())


def _of_text(text: str, zone: tzinfo | None) -> _Moment:
    if "T" not in text:
        day = _DAY.fullmatch(text)
        if not day:
            raise RenderFailure(f"`date` cannot read {text!r} as YYYY-MM-DD")
        return _Moment(_datetime(text, *map(int, day.groups())), 0, "UTC")
    found = _TIME.fullmatch(text)
    if not found:
        raise RenderFailure(f"`date` cannot read {text!r} as a time such as 2026-01-31T12:00:00Z")
    numbers, fraction, offset = [int(part) for part in found.groups()[:6]], found.group(7), found.group(8)
    nanoseconds = int((fraction or "").ljust(9, "0"))
    if numbers[5] == 60:
        raise Stop("`date` is not exact about leap seconds")
    time = _datetime(text, *numbers)
    if offset is None:
        # a time without an offset stays as it is, whatever zone is asked for
        return _Moment(time, nanoseconds, "UTC")
    minutes = 0 if offset in "Zz" else int(offset[1:3]) * 60 + int(offset[4:])
    if minutes >= 24 * 60 or (offset not in "Zz" and int(offset[4:]) > 59):
        raise RenderFailure(f"`date` cannot read {text!r} as a time such as 2026-01-31T12:00:00Z")
    time = time.replace(tzinfo=timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    if zone is None:
        return _Moment(time, nanoseconds, _offset(time, ":", 2))
    try:
        time = time.astimezone(zone)
    except OverflowError as error:
        raise Stop(f"`date` knows no time {text!r} in that zone") from error
    return _Moment(time, nanoseconds, time.tzname())


def _datetime(text: str, *numbers: int) -> datetime:
    try:
        return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError as error:
        raise RenderFailure(f"`date` cannot read {text!r}: {error}") from error


def _coded(code: re.Match[str], moment: _Moment) -> str:
    padding, padded, plain = code.groups()
    name = padded or plain
    if name in _NUMBERS:
        width, fill = _NUMBERS[name]
        found = _number(name, moment)
        fill = padding or fill
        return str(found) if fill == "-" else f"{found:{width}d}" if fill == "_" else f"{found:0{width}d}"
    if name[-1] == "f":
        return _fraction(name, moment.nanoseconds)
    if name[-1] in "zZ":
        if name == "#z":
            raise Crash("the format of `date` has a code that only reads")
        if moment.zone is None:
            raise Crash(f"`%{name}` needs a time with an offset")
        return moment.zone if name == "Z" else _offset(moment.time, ":" if ":" in name else "", _parts(name))
    time = moment.time
    texts = {"B": _MONTHS[time.month - 1], "A": _DAYS[time.weekday()], "t": "\t", "n": "\n", "%": "%"}
    texts |= {"b": texts["B"][:3], "a": texts["A"][:3], "p": "AM" if time.hour < 12 else "PM"}
    return {**texts, "P": texts["p"].lower()}[name]


def _parts(name: str) -> int:
    return {":::z": 1, "::z": 3}.get(name, 2)


def _fraction(name: str, nanoseconds: int) -> str:
    digits = f"{nanoseconds:09d}"
    if name == ".f":
        short = digits if nanoseconds % 1000 else digits[:6] if nanoseconds % 1_000_000 else digits[:3]
        return "." + short if nanoseconds else ""
    dot = "." if name[0] == "." else ""
    return dot + digits[: int(name.strip(".f"))]


def _offset(time: datetime, separator: str, parts: int) -> str:
    offset = time.utcoffset() or timedelta()
    seconds = int(abs(offset).total_seconds())
    numbers = [seconds // 3600, seconds // 60 % 60, seconds % 60][:parts]
    return ("-" if offset < timedelta() else "+") + separator.join(f"{part:02d}" for part in numbers)


def _number(name: str, moment: _Moment) -> int:
    time = moment.time
    day_of_year = time.timetuple().tm_yday
    week_year, week, week_day = time.isocalendar()
    hour = time.hour % 12 or 12
    return {
        "Y": time.year,
        "C": time.year // 100,
        "y": time.year % 100,
        "G": week_year,
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
        "S": time.second,
        "f": moment.nanoseconds,
        "j": day_of_year,
        "U": (day_of_year + 6 - (time.weekday() + 1) % 7) // 7,
        "W": (day_of_year + 6 - time.weekday()) // 7,
        "V": week,
        "u": week_day,
        "w": week_day % 7,
        "s": int((time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)),
    }[name]
