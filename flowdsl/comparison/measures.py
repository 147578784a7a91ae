"""Measures of a setting: messages, people reached, how late, and how much each person gets."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import polars as pl

from flowdsl.charts.formats import SECOND, number_text, span_text
from flowdsl.errors import ReplayError

Unit = Literal["count", "seconds"]
Better = Literal["more", "less"]
Standing = Literal["better", "worse", ""]


@dataclass(frozen=True)
class Effect:
    """The deliveries of one setting; `find_delays` finds how long their events waited."""

    deliveries: pl.DataFrame
    find_delays: Callable[[], pl.DataFrame]

    @cached_property
    def delays(self) -> pl.DataFrame:
        """The delays (`delay`, in µs), and how many events were delivered after each (`events`)."""
        return self.find_delays()

    @cached_property
    def people(self) -> pl.DataFrame:
        """The deliveries that have a recipient."""
        return self.deliveries.select("recipient_id", "delivered_at").drop_nulls()


@dataclass(frozen=True)
class Spread:
    """Values in ascending order, and how often each occurs."""

    values: pl.Series
    counts: pl.Series

    def at(self, statistic: str) -> float | None:
        """Return a statistic, or None without values; `p95` is the least value that 95 % do not exceed."""
        total = int(self.counts.sum()) if len(self.counts) else 0
        if not total:
            return None
        if statistic == "mean":
            return float((self.values.cast(pl.Float64) * self.counts).sum()) / total
        share = {"min": 0.0, "max": 100.0}.get(statistic)
        wanted = float(statistic[1:]) if share is None else share
        # percents instead of fractions: as floats, 0.95 × 20 is not exactly 19
        rank = max(math.ceil(round(wanted) * total / 100), 1)
        place = int(self.counts.cum_sum().search_sorted(rank))
        return float(self.values[place])


Reader = Callable[[Effect], "float | Spread"]


@dataclass(frozen=True)
class Measure:
    """Something that is measured: a single number, or a distribution over people or events that needs a
    statistic.
    """

    name: str
    doc: str
    better: Better
    read: Reader
    distribution: bool = False
    unit: Unit = "count"


def _load(every: str | None) -> Reader:
    """Build a reader of the most messages that each person gets in one calendar hour, day, week or month, or
    in the whole run if `every` is None.
    """

    def read(effect: Effect) -> Spread:
        people = effect.people
        by = [pl.col("recipient_id")]
        if every is not None:
            by.append(pl.col("delivered_at").dt.truncate(every).alias("stretch"))
        counted = people.group_by(by).len("n").group_by("recipient_id").agg(pl.col("n").max())
        of_each = counted.group_by("n").len("people").sort("n")
        return Spread(of_each["n"], of_each["people"])

    return read


_STRETCHES: Final = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}
MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        Measure("volume", "messages that go out", "less", lambda d: float(d.deliveries.height)),
        Measure(
            "events",
            "events that are delivered: a digest of five counts five, an event delivered to two people "
            "counts twice",
            "more",
            lambda d: float(d.delays["events"].sum()),
        ),
        Measure(
            "reach",
            "people who get at least one message",
            "more",
            lambda d: float(d.people["recipient_id"].n_unique()),
        ),
        Measure(
            "delay",
            "how long an event waits for its delivery, for every event of a digest",
            "less",
            lambda d: Spread(d.delays["delay"] / 1e6, d.delays["events"]),
            distribution=True,
            unit="seconds",
        ),
        *(
            Measure(
                f"per_person_per_{name}",
                f"messages that a person gets in their fullest {name} (UTC)",
                "less",
                _load(every),
                distribution=True,
            )
            for name, every in _STRETCHES.items()
        ),
        Measure("per_person", "messages that a person gets in all", "less", _load(None), distribution=True),
    )
}
STATISTICS: Final = "p1 to p99, min, max or mean"
_STATISTIC: Final = re.compile(r"p[1-9][0-9]?|min|max|mean")


@dataclass(frozen=True)
class Figure:
    """A measure with its statistic, if it needs one: `reach`, `delay.p90`."""

    measure: Measure
    statistic: str | None = None

    @property
    def name(self) -> str:
        """The name of the figure as a column, and in demands."""
        return self.measure.name if self.statistic is None else f"{self.measure.name}.{self.statistic}"

    @property
    def doc(self) -> str:
        """The measure in words."""
        if self.statistic is None:
            return self.measure.doc
        share = {"min": "the least", "max": "the most", "mean": "the mean"}.get(self.statistic)
        each = "events" if self.measure.unit == "seconds" else "people"
        return f"{self.measure.doc}: {share or f'at most so much for {self.statistic[1:]} % of {each}'}"

    def text(self, value: float | None) -> str:
        """Return a value with its unit; a dash where there is none."""
        if value is None:
            return "–"
        return span_text(value * SECOND) if self.measure.unit == "seconds" else number_text(value)

    def standing(self, value: float, other: float) -> Standing:
        """Return `better` or `worse` for a value compared with another, empty if they are equal."""
        if value == other:
            return ""
        return "better" if (value > other) == (self.measure.better == "more") else "worse"

    def of(self, effect: Effect) -> float | None:
        """Return the figure of a setting; None if there are no deliveries to take the statistic of."""
        found = self.measure.read(effect)
        if isinstance(found, Spread):
            assert self.statistic is not None
            return found.at(self.statistic)
        return found

    @classmethod
    def parse(cls, text: str, place: str) -> Figure:
        """Parse a text such as `delay.p90`; raise `ReplayError`, with its place, for an unknown figure."""
        name, _, statistic = text.partition(".")
        measure = MEASURES.get(name)
        if measure is None:
            raise ReplayError.unknown(f"nothing is measured as {name!r}", name, MEASURES, place=place)
        if not measure.distribution:
            if statistic:
                raise ReplayError(
                    f"{name} is one number, and has no {statistic!r}", place=place, allowed=name
                )
            return cls(measure)
        if not _STATISTIC.fullmatch(statistic):
            each = "event" if measure.unit == "seconds" else "person"
            raise ReplayError(
                f"{name} has a value for each {each}"
                + (f", and {statistic!r} is not a statistic" if statistic else ": say which"),
                place=place,
                allowed=STATISTICS,
                hint=f"{name}.p95 holds for 95 of 100",
            )
        return cls(measure, statistic)
