"""Reading the events of a log's segments, while the segments may be compacted or dropped by another process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from flowdsl.errors import DataError
from flowdsl.log.border import reading
from flowdsl.log.columns import KIND, SCHEMA
from flowdsl.log.opening import REPAIR
from flowdsl.log.raw import ParquetFiles
from flowdsl.log.segments import Segment, checksum_of
from flowdsl.log.table import READ, cut

Wanted = Callable[[Segment], bool]
Listed = Callable[[int], Sequence[Segment]]


class SealedEvents:
    """The segments of one folder; each is held against its checksum before its first use through this object."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[str] = set()
        self._lock = threading.Lock()

    def frames(
        self, listed: Listed, segments: Sequence[Segment], names: list[str], size: int, after: int,
        tail: pl.DataFrame, wanted: Wanted | None = None,
    ) -> Iterator[pl.DataFrame]:  # fmt: skip
        """The events after `after` of segments, then those of the tail: only those of segments that are `wanted`.

        `listed` tells the segments after some event as they are now.
        """
        done = after
        waiting = list(segments)
        while waiting:
            segment = waiting.pop(0)
            if wanted is None or wanted(segment):
                try:
                    for frame in self.segment_frames(segment, names, size, done):
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
        self, segment: Segment, names: list[str], size: int, after: int = 0
    ) -> Iterator[pl.DataFrame]:
        """The events of one segment after `after`, at most `size` (but 65,536) at a time."""
        self.check(segment)
        files = ParquetFiles([self.folder / segment.name])
        for piece in files.pieces(names, max(size, READ), judged=False, after=after):
            frame = piece.frame.select(
                pl.col(name).cast(KIND if name == "kind" else SCHEMA[name]) if name in piece.frame.columns
                else pl.lit(None, SCHEMA[name]).alias(name)
                for name in names
            )  # fmt: skip
            yield from cut(iter([frame.filter(pl.col("seq_no") > after) if after else frame]), size)

    def check(self, segment: Segment) -> None:
        """Refuse a segment that is not what was written."""
        with self._lock:
            if segment.name in self._checked:
                return
        path = self.folder / segment.name
        with reading(str(path), REPAIR):
            size, crc = checksum_of(path)
        if (size, crc) != (segment.bytes, segment.crc):
            raise DataError(
                f"the segment of events {segment.first} to {segment.last} is damaged", place=str(path), hint=REPAIR
            )  # fmt: skip
        with self._lock:
            self._checked.add(segment.name)

    def forget(self) -> None:
        """Check all segments anew."""
        with self._lock:
            self._checked.clear()
