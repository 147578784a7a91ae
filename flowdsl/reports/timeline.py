"""Deliveries over time: counted in intervals as fine as their range allows, shown in calendar units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from flowdsl.charts.formats import DAY, HOUR, MINUTE, SECOND, moment
from flowdsl.charts.ticks import WEEK, month_start
from flowdsl.values.json_types import Ints

# lengths of intervals (µs) by name; each divides the next one
_INTERVALS: Final = {
    "second": SECOND,
    "5 s": 5 * SECOND,
    "15 s": 15 * SECOND,
    "minute": MINUTE,
    "5 min": 5 * MINUTE,
    "15 min": 15 * MINUTE,
    "hour": HOUR,
    "3 h": 3 * HOUR,
    "6 h": 6 * HOUR,
    "12 h": 12 * HOUR,
    "day": DAY,
}
_WIDTHS: Final = tuple(_INTERVALS.values())
# intervals kept, and columns shown
_KEPT: Final = 1 << 14
SHOWN: Final = 130


@dataclass(frozen=True, eq=False)
class Timeline:
    """Counts in intervals of equal length: `counts[i]` is that of interval number `first + i` since 1970."""

    level: int
    first: int
    counts: Ints

    @classmethod
    def of(cls, times: Ints) -> Timeline | None:
        """Count times (µs); None if there are none."""
        if not len(times):
            return None
        low, high = int(times.min()), int(times.max())
        level = _level(low, high)
        width = _WIDTHS[level]
        return cls(level, low // width, np.bincount(times // width - low // width))

    @classmethod
    def concat(cls, parts: Iterable[Timeline | None], times: Iterable[int] | None = None) -> Timeline | None:
        """Merge timelines with weights; None if there is nothing to count."""
        held = list(parts)
        weights = [1] * len(held) if times is None else list(times)
        weighted = [(part, weight) for part, weight in zip(held, weights, strict=True) if part is not None]
        if not weighted:
            return None
        low, high = _ends([part for part, _ in weighted])
        level = max(_level(low, high), *(part.level for part, _ in weighted))
        coarse = [(part.coarser(level), weight) for part, weight in weighted]
        width = _WIDTHS[level]
        first, last = low // width, -(-high // width)
        counts = np.zeros(last - first, np.int64)
        for part, weight in coarse:
            counts[part.first - first : part.first - first + len(part.counts)] += weight * part.counts
        return cls(level, first, counts)

    def coarser(self, level: int) -> Timeline:
        """Return the same counts in longer intervals."""
        if level == self.level:
            return self
        times = _WIDTHS[level] // _WIDTHS[self.level]
        places = (np.arange(len(self.counts)) + self.first) // times
        first = self.first // times
        return Timeline(level, first, np.bincount(places - first, self.counts).astype(np.int64))

    @property
    def ends(self) -> tuple[int, int]:
        """The start of the first interval and the end of the last one, in µs."""
        width = _WIDTHS[self.level]
        return self.first * width, (self.first + len(self.counts)) * width

    def within(self, edges: Sequence[int]) -> list[int]:
        """Count between each edge (µs) and the next; edges lie where intervals begin."""
        width = _WIDTHS[self.level]
        starts = (np.arange(len(self.counts)) + self.first) * width
        places = np.searchsorted(np.array(edges), starts, side="right") - 1
        counts: list[int] = (
            np.bincount(places, self.counts, minlength=len(edges) - 1).astype(np.int64).tolist()
        )
        return counts


def calendar_edges(timelines: Iterable[Timeline | None]) -> tuple[list[int], str]:
    """Return edges (µs) in calendar units that cover all timelines, in at most `SHOWN` intervals, and the
    unit's name.
    """
    held = [t for t in timelines if t is not None]
    if not held:
        return [0, HOUR], "hour"
    finest = max(t.level for t in held)
    low, high = _ends(held)
    for name, width in list(_INTERVALS.items())[finest:]:
        if (high - 1) // width - low // width < SHOWN:
            return _even(low, high, width, 0), name
    if (high - low) / WEEK < SHOWN:
        return _even(low, high, WEEK, 4 * DAY), "week"
    return _month_edges(low, high)


def _month_edges(low: int, high: int) -> tuple[list[int], str]:
    """Return edges at the starts of months, or of years if there are too many months."""
    start, end = moment(low), moment(high - 1)
    first, last = 12 * start.year + start.month - 1, 12 * end.year + end.month
    if last - first <= SHOWN:
        return [month_start(number) for number in range(first, last + 1)], "month"
    first, last = first // 12, (last - 1) // 12 + 1
    step = -(-(last - first) // SHOWN)
    starts = [month_start(12 * year) for year in range(first, min(last + step, 9999), step)]
    if starts[-1] < high:
        starts.append(max(high, starts[-1] + DAY))
    return starts, "year" if step == 1 else f"{step} years"


def _even(low: int, high: int, width: int, start: int) -> list[int]:
    first, last = (low - start) // width, -(-(high - start) // width)
    return [start + n * width for n in range(first, max(last, first + 1) + 1)]


def _ends(parts: Sequence[Timeline]) -> tuple[int, int]:
    ends = [part.ends for part in parts]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _level(low: int, high: int) -> int:
    for level, width in enumerate(_WIDTHS):
        if high // width - low // width < _KEPT:
            return level
    return len(_WIDTHS) - 1
