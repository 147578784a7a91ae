"""Predicate push-down: which segments a replay must read, and how much of each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from flowdsl.events import JSON_COLUMNS, KINDS
from flowdsl.log.segment_reader import SegmentSelection
from flowdsl.log.segments import Segment, Statistics
from flowdsl.values.paths import Path


@dataclass(frozen=True)
class ScanFilter:
    """Events that flows run on or look up; `clock` (µs) is the reader's clock.

    `triggers` are (kind, type or None for any). `entities`: all events of entities count. `link_types`:
    events of these links count, and of links with ids, since those may replace one another whatever their
    type. Where `passed` is given, nothing depends on when exactly the clock moves: segments that end before
    `stop` (a number, a time) may be left out but for their first and last event, and it is called with
    their number. `ahead` are the numbers of events that do not move the clock; they keep their ids.
    `documents` are the paths into JSON that events of the triggers are asked for.

    >>> ScanFilter((("link.created", "likes"),)).met_by(
    ...     Statistics(0, 9, True, ("link.created",), ("views",), (), False)
    ... )
    False
    """

    triggers: tuple[tuple[str, str | None], ...] = ()
    entities: bool = False
    link_types: frozenset[str] = frozenset()
    clock: int = 0
    stop: tuple[int | None, int | None] = (None, None)
    passed: Callable[[int], None] | None = None
    ahead: tuple[int, ...] = ()
    documents: frozenset[Path] = frozenset()

    def met_by(self, there: Statistics) -> bool:
        """Return True if a segment may contain an event that matters."""
        families = {kind.partition(".")[0] for kind in there.kinds}
        if self.entities and "entity" in families:
            return True
        if (
            self.link_types
            and "link" in families
            and (there.link_ids or _meet(self.link_types, there.link_types))
        ):
            return True
        for kind, wanted in self.triggers:
            types = there.link_types if kind.startswith("link.") else there.entity_types
            if kind in there.kinds and (wanted is None or _meet((wanted,), types)):
                return True
        return False

    def triggered(self, columns: Collection[str]) -> pl.Expr:
        """Return an expression for the events that trigger flows, for a table with these columns."""
        return pl.any_horizontal(_is_of(kind, wanted, columns) for kind, wanted in self.triggers)

    def readable(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Set documents to null where no flow runs on the event or looks up its entity or link."""
        families = ["entity."] * self.entities + ["link."] * bool(self.link_types)
        looked_up = (_is_of(kind, None, ()) for kind in KINDS if kind.startswith(tuple(families)))
        matters = pl.any_horizontal(self.triggered(frame.columns), *looked_up)
        names = [name for name in JSON_COLUMNS if name in frame.columns]
        return frame.with_columns(pl.when(matters).then(pl.col(name)).alias(name) for name in names)

    def choice(self, segments: Sequence[Segment]) -> SegmentSelection:
        """Return how much to read of each of a log's segments.

        One with an event that is late by the log's own clock is read as a whole: it is reported with its id.
        """
        bare: list[str] = []
        ends: list[str] = []
        clock = self.clock
        for segment in segments:
            there = segment.statistics
            marked = bisect_left(self.ahead, segment.first) < bisect_right(self.ahead, segment.last)
            if there.ordered and there.min_time >= clock and not marked and not self.met_by(there):
                (ends if self._passes(segment) else bare).append(segment.name)
            clock = max(clock, there.max_time)
        return SegmentSelection(bare=frozenset(bare), ends=frozenset(ends), passed=self.passed)

    def _passes(self, segment: Segment) -> bool:
        number, time = self.stop
        before_stop = (number is None or segment.last < number) and (
            time is None or segment.statistics.max_time < time
        )
        return self.passed is not None and segment.rows > 2 and before_stop


def _is_of(kind: str, wanted: str | None, columns: Collection[str]) -> pl.Expr:
    is_kind = pl.col("kind") == kind
    column = "link_type" if kind.startswith("link.") else "entity_type"
    both = is_kind if wanted is None or column not in columns else is_kind & (pl.col(column) == wanted)
    return both.fill_null(value=False)


def _meet(wanted: Iterable[str], types: Sequence[str] | None) -> bool:
    return types is None or not set(types).isdisjoint(wanted)
