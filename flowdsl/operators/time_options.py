"""Types of options about time: zones, local times of day, days, hours, and durations that data may say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from flowdsl.errors import BuildError, did_you_mean
from flowdsl.expressions.durations import Duration, parse_duration
from flowdsl.expressions.var import Var
from flowdsl.operators.options import (
    DURATION_PATTERN,
    DURATION_SAYS,
    OptionType,
    as_path,
    choice,
    option,
    text_schema,
)
from flowdsl.operators.scope import Scope
from flowdsl.text import short_repr
from flowdsl.values.local_time import HOUR, MINUTE, PERIODS, Every, Schedule
from flowdsl.values.paths import Path, path_text
from flowdsl.values.zones import DAY, SECOND, zone_names

Zone = str | Path
"""The name of a zone, or the path to one."""
DurationOrPath = Duration | Path


class Clock(int):
    """A time of day in microseconds since midnight; a number that is given is not taken for one."""


WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OFFSET: Final = re.compile(r"(?:UTC|GMT|CET|EST)?[+-][0-9]", re.IGNORECASE)
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_LOOSE_CLOCK: Final = re.compile(r"([0-9]{1,2})(?:[:.h]([0-9]{2})?)? ?([ap]\.?m\.?)?", re.IGNORECASE)
_CLOCK_PATTERN: Final = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"


_WORDS: Final = {
    "tomorrow": "write until='09:00' for the next nine o'clock, or '1d'",
    "day": "write '1d'",
    "a day": "write '1d'",
    "week": "write '1w'",
    "hour": "write '1h'",
    "an hour": "write '1h'",
    "minute": "write '1m'",
    "month": "write '30d'",
}


def _read_zone_name(value: Any, what: str) -> str:
    if isinstance(value, str) and value in zone_names():
        return value
    raise BuildError(
        f"{what} {short_repr(value, 200)} is not a time zone",
        allowed="an IANA name, such as 'Europe/Berlin' or 'UTC'",
        hint=did_you_mean(value, zone_names()) if isinstance(value, str) else None,
    )


def _read_zone(value: Any, what: str) -> Zone:
    if isinstance(value, str) and (value in zone_names() or "/" in value):
        return _read_zone_name(value, what)
    path = as_path(value)
    if path_text(path) in zone_names():
        raise BuildError(
            f"{what}: {path_text(path)!r} is the name of a zone, and cannot be that of a variable here",
            hint="set the variable under another name",
        )
    return path


def _read_duration(value: Any, what: str) -> DurationOrPath:
    if isinstance(value, str) and not re.match(r"\s*[-+0-9.]|\s*$", value):
        return as_path(value)
    if not isinstance(value, (Var, tuple)):
        return parse_duration(value)
    path = as_path(value)
    if path[0][:1].isdigit():
        raise BuildError(
            f"{what}: {path_text(path)!r} begins with a digit, as durations do", hint="rename it"
        )
    return path


def clock_text(time: int) -> str:
    """Return a time of day as options have it.

    >>> clock_text(9 * HOUR), clock_text(9 * HOUR + 30 * SECOND)
    ('09:00', '09:00:30')
    """
    seconds = time // SECOND
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return f"{text}:{seconds % 60:02}" if seconds % 60 else text


def _read_clock(value: Any, what: str) -> Clock:
    if isinstance(value, Clock):
        return value
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        meant = _guess_clock(value) if isinstance(value, str) else None
        raise BuildError(
            f"{what} {short_repr(value, 200)} is not a time of day",
            allowed="hours and minutes of a day, such as '09:00', with seconds if need be",
            hint=f"did you mean '{meant}'?" if meant else None,
        )
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return Clock(hours * HOUR + minutes * MINUTE + seconds * SECOND)


def _guess_clock(text: str) -> str | None:
    """Return the time of day that is meant by a loose one: `9`, `9.30`, `9 pm`, `24:00`."""
    if _CLOCK.fullmatch(text):
        return text
    loose = _LOOSE_CLOCK.fullmatch(text.strip())
    if loose is None:
        return None
    hour = int(loose[1])
    if loose[3]:
        hour = hour % 12 + (12 if loose[3][0] in "pP" else 0) if 1 <= hour <= 12 else 99
    meant = f"{0 if hour == 24 else hour:02}:{loose[2] or '00'}"
    return meant if _CLOCK.fullmatch(meant) else None


def _guess_hours(value: Any) -> str | None:
    """Return the stretch of hours that is meant by a loose one: `8-22`, `08:00–22:00`, a pair of times."""
    parts = re.split(r"\s*(?:-|–|—|\bto\b)\s*", value) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        return None
    meant = list(map(_guess_clock, parts))
    return f"{meant[0]}-{meant[1]}" if all(meant) else None


def _read_hours(value: Any, what: str) -> tuple[Clock, Clock]:
    if isinstance(value, tuple) and [*map(type, value)] == [Clock, Clock]:
        return value
    begin, dash, end = value.partition("-") if isinstance(value, str) else ("", "", "")
    begin, end = begin.strip(), end.strip()
    if not dash or not _CLOCK.fullmatch(begin) or not (end == "24:00" or _CLOCK.fullmatch(end)):
        meant = _guess_hours(value)
        raise BuildError(
            f"{what} {short_repr(value, 200)} is not a stretch of hours",
            allowed="two times of a day, such as '08:00-22:00'",
            hint=f"did you mean '{meant}'?" if meant else None,
        )
    hours = _read_clock(begin, what), Clock(DAY) if end == "24:00" else _read_clock(end, what)
    if hours[0] == hours[1]:
        raise BuildError(f"{what} {value!r} begins when it ends", allowed="two different times of day")
    return hours


def hours_text(hours: tuple[int, int]) -> str:
    """Return a range of hours as text, such as `08:00-22:00`."""
    return f"{clock_text(hours[0])}-{clock_text(hours[1])}"


def _read_day(value: Any, what: str) -> str | int:
    if (isinstance(value, str) and value in WEEKDAYS) or (type(value) is int and 1 <= value <= 31):
        return value
    hint = did_you_mean(value[:3].lower(), WEEKDAYS) if isinstance(value, str) else None
    if isinstance(value, (list, tuple)):
        hint = "one day for each step: make a flow for each of them"
    raise BuildError(
        f"{what} {short_repr(value, 200)} is not a day",
        allowed=f"{', '.join(map(repr, WEEKDAYS))}, or a day of the month from 1 to 31",
        hint=hint,
    )


ZONE: Final = OptionType(
    "path",
    text_schema("Europe/Berlin", "person.tz"),
    _read_zone,
    lambda zone: zone if isinstance(zone, str) else path_text(zone),
    lambda zone: frozenset() if isinstance(zone, str) else frozenset({zone}),
    "paths",
)
ZONE_NAME: Final = OptionType("text", text_schema("Europe/Berlin"), _read_zone_name, offers="examples")


def zone_option(doc: str, *, portable: bool = True) -> Any:
    """Declare the option `tz`."""
    synonyms = ("timezone", "time_zone", "zone")
    return option(ZONE, doc, portable=portable, default=None, synonyms=synonyms)


def default_zone_option(doc: str, *, portable: bool = True) -> Any:
    """Declare the option `default_tz`."""
    synonyms = ("default_zone", "default_timezone")
    return option(ZONE_NAME, doc, portable=portable, default=None, synonyms=synonyms)


CLOCK: Final = OptionType(
    "text",
    text_schema("09:00", pattern=f"^{_CLOCK_PATTERN}$", says="a local time of day in quotes"),
    _read_clock,
    clock_text,
    offers="examples",
)
HOURS: Final = OptionType(
    "text",
    text_schema(
        "08:00-22:00",
        pattern=rf"^\s*{_CLOCK_PATTERN}\s*-\s*({_CLOCK_PATTERN}|24:00)\s*$",
        says="two local times of day with - between them",
    ),
    _read_hours,
    hours_text,
    offers="examples",
)
ON_DAY: Final = OptionType(
    "text", {"enum": [*WEEKDAYS, *range(1, 32)], "examples": ["mon", 1]}, _read_day, offers="examples"
)
_EVERY: Final = choice(*PERIODS, example="week")


def _read_every(value: Any, what: str) -> Any:
    try:
        return _EVERY.read(value, what)
    except BuildError as error:
        text = value.strip().casefold() if isinstance(value, str) else ""
        if text[:3] in WEEKDAYS and text.endswith("day"):
            error.hint = f"write every='week', on='{text[:3]}'"
        elif text in _PERIODS_MEANT:
            error.hint = f"did you mean {_PERIODS_MEANT[text]!r}?"
        elif text in ("minute", "second", "minutely"):
            error.hint = "window='1m' closes so long after the first context of a key"
        raise


_PERIODS_MEANT: Final = {
    **dict.fromkeys(("hourly", "1h", "60m"), "hour"),
    **dict.fromkeys(("daily", "1d", "24h"), "day"),
    **dict.fromkeys(("weekly", "1w", "7d"), "week"),
    **dict.fromkeys(("monthly", "30d"), "month"),
}
EVERY: Final = replace(_EVERY, read=_read_every)
DURATION_OR_PATH: Final = OptionType(
    "duration",
    text_schema(
        "30s",
        "5m",
        "data.delay",
        pattern=rf"{DURATION_PATTERN}|^[^-+.0-9\s][^.]*(\.[^.]+)*$",
        says=f"{DURATION_SAYS}; or the path to one",
    ),
    _read_duration,
    lambda value: value.text if isinstance(value, Duration) else path_text(value),
    lambda value: frozenset() if isinstance(value, Duration) else frozenset({value}),
    "paths",
)


def schedule_of(method: str, every: Every, at: int | None, on: str | int | None) -> Schedule:
    """Return the local moments that options say: midnight, Monday and the first of the month if not given.

    Raises
    ------
    BuildError
        if `at` or `on` does not fit to `every`
    """
    if every == "hour" and at is not None and at >= HOUR:
        raise BuildError(
            f"{method}: at={clock_text(at)!r} is beyond an hour",
            allowed="the minutes of each hour: '00:15' is a quarter past",
        )
    if on is not None and (every in ("hour", "day") or (every == "week") != isinstance(on, str)):
        allowed = {"week": "a weekday, such as 'mon'", "month": "a day of the month, 1 to 31"}.get(every)
        raise BuildError(
            f"{method}: on={on!r} does not fit to every={every!r}",
            allowed=allowed or "on only with every='week' or 'month'",
            hint=_every_meant(on) if every != "hour" else None,
        )
    day = WEEKDAYS.index(on) + 1 if isinstance(on, str) else on or 1
    return Schedule(every, at or 0, day)


def _every_meant(on: str | int) -> str:
    return f"every='week', on={on!r}" if isinstance(on, str) else f"every='month', on={on}"


def check_duration_variable(method: str, option: str, duration: DurationOrPath | None, scope: Scope) -> None:
    """Raise an error for a path that is not a variable and looks like a duration in words."""
    if not isinstance(duration, tuple) or len(duration) != 1 or duration[0] in scope:
        return
    raise BuildError(
        f"{method}: {option} {duration[0]!r} is not a duration, and there is no such variable at this step",
        allowed="a duration, such as '30s', '5m', '1h30m' or '7d', or the path to one",
        hint=_WORDS.get(duration[0].strip().casefold()) or did_you_mean(duration[0], scope.variables),
    )


def check_zone_variable(method: str, tz: Zone | None, scope: Scope) -> None:
    """Raise an error for a path that is not a variable and looks like a misspelled zone."""
    if not isinstance(tz, tuple) or len(tz) != 1 or tz[0] in scope:
        return
    if _OFFSET.match(tz[0]):
        raise BuildError(
            f"{method}: tz {tz[0]!r} is an offset, and no time zone",
            allowed="an IANA name, such as 'Europe/Berlin' or 'UTC', or the path to one",
            hint="a zone knows when clocks change; 'Etc/GMT-2' is always two hours before UTC",
        )
    city = tz[0].replace(" ", "_").casefold()
    zones = sorted(name for name in zone_names() if name.rpartition("/")[2].casefold() == city)
    hint = f"did you mean {zones[0]!r}?" if zones else did_you_mean(tz[0], [*zone_names(), *scope.variables])
    raise BuildError(
        f"{method}: tz {tz[0]!r} is not a time zone, and there is no such variable at this step",
        allowed="an IANA name, such as 'Europe/Berlin' or 'UTC', or the path to one",
        hint=hint,
    )


def check_zones(method: str, tz: Zone | None, default_tz: str | None) -> None:
    """Raise an error for a default that would never be used."""
    if default_tz is not None and not isinstance(tz, tuple):
        raise BuildError(
            f"{method}: default_tz is for a tz that data says",
            allowed="tz= with a path, or no default_tz",
            hint=None if tz is not None else f"did you mean tz={default_tz!r}?",
        )
