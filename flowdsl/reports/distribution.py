"""Exact distributions of whole numbers: quantiles and classes, without the numbers themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from flowdsl.charts.formats import DAY, HOUR, MINUTE, SECOND
from flowdsl.values.json_types import Ints

# leading bits of a duration that are kept: a relative error below 1 / 4096
_BITS: Final = 12
_SPAN_CLASSES: Final = {
    "none": 0,
    "1 ms": 1_000,
    "1 s": SECOND,
    "10 s": 10 * SECOND,
    "1 min": MINUTE,
    "5 min": 5 * MINUTE,
    "15 min": 15 * MINUTE,
    "1 h": HOUR,
    "3 h": 3 * HOUR,
    "6 h": 6 * HOUR,
    "12 h": 12 * HOUR,
    "1 d": DAY,
    "2 d": 2 * DAY,
    "7 d": 7 * DAY,
    "30 d": 30 * DAY,
    "1 year": 365 * DAY,
}
_SPANS: Final = tuple(_SPAN_CLASSES.values())
_SPAN_NAMES: Final = tuple(_SPAN_CLASSES)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Whole numbers in ascending order, and the count of each.

    >>> sizes = Distribution.of([3, 1, 1, 1])
    >>> sizes.total, sizes.sum, sizes.p50, sizes.p95, sizes.max
    (4, 6, 1, 3, 3)
    """

    values: Ints
    counts: Ints

    @classmethod
    def of(cls, numbers: Any) -> Distribution:
        """Build the distribution of numbers."""
        values, counts = np.unique(np.asarray(numbers, np.int64), return_counts=True)
        return cls(values, counts.astype(np.int64))

    @classmethod
    def of_pairs(cls, pairs: Iterable[Sequence[int]]) -> Distribution:
        """Build the distribution from ascending pairs of number and count."""
        table = np.array(list(pairs), np.int64).reshape(-1, 2)
        return cls(table[:, 0], table[:, 1])

    @classmethod
    def concat(cls, parts: Iterable[Distribution]) -> Distribution:
        """Merge distributions."""
        held = list(parts)
        if len(held) == 1:
            return held[0]
        values = np.concatenate([p.values for p in held] or [np.zeros(0, np.int64)])
        unique, places = np.unique(values, return_inverse=True)
        counts = np.zeros(len(unique), np.int64)
        np.add.at(counts, places, np.concatenate([p.counts for p in held] or [counts]))
        return cls(unique, counts)

    def times(self, factor: int) -> Distribution:
        """Multiply every number by a factor."""
        return Distribution(factor * self.values, self.counts)

    @property
    def total(self) -> int:
        """The count of all numbers."""
        return int(self.counts.sum())

    @property
    def sum(self) -> int:
        """The sum of all numbers."""
        return int((self.values * self.counts).sum())

    def quantile(self, share: float) -> int:
        """Return the smallest number that at least this share (0 to 1) do not exceed; 0 if there are none."""
        if not len(self.values):
            return 0
        place = np.searchsorted(np.cumsum(self.counts), share * self.total - 1e-9)
        return int(self.values[min(int(place), len(self.values) - 1)])

    @property
    def p50(self) -> int:
        """The median."""
        return self.quantile(0.5)

    @property
    def p95(self) -> int:
        """The 95th percentile."""
        return self.quantile(0.95)

    @property
    def max(self) -> int:
        """The largest number; 0 if there are none."""
        return int(self.values[-1]) if len(self.values) else 0

    def above(self, limit: int) -> int:
        """Count the numbers above a limit."""
        return int(self.counts[self.values > limit].sum())

    def classes(self) -> list[tuple[str, int]]:
        """Count the numbers in 1, 2, 3–5, 6–10, 11–20, 21–50 …, from the first class that has any to the
        last.

        >>> Distribution.of([1, 1, 4, 60]).classes()
        [('1', 2), ('2', 0), ('3–5', 1), ('6–10', 0), ('11–20', 0), ('21–50', 0), ('51–100', 1)]
        """
        edges = [0]
        while edges[-1] < self.max:
            edges.append(next(edge for edge in _round_edges(len(edges)) if edge > edges[-1]))
        names = [
            f"{low + 1:,}" if high == low + 1 else f"{low + 1:,}–{high:,}" for low, high in pairwise(edges)
        ]
        first = int(np.searchsorted(self.values, 1))
        return Distribution(self.values[first:], self.counts[first:])._within(edges[1:], names)

    def span_classes(self) -> list[tuple[str, int]]:
        """Count the durations (µs) in `none`, `≤ 1 ms`, `≤ 1 s` …, from the first class to the last that has
        any.
        """
        edges, names = list(_SPANS), [_SPAN_NAMES[0], *(f"≤ {name}" for name in _SPAN_NAMES[1:])]
        if self.max > edges[-1]:
            edges, names = [*edges, self.max], [*names, "more"]
        return self._within(edges, names)

    def _within(self, edges: Sequence[int], names: Sequence[str]) -> list[tuple[str, int]]:
        places = np.searchsorted(np.array(edges), self.values)
        counts = np.bincount(places, self.counts, minlength=len(edges)).astype(np.int64)
        filled = np.flatnonzero(counts)
        if not len(filled):
            return []
        return [(names[i], int(counts[i])) for i in range(int(filled[0]), int(filled[-1]) + 1)]


class Spans:
    """Accumulator of durations (µs), each kept to within 1 / 4096 of itself.

    >>> spans = Spans()
    >>> spans.add(np.array([0, 1_000, 7_200_000_000]))
    >>> spans.distribution().values.tolist()
    [0, 1000, 7200000000]
    """

    def __init__(self) -> None:
        self._counts: Ints = np.zeros(0, np.int64)
        self._least, self._most = 0, 0

    def add(self, spans: Ints) -> None:
        """Add durations; a negative one counts as none."""
        if not len(spans):
            return
        spans = spans.clip(0)
        least, most = int(spans.min()), int(spans.max())
        seen = len(self._counts) > 0
        self._least, self._most = (min(least, self._least) if seen else least), max(most, self._most)
        self._count(np.bincount(_place(spans)) if most else np.array([len(spans)]))

    def join(self, other: Spans) -> None:
        """Add the durations of another accumulator."""
        if len(other._counts):
            seen = len(self._counts) > 0
            self._least = min(self._least, other._least) if seen else other._least
            self._most = max(self._most, other._most)
            self._count(other._counts)

    def distribution(self) -> Distribution:
        """Return the distribution so far; the smallest and the largest are exact."""
        places = np.flatnonzero(self._counts)
        shift = np.maximum((places >> _BITS) - 1, 0)
        values = (places - (shift << _BITS)) << shift
        values[:1], values[-1:] = self._least, self._most
        return Distribution(values.clip(self._least, self._most), self._counts[places])

    def _count(self, counts: Ints) -> None:
        if len(counts) > len(self._counts):
            self._counts, counts = counts.copy(), self._counts
        self._counts[: len(counts)] += counts


def _place(spans: Ints) -> Ints:
    """Return the class of each duration: itself if it has few bits, else its leading bits with the number of
    other bits.
    """
    length = np.frexp(spans.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(length - (_BITS + 1), 0)
    place: Ints = (shift << _BITS) + (spans >> shift)
    return place


def _round_edges(count: int) -> list[int]:
    return [digit * 10**power for power in range(count // 3 + 2) for digit in (1, 2, 5)]
