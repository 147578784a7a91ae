"""Deliveries per person, in all and on their worst day, counted by hash, which is faster than by id.

A pass over the deliveries counts the hashes of each day (UTC); days are then merged for each sink. Two people
count as one only if 64 bits of their hashes agree. With very many deliveries, each pass takes the people of a
share of all hashes, so that memory does not grow with the deliveries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.charts.formats import DAY
from flowdsl.moments import EPOCH
from flowdsl.reports.distribution import Distribution
from flowdsl.values.json_types import Ints
from flowdsl.values.masks import where_present

Hashes = npt.NDArray[np.uint64]
TOP: Final = 10
# people with the same count, up to which the first by name are found
_TIED: Final = 1_000
WORKERS: Final = 2


@dataclass(frozen=True)
class Person:
    """A person with many deliveries: their number in all, and the worst day (UTC)."""

    recipient: str
    deliveries: int
    worst_day: int
    day: dt.date


@dataclass(frozen=True, eq=False)
class RecipientMetrics:
    """The people with deliveries: the number of each, in all and on their worst day (UTC).

    `top` are the people with the most deliveries, by name if they have equally many. `tied` is set if so many
    have the same count that none of them is named: (their count, their number). `nobody` counts deliveries
    without a recipient.
    """

    deliveries: Distribution
    worst_day: Distribution
    top: tuple[Person, ...]
    tied: tuple[int, int] | None
    nobody: int

    @property
    def count(self) -> int:
        """The number of people."""
        return self.deliveries.total

    def times(self, factor: int) -> RecipientMetrics:
        """Multiply all per-recipient counts by a factor."""
        if factor == 1:
            return self
        top = [replace(p, deliveries=factor * p.deliveries, worst_day=factor * p.worst_day) for p in self.top]
        return RecipientMetrics(
            self.deliveries.times(factor),
            self.worst_day.times(factor),
            tuple(top),
            self.tied and (factor * self.tied[0], self.tied[1]),
            factor * self.nobody,
        )


@dataclass(frozen=True)
class DailyHashes:
    """The hashes of the recipients of each day, one for each delivery, in any order."""

    days: Mapping[int, Hashes]
    nobody: int = 0

    @classmethod
    def of(cls, recipients: pl.Series, times: Ints, share: tuple[int, int] = (0, 1)) -> DailyHashes:
        """Hash the recipients of deliveries at these times (µs), or only those whose hashes are in a share:
        (number, of how many).
        """
        hashes, there = hashes_of(recipients), where_present(recipients)
        days = times // DAY
        nobody = int((~there).sum()) if share[0] == 0 else 0
        if not there.all():
            hashes, days = hashes[there], days[there]
        if share[1] > 1:
            mine = hashes % np.uint64(share[1]) == share[0]
            hashes, days = hashes[mine], days[mine]
        if len(days) and (days[1:] < days[:-1]).any():
            order = np.argsort(days, kind="stable")
            hashes, days = hashes[order], days[order]
        edges = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)] if len(days) else []
        return cls({int(days[a]): hashes[a:b] for a, b in pairwise(edges)}, nobody)


@dataclass(frozen=True)
class DailyCounts:
    """The hashes of each day, ascending, and the count of each."""

    days: Mapping[int, tuple[Hashes, Ints]]
    nobody: int = 0

    @classmethod
    def count(cls, parts: Sequence[DailyHashes]) -> DailyCounts:
        """Count the hashes of each day, from all parts at once: sorting is cheaper than merging counts."""
        found: dict[int, list[Hashes]] = {}
        for part in parts:
            for day, hashes in part.days.items():
                found.setdefault(day, []).append(hashes)
        order = sorted(found)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="flowdsl-report") as pool:
            counted = pool.map(lambda day: _count_hashes(np.concatenate(found[day])), order)
            return cls(dict(zip(order, counted, strict=True)), sum(part.nobody for part in parts))

    @classmethod
    def concat(cls, parts: Sequence[DailyCounts], weights: Sequence[int]) -> DailyCounts:
        """Merge daily counts with weights; a weight of −1 subtracts rows again."""
        found: dict[int, list[tuple[Hashes, Ints]]] = {}
        for part, weight in zip(parts, weights, strict=True):
            for day, (hashes, counts) in part.days.items():
                found.setdefault(day, []).append((hashes, counts if weight == 1 else weight * counts))
        merged = {day: _positive(*_merge_counts(pieces)[:2]) for day, pieces in sorted(found.items())}
        # a day of which caps or preferences held back everything
        merged = {day: left for day, left in merged.items() if len(left[0])}
        return cls(merged, sum(w * part.nobody for part, w in zip(parts, weights, strict=True)))


@dataclass(frozen=True, eq=False)
class RecipientCounts:
    """The people in a share of all hashes: their distributions, and the hashes of candidates for the top."""

    deliveries: Distribution
    worst_day: Distribution
    nobody: int
    # hash, deliveries, worst day, its day
    first: tuple[tuple[int, int, int, int], ...]
    cut: int = 0
    crowded: bool = False

    @classmethod
    def of(cls, days: DailyCounts) -> RecipientCounts:
        """Count the people of these days."""
        hashes, totals, worst = _merge_counts(list(days.days.values()))
        if not len(hashes):
            none = Distribution.of([])
            return cls(none, none, days.nobody, ())
        cut = int(np.partition(totals, -TOP)[-TOP]) if len(totals) > TOP else 1
        crowded = int((totals == cut).sum()) > _TIED
        chosen = np.flatnonzero(totals > cut if crowded else totals >= cut)
        when = _worst_days(days, hashes[chosen], worst[chosen])
        first = zip(
            hashes[chosen].tolist(), totals[chosen].tolist(), worst[chosen].tolist(), when, strict=True
        )
        return cls(Distribution.of(totals), Distribution.of(worst), days.nobody, tuple(first), cut, crowded)


def hashes_of(recipients: pl.Series) -> Hashes:
    """Return the hash of each recipient."""
    hashes: Hashes = recipients.cast(pl.String).hash().to_numpy()
    return hashes


def name_people(parts: Sequence[RecipientCounts], names: Mapping[int, str]) -> RecipientMetrics:
    """Merge the people of all shares, and name those at the top."""
    deliveries = Distribution.concat([part.deliveries for part in parts])
    # below this, some share had too many people with the same count to keep them all
    cut = max((part.cut for part in parts if part.crowded), default=0)
    people = [person for part in parts for person in _people(part, names, cut)]
    people.sort(key=lambda person: (-person.deliveries, person.recipient))
    tied = int(deliveries.counts[deliveries.values == cut].sum())
    unnamed = (cut, tied) if tied and len(people) < TOP else None
    worst_day = Distribution.concat([part.worst_day for part in parts])
    nobody = sum(part.nobody for part in parts)
    return RecipientMetrics(deliveries, worst_day, tuple(people[:TOP]), unnamed, nobody)


def _people(part: RecipientCounts, names: Mapping[int, str], cut: int) -> Iterator[Person]:
    """Yield the people with more deliveries than `cut`, by name."""
    for code, total, worst, day in part.first:
        if total <= cut:
            continue
        yield Person(names[code], total, worst, (EPOCH + dt.timedelta(days=day)).date())


def look_up(wanted: Collection[int], pieces: Iterable[pl.Series]) -> dict[int, str]:
    """Return the ids of hashes; series of recipients are read one after another until all are found."""
    missing = np.array(sorted(wanted), np.uint64)
    names: dict[int, str] = {}
    for recipients in pieces:
        if not len(missing):
            break
        hashes = hashes_of(recipients)
        places = np.searchsorted(missing, hashes).clip(max=len(missing) - 1)
        rows = np.flatnonzero((missing[places] == hashes) & where_present(recipients))
        found, at = np.unique(hashes[rows], return_index=True)
        texts = recipients.gather(rows[at]).cast(pl.String).to_list()
        names.update(zip(found.tolist(), texts, strict=True))
        missing = np.setdiff1d(missing, found, assume_unique=True)
    return names


def _positive(hashes: Hashes, counts: Ints) -> tuple[Hashes, Ints]:
    left = counts > 0
    return (hashes, counts) if left.all() else (hashes[left], counts[left])


def _count_hashes(hashes: Hashes) -> tuple[Hashes, Ints]:
    ordered = np.sort(hashes)
    starts = _starts(ordered)
    if len(starts) == len(ordered):
        return ordered, np.ones(len(ordered), np.int64)
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def _merge_counts(pieces: Sequence[tuple[Hashes, Ints]]) -> tuple[Hashes, Ints, Ints]:
    """Return hashes with the sum and the largest of their counts."""
    if not pieces:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    if len(pieces) == 1:
        return pieces[0][0], pieces[0][1], pieces[0][1]
    hashes = np.concatenate([h for h, _ in pieces])
    counts = np.concatenate([n for _, n in pieces])
    if len(counts) and (counts == counts[0]).all():
        # equal counts: a plain sort is far cheaper than an argsort
        found, often = _count_hashes(hashes)
        return found, often * counts[0], np.full(len(found), counts[0])
    found, _ = _count_hashes(hashes)
    totals, most = np.zeros(len(found), np.int64), np.zeros(len(found), np.int64)
    for once, often in pieces:
        places = np.searchsorted(found, once)
        totals[places] += often
        most[places] = np.maximum(most[places], often)
    return found, totals, most


def _starts(ordered: Hashes) -> Ints:
    """Return the start of each run of equal hashes."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])


def _worst_days(days: DailyCounts, people: Hashes, worst: Ints) -> list[int]:
    """Return the first day with the most deliveries for each of these people."""
    found, known = np.zeros(len(people), np.int64), np.zeros(len(people), np.bool_)
    for day, (hashes, counts) in sorted(days.days.items()):
        places = np.searchsorted(hashes, people).clip(max=max(len(hashes) - 1, 0))
        hit = (hashes[places] == people) & (counts[places] == worst) & ~known
        found[hit] = day
        known |= hit
    first: list[int] = found.tolist()
    return first
