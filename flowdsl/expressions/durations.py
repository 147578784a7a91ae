"""Durations as flows write them: `5m`, `7d`, `1h30m`, or a timedelta."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from flowdsl.arguments import is_number
from flowdsl.errors import BuildError
from flowdsl.text import short_repr

_UNITS: Final = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
}
_PORTABLE: Final = ("h", "m", "s", "ms")
_PART: Final = re.compile(r"([0-9]+)(ms|[wdhms])")
# each unit at most once, from large to small
_ORDERED: Final = re.compile("".join(f"(?:[0-9]+{unit})?" for unit in _UNITS))
_IN_ORDER: Final = "name each unit once, from large to small, as in '1h30m'"
_SUM: Final = re.compile(r"(?:[0-9]+(?:ms|[wdhms]))+")
_PRODUCTION: Final = re.compile(r"\+?([0-9]+)(ms|s|m|h)")
# white space that Rust trims; Python would strip \x1c to \x1f too
RUST_SPACES: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# longer than any log, and short enough that clock + window fits 64 bits
_LONGEST: Final = 10_000 * 365 * _UNITS["d"]
_ALLOWED: Final = (
    "digits and one of ms, s, m, h, d, w ('5m', '7d'), sums from large to small ('1h30m'), or a timedelta"
)
_WORDS: Final = {
    "w": ("w", "wk", "week", "weeks"),
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "millisecond", "milliseconds"),
}
_UNIT_OF_WORD: Final = {word: unit for unit, words in _WORDS.items() for word in words}
_LOOSE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]+)")


@dataclass(frozen=True, order=True)
class Duration:
    """Duration: its text as written, and its length, by which it compares.

    >>> Duration("1h", 3_600_000_000) == Duration("60m", 3_600_000_000)
    True
    """

    text: str = field(compare=False)
    microseconds: int

    def portable(self) -> str:
        """Return the duration in production's form: one number of h, m, s or ms.

        >>> parse_duration("7d").portable()
        '168h'
        """
        if _PRODUCTION.fullmatch(self.text):
            return self.text
        return _exact_text(self.microseconds, _PORTABLE)

    def __str__(self) -> str:
        return self.text


DurationLike = str | timedelta | Duration


def parse_duration(value: object) -> Duration:
    """Parse a duration from text or a timedelta; ambiguous text is rejected.

    >>> parse_duration("1h30m").microseconds
    5400000000
    >>> parse_duration(timedelta(days=2)).text
    '2d'
    """
    if isinstance(value, Duration):
        return value
    if isinstance(value, timedelta):
        return _from_timedelta(value)
    if not isinstance(value, str):
        hint = f"a bare number has no unit: '{short_repr(value)}s' is seconds" if is_number(value) else None
        raise BuildError(
            f"a duration is text or a timedelta, not {short_repr(value, 200)}", allowed=_ALLOWED, hint=hint
        )
    return _from_text(value)


def _from_text(value: str) -> Duration:
    text = value.strip()
    if not text or not _ORDERED.fullmatch(text):
        hint = _IN_ORDER if _SUM.fullmatch(text) else _hint(text)
        raise BuildError(f"{_clip(value)} is not a duration", allowed=_ALLOWED, hint=hint)
    parts = _PART.findall(text)
    if max(len(digits) for digits, _ in parts) > 20:
        raise _too_long(value)
    microseconds = sum(int(digits) * _UNITS[unit] for digits, unit in parts)
    if microseconds > _LONGEST:
        raise _too_long(value)
    return Duration("".join(f"{int(digits)}{unit}" for digits, unit in parts), microseconds)


def parse_production_duration(text: object) -> Duration:
    """Parse a duration by production's rule: digits and ms, s, m or h, with optional spaces around.

    Minutes and hours become seconds in 64 bits, which wrap around. Durations longer than 10,000 years
    become 10,000 years.

    >>> parse_production_duration(" +5m ").microseconds
    300000000
    >>> parse_production_duration("307445734561825861m").microseconds
    44000000
    """
    trimmed = text.strip(RUST_SPACES) if isinstance(text, str) else ""
    match = _PRODUCTION.fullmatch(trimmed)
    # production counts in 64 bits, whatever the unit
    if match is None or len(match[1].lstrip("0")) > 20 or int(match[1]) >= 2**64:
        raise BuildError(
            f"production refuses {_clip(text)} as a duration",
            allowed="digits and one of ms, s, m, h, such as '90s'",
            hint=_production_hint(trimmed),
        )
    microseconds = int(match[1]) * _UNITS[match[2]]
    if match[2] in ("m", "h"):
        microseconds %= 2**64 * _UNITS["s"]
    return Duration(trimmed, min(microseconds, _LONGEST))


def _from_timedelta(value: timedelta) -> Duration:
    microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    if microseconds < 0:
        raise BuildError(f"a duration cannot be negative, as {value!r} is", allowed=_ALLOWED)
    if microseconds % 1_000:
        raise BuildError(
            f"{value!r} is finer than a millisecond",
            allowed="whole milliseconds",
            hint="production counts no finer, so round the timedelta",
        )
    if microseconds > _LONGEST:
        raise _too_long(value)
    return Duration(_exact_text(microseconds, tuple(_UNITS)), microseconds)


def _exact_text(microseconds: int, units: tuple[str, ...]) -> str:
    if not microseconds:
        return "0s"
    unit = next(unit for unit in units if microseconds % _UNITS[unit] == 0)
    return f"{microseconds // _UNITS[unit]}{unit}"


def _hint(text: str) -> str | None:
    if text.startswith("-"):
        return "a duration cannot be negative"
    if text.isascii() and text.isdigit():
        return f"a bare number has no unit: '{_short(text)}s' is seconds" if len(text) < 20 else None
    match = _LOOSE.fullmatch(text)
    return _guess(match) if match is not None and len(match[1]) <= 15 else None


def _guess(match: re.Match[str]) -> str | None:
    """Return the hint for a number with a word for a unit, such as `5 minutes`."""
    word = match[2] if match[2] in _UNITS else match[2].lower()
    unit = _UNIT_OF_WORD.get(word)
    microseconds = float(match[1]) * _UNITS.get(unit or "", 0)
    if unit is None or microseconds % 1_000:
        return None
    suggestion = f"{match[1]}{unit}" if "." not in match[1] else _exact_text(int(microseconds), tuple(_UNITS))
    return f"did you mean '{suggestion}'?"


def _production_hint(text: str) -> str | None:
    try:
        portable = parse_duration(text).portable()
    except BuildError:
        return _hint(text)
    return f"production reads this as '{portable}'" if _PRODUCTION.fullmatch(portable) else None


def _too_long(value: object) -> BuildError:
    return BuildError(f"{_clip(value)} is too long", allowed="at most 10,000 years")


def _short(text: str) -> str:
    return text.lstrip("0") or "0"


def _clip(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…'"
