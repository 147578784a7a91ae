"""Time zones on columns, by the data of the package `tzdata`, whatever the system has: UTC to local time and
back.

Moments are µs since 1970 in UTC. Local time is µs since 1970 too, as if the clock on the wall showed UTC. A
zone is a number that lives as long as the process, so one column may have many zones.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import struct
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import tzdata

from flowdsl.values.json_types import Ints

Zones = Ints | int
"""The zone of each moment, or one for all."""

TZDATA_VERSION: Final[str] = tzdata.__version__
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

# the calendar, weekdays included, repeats itself after 400 years; zones have tables for one round from here
# on, when none has changes other than those of its rule any more
_ROUND: Final = 146_097 * 86_400
_ROUND_END: Final = 16_725_225_600  # the start of the year 2500
_RULES_UNTIL: Final = 2501
# before any moment; seconds since then have at most 40 bits
_LEAST: Final = -(1 << 37)
_BITS: Final = 40
# the stretches of so many moments are looked up one by one
_FEW: Final = 64


@functools.cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones, as `Europe/Berlin`."""
    return frozenset((importlib.resources.files("tzdata") / "zones").read_text("utf-8").split())


@dataclass(frozen=True)
class _Table:
    """The stretches of constant offset of some zones, one zone after the other, in seconds.

    `starts` and `ends` are sorted: the zone and the moment (UTC) at which a stretch starts, the zone and the
    latest local time that was reached by its end. `since` is when it starts, `offset` how far its local time
    is ahead, `reached` the local time up to which the stretches before it came.
    """

    names: tuple[str, ...]
    starts: Ints
    ends: Ints
    since: Ints
    offset: Ints
    reached: Ints

    def with_zone(self, name: str) -> _Table:
        since, offset = _stretches(name)
        base = len(self.names) << _BITS
        reached = np.maximum.accumulate(np.append(since[1:] + offset[:-1], _LEAST + (1 << _BITS) - 1))
        return _Table(
            (*self.names, name),
            np.append(self.starts, base + (since - _LEAST)),
            np.append(self.ends, base + (reached - _LEAST)),
            np.append(self.since, since),
            np.append(self.offset, offset),
            np.append(self.reached, np.append(_LEAST, reached[:-1])),
        )


_NONE: Final = np.zeros(0, np.int64)
_table = _Table((), _NONE, _NONE, _NONE, _NONE, _NONE)
_numbers: dict[str, int] = {}
_lock = threading.Lock()


def zone_number(name: str) -> int | None:
    """Return the number of a zone by its name; None if there is no such zone.

    >>> zone_number("Europe/Berlin") == zone_number("Europe/Berlin"), zone_number("Europe/Bärlin")
    (True, None)
    """
    global _table
    found = _numbers.get(name)
    if found is not None or name not in zone_names():
        return found
    with _lock:
        if name not in _numbers:
            grown = _table.with_zone(name)
            _table = grown
            # only now may others ask for it
            _numbers[name] = len(grown.names) - 1
    return _numbers[name]


def to_local(moments: Ints, zones: Zones) -> Ints:
    """Return the local time at moments.

    >>> berlin = zone_number("Europe/Berlin")
    >>> to_local(np.array([0]), berlin).tolist()
    [3600000000]
    """
    _, offset = _stretch(moments, zones)
    return moments + offset * SECOND


def to_utc(local: Ints, zones: Zones) -> Ints:
    """Return the first moment at which the local time is this one or later.

    So it is for a local time that comes twice the first of the two, and for one that the clock skips the
    first instant after the gap. A later local time is never an earlier moment.
    """
    table = _table
    seconds = local // SECOND
    folded, back = _fold(seconds)
    at = np.searchsorted(table.ends, _keyed(folded, zones), side="right")
    moments = np.maximum((table.since[at] + back) * SECOND, local - table.offset[at] * SECOND)
    result: Ints = moments
    return result


def latest_local(moments: Ints, zones: Zones) -> Ints:
    """Return the latest local time that the clock has shown up to each moment.

    That is the local time, except after the clock was turned back: local times that come twice count once.
    """
    at, offset = _stretch(moments, zones)
    _, back = _fold(moments // SECOND)
    latest: Ints = np.maximum(moments + offset * SECOND, (_table.reached[at] + back) * SECOND - 1)
    return latest


def _stretch(moments: Ints, zones: Zones) -> tuple[Ints, Ints]:
    """Return the stretch in which each moment lies, and its offset in seconds."""
    if isinstance(zones, int) and len(moments) > _FEW:
        # moments of one chunk mostly lie in one stretch
        ends, _ = _stretch(np.array([moments.min(), moments.max()]), zones)
        if ends[0] == ends[1]:
            at = np.broadcast_to(ends[:1], len(moments))
            return at, np.broadcast_to(_table.offset[ends[:1]], len(moments))
    table = _table
    seconds, _ = _fold(moments // SECOND)
    at = np.searchsorted(table.starts, _keyed(seconds, zones), side="right") - 1
    return at, table.offset[at]


def _keyed(seconds: Ints, zones: Zones) -> Ints:
    first = zones << _BITS
    keys: Ints = first + (seconds - _LEAST)
    return keys


def _fold(seconds: Ints) -> tuple[Ints, Ints | int]:
    """Return times brought before the end of the tables by whole rounds of the calendar, and how far."""
    if not len(seconds) or int(seconds.max()) < _ROUND_END:
        return seconds, 0
    back = ((seconds - _ROUND_END) // _ROUND + 1).clip(0) * _ROUND
    return seconds - back, back


def _stretches(name: str) -> tuple[Ints, Ints]:
    """Return when the stretches of a zone start, in seconds, and their offsets."""
    file = importlib.resources.files("tzdata.zoneinfo").joinpath(*name.split("/"))
    since, offset, rule = _read(file.read_bytes())
    starts, offsets = _by_rule(rule, int(since[-1]))
    later = starts > since[-1]
    return np.append(since, starts[later]), np.append(offset, offsets[later])


def _read(data: bytes) -> tuple[Ints, Ints, str]:
    """Read a file of version 2 or later: its stretches, and the rule for what follows."""
    # a block with times of 32 bits comes first, and is of no use
    *_, leaps, times, types, letters = _counts(data, 0)
    at = 44 + times * 5 + types * 6 + letters + leaps * 8 + sum(_counts(data, 0)[:2])
    universal, standard, leaps, times, types, letters = _counts(data, at)
    at += 44
    moments = np.frombuffer(data, ">i8", times, at).astype(np.int64)
    which = np.frombuffer(data, np.uint8, times, at + times * 8)
    at += times * 9
    offsets = np.array([struct.unpack_from(">i", data, at + 6 * n)[0] for n in range(types)], np.int64)
    at += types * 6 + letters + leaps * 12 + standard + universal
    rule = data[at:].decode("ascii").strip("\n")
    # until the first change the first type holds
    return np.append(_LEAST, moments), np.append(offsets[0], offsets[which]), rule


def _counts(data: bytes, at: int) -> tuple[int, ...]:
    return struct.unpack_from(">6l", data, at + 20)


_NAME: Final = r"(?:<[^>]+>|[A-Za-z]+)"
_CLOCK: Final = r"[-+]?\d+(?::\d+(?::\d+)?)?"
_RULE: Final = re.compile(
    rf"{_NAME}(?P<standard>{_CLOCK})"
    rf"(?:{_NAME}(?P<summer>{_CLOCK})?,(?P<first>[^,/]+)(?:/(?P<begins>{_CLOCK}))?"
    rf",(?P<last>[^,/]+)(?:/(?P<ends>{_CLOCK}))?)?"
)


def _by_rule(rule: str, after: int) -> tuple[Ints, Ints]:
    """Return the changes that follow from a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`, and the offsets."""
    found = _RULE.fullmatch(rule)
    if found is None:
        raise ValueError(f"tzdata has a rule that flowdsl cannot read: {rule!r}")
    if found["first"] is None:
        return _NONE, _NONE
    standard = -_seconds(found["standard"])
    summer = -_seconds(found["summer"]) if found["summer"] else standard + 3600
    first_year = int(np.datetime64(max(after, 0), "s").astype("datetime64[Y]").astype(int)) + 1970
    years = np.arange(first_year, _RULES_UNTIL + 1)
    begins = _days(found["first"], years) * 86_400 + _seconds(found["begins"] or "2") - standard
    ends = _days(found["last"], years) * 86_400 + _seconds(found["ends"] or "2") - summer
    moments = np.concatenate([begins, ends])
    offsets = np.repeat(np.array([summer, standard], np.int64), len(years))
    order = np.argsort(moments, kind="stable")
    return moments[order], offsets[order]


def _seconds(clock: str) -> int:
    sign = -1 if clock.startswith("-") else 1
    parts = [*map(int, clock.lstrip("+-").split(":"))]
    return sign * sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))


def _days(day: str, years: npt.NDArray[np.int_]) -> Ints:
    """Return the day of each year that `M3.5.0` (month, week, weekday), `J60` or `59` says, from 1970."""
    january = 12 * (years - 1970)
    start = first_days(january)
    if not day.startswith("M"):
        # `J60` is the first of March in every year
        leap = first_days(january + 12) - start == 366
        return start + (int(day[1:]) - 1 + (leap & (int(day[1:]) > 59)) if day[0] == "J" else int(day))
    month, week, weekday = map(int, day[1:].split("."))
    first = first_days(january + (month - 1))
    length = first_days(january + month) - first
    # day 0 was a Thursday
    offset = (weekday - (first + 4) % 7) % 7 + 7 * (week - 1)
    found: Ints = first + np.where(offset < length, offset, offset - 7)
    return found


def first_days(months: npt.NDArray[np.int_]) -> Ints:
    """Return the first day of months, both counted from 1970."""
    days: Ints = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return days
