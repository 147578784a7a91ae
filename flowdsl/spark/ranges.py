"""Ranges: a log cut into consecutive stretches, with the log clock before each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from flowdsl.engine.range import BEGINNING
from flowdsl.log.sources import FileStretch

if TYPE_CHECKING:
    from pyspark.sql import Column

# stretches of the log that are counted, for each range that it is cut into
_STRETCHES: Final = 16
# logs of more events than this are cut anew if most of them lie in one block of a file
_ONE_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Cut:
    """The wishes for the ranges of a log: at most so many, of so many events each at least; or `in_place`, as
    the blocks of files in which it lies, where they are in its order.
    """

    most: int
    least_rows: int
    in_place: bool = False


@dataclass(frozen=True)
class Ranges:
    """The log cut into ranges: consecutive stretches of equal width, several of which are one range; or the
    blocks of files in which it lies.
    """

    count: int
    events: int
    first: int
    last: int
    width: int
    of: tuple[int, ...]
    """The range of each stretch."""
    clocks: tuple[int, ...]
    """The log clock (µs) before each range."""
    starts: tuple[int, ...]
    """The first number of each range."""
    rows: tuple[int, ...]
    """The number of events of each range."""
    blocks: tuple[int, ...] = ()
    """The block of each range, where they are blocks of files, which are read as they lie."""
    begin: int = 0
    end: int = 0
    """The log clock at the first and the last event."""
    changing: int = 0
    """How many events change what is read of the graph."""
    named: int = 0
    """How many events are of links with ids, where links are read."""
    links: Mapping[str, int] = field(default_factory=dict)
    """How many events are of links of a type that is read."""
    files: tuple[FileStretch, ...] = ()
    """Where these blocks lie, if tasks read them themselves."""

    @property
    def in_place(self) -> bool:
        """Return True if the ranges are blocks of files."""
        return bool(self.blocks)

    def number(self) -> Column:
        """Return the range of an event."""
        from pyspark.sql import functions as F  # noqa: N812

        if self.count == 1:
            return F.lit(0)
        stretch = F.floor((F.col("seq_no") - F.lit(self.first)) / F.lit(self.width)).cast("int")
        return F.element_at(F.array(*map(F.lit, self.of)), stretch + 1)


@dataclass(frozen=True)
class Grid:
    """Stretches of equal width in the numbers of a log."""

    parts: int
    first: int
    last: int
    stretches: int
    width: int
    least_rows: int

    @classmethod
    def of(cls, events: int, first: int, last: int, cut: Cut) -> Grid:
        """Return the stretches for a log of so many events, from one number to another."""
        parts = max(1, min(cut.most, -(-events // cut.least_rows)))
        numbers = last - first + 1
        width = -(-numbers // (1 if parts == 1 else min(parts * _STRETCHES, numbers)))
        return cls(parts, first, last, -(-numbers // width), width, cut.least_rows)

    def ranges(self, found: pl.DataFrame, marks: pl.DataFrame) -> Ranges:
        """Return ranges of about as many events each, of what is known of the stretches: rows, first and last
        number, greatest time, and time at the beginning.
        """
        events = int(found["rows"].sum())
        known = found.group_by("stretch").agg(pl.sum("rows"), pl.min("first"), pl.max("last"), pl.max("time"))
        known = known.sort("stretch")
        rows = np.zeros(self.stretches, np.int64)
        rows[known["stretch"].to_numpy()] = known["rows"].to_numpy()
        before = np.concatenate([[0], np.cumsum(rows)[:-1]])
        _, of = np.unique(before * self.parts // events, return_inverse=True)
        parts = known.with_columns(part=of[known["stretch"].to_numpy()]).group_by("part")
        pieces = parts.agg(pl.sum("rows"), pl.min("first"), pl.max("last"), pl.max("time")).sort("part")
        return self._of(pieces, found, marks, of.tolist())

    def in_place(self, found: pl.DataFrame, marks: pl.DataFrame) -> Ranges | None:
        """Return the blocks of files as ranges, where they are in the order of the log and large enough."""
        blocks = found.group_by("file", "block").agg(
            pl.sum("rows"), pl.min("first"), pl.max("last"), pl.max("time")
        )
        pieces = blocks.sort("first", "last")
        rows = int(pieces["rows"].sum())
        named = not (found["file"] == "").any()
        apart = bool((pieces["first"] > pieces["last"].shift(1)).all())
        large = pieces.height == 1 or rows >= pieces.height * self.least_rows
        # one task would have most of the work
        spread = rows <= _ONE_BLOCK or 2 * int(pieces["rows"].max()) <= rows  # type: ignore[arg-type]
        return self._of(pieces, found, marks, []) if named and apart and large and spread else None

    def _of(self, pieces: pl.DataFrame, found: pl.DataFrame, marks: pl.DataFrame, of: list[int]) -> Ranges:
        """Build the ranges from the counts of each.

        The clock before a range is the greatest time before it: a prefix maximum over as many numbers as
        there are ranges.
        """
        times = pieces["time"].to_numpy().copy()
        starts = pieces["first"].to_numpy()
        begin = int(found.sort("first")["begin"][0])
        last = int(pieces["last"][-1])
        if marks.height:
            # a mark after an event is past at the next one
            numbers, clock = marks["seq_no"].to_numpy(), marks["clock"].cast(pl.Int64).to_numpy()
            inside = numbers < last
            place = (np.searchsorted(starts, numbers[inside], side="right") - 1).clip(0)
            np.maximum.at(times, place, clock[inside])
            begin = max([begin, *clock[numbers < int(starts[0])].tolist()])
        reached = np.maximum.accumulate(times)
        return Ranges(
            pieces.height,
            int(pieces["rows"].sum()),
            self.first,
            last,
            self.width,
            tuple(of),
            (BEGINNING, *reached[:-1].tolist()),
            tuple(starts.tolist()),
            tuple(pieces["rows"].to_list()),
            tuple(pieces["block"].to_list()) if "block" in pieces.columns else (),
            begin,
            int(reached[-1]),
        )
