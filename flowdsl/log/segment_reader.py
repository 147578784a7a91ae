"""Reader of a log's segments, which another process may compact or drop meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from flowdsl.errors import DataError
from flowdsl.log.columns import KIND, SCHEMA, TIME
from flowdsl.log.errors import reading
from flowdsl.log.forks import watch
from flowdsl.log.recovery import REPAIR
from flowdsl.log.segments import Segment, checksum_of
from flowdsl.log.sources import ParquetFiles
from flowdsl.log.table import READ, split

BARE: Final = ("seq_no", "timestamp", "kind")
Listed = Callable[[int], Sequence[Segment]]


@dataclass(frozen=True)
class SegmentSelection:
    """How much to read of each segment. Segments for which `wanted` is true (None: all) are read whole,
    except: those in `bare`, of which only numbers, times and kinds are read; and those in `ends`, which are
    not read: their first and last event are made from their statistics, and `passed` is called with the
    number of the other events.
    """

    wanted: Callable[[Segment], bool] | None = None
    bare: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    passed: Callable[[int], None] | None = None


class SealedEvents:
    """Segments of one folder; each is checked against its checksum before its first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[str] = set()
        self._lock = threading.Lock()
        watch(self)

    def frames(
        self,
        listed: Listed,
        segments: Sequence[Segment],
        names: list[str],
        size: int,
        after: int,
        tail: pl.DataFrame,
        choice: SegmentSelection,
    ) -> Iterator[pl.DataFrame]:
        """Yield the events after `after` of the segments, restricted by `choice`, then those of the tail.

        `listed` tells the segments after some event as they are now.
        """
        done = after
        waiting = list(segments)
        while waiting:
            segment = waiting.pop(0)
            if segment.name in choice.ends and choice.passed and done < segment.first:
                yield _ends(segment, names)
                choice.passed(segment.rows - 2)
            elif choice.wanted is None or choice.wanted(segment):
                bare = segment.name in choice.bare or segment.name in choice.ends
                try:
                    for frame in self.segment_frames(segment, names, size, done, bare=bare):
                        yield frame
                        done = int(frame["seq_no"][-1])
                except DataError:
                    if (self.folder / segment.name).exists():
                        raise
                    # compacted or dropped meanwhile: what the catalog lists now holds the rest
                    waiting = [s for s in listed(done) if s.first <= segments[-1].last]
                    if segment in waiting:
                        raise
                    continue
            done = max(done, segment.last)
        yield tail.filter(pl.col("seq_no") > done) if done > after else tail

    def segment_frames(
        self, segment: Segment, names: list[str], size: int, after: int = 0, *, bare: bool = False
    ) -> Iterator[pl.DataFrame]:
        """Yield the events of one segment after `after`, up to `size` (at most 65,536) at a time."""
        self.check(segment)
        files = ParquetFiles([self.folder / segment.name])
        read = BARE if bare else names
        for piece in files.pieces(read, max(size, READ), judged=False, after=after):
            frame = piece.frame.select(
                pl.col(name).cast(KIND if name == "kind" else SCHEMA[name])
                if name in piece.frame.columns
                else pl.lit(None, SCHEMA[name]).alias(name)
                for name in names
            )
            yield from split(iter([frame.filter(pl.col("seq_no") > after) if after else frame]), size)

    def check(self, segment: Segment) -> None:
        """Raise an error for a damaged segment."""
        with self._lock:
            if segment.name in self._checked:
                return
        path = self.folder / segment.name
        with reading(str(path), REPAIR):
            size, crc = checksum_of(path)
        if (size, crc) != (segment.bytes, segment.crc):
            raise DataError(
                f"the segment of events {segment.first} to {segment.last} is damaged",
                place=str(path),
                hint=REPAIR,
            )
        with self._lock:
            self._checked.add(segment.name)

    def after_fork(self) -> None:
        """Replace locks that a thread of the parent process may hold."""
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Check all segments again from now on."""
        with self._lock:
            self._checked.clear()


def _ends(segment: Segment, names: list[str]) -> pl.DataFrame:
    """Return the first and last event of a segment in time order, as far as its statistics tell."""
    there = segment.statistics
    known = pl.DataFrame(
        {
            "seq_no": pl.Series([segment.first, segment.last], dtype=pl.Int64),
            "timestamp": pl.Series([there.min_time, there.max_time], dtype=pl.Int64).cast(TIME),
            "kind": pl.Series([there.kinds[0]] * 2, dtype=KIND),
        }
    )
    return known.select(pl.col(n) if n in BARE else pl.lit(None, SCHEMA[n]).alias(n) for n in names)
