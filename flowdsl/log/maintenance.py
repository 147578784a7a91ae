"""Maintenance of a log: compaction of small segments and retention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from flowdsl.arguments import is_integer
from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, timestamp_us
from flowdsl.expressions.durations import parse_duration
from flowdsl.log import segments as writing
from flowdsl.log.catalog import MissingRange
from flowdsl.log.segment_reader import SealedEvents
from flowdsl.log.segments import Segment, write_segments
from flowdsl.log.table import report_rows
from flowdsl.log.writer import LogWriter
from flowdsl.progress import ProgressReporter
from flowdsl.text import short_repr


def compact(writer: LogWriter, sealed: SealedEvents, follower: ProgressReporter) -> int:
    """Merge neighbouring small segments; return how many segments fewer there are. Appends go on
    meanwhile.
    """
    fewer = 0
    with writer.maintaining() as catalog:
        groups = list(_groups(catalog.segments()))
        follower.total = sum(segment.rows for group in groups for segment in group)
        for group in groups:
            frames = report_rows(_frames(sealed, group), follower)
            merged = write_segments(sealed.folder, frames, group[0].first, catalog.identity)
            catalog.change_segments(listed=merged, dropped=group)
            _remove(sealed, group)
            fewer += len(group) - len(merged)
    return fewer


def retain(
    writer: LogWriter,
    sealed: SealedEvents,
    max_age: str | timedelta | None,
    max_bytes: int | None,
    now: datetime | str | None,
) -> int:
    """Drop the oldest segments beyond `max_age` or `max_bytes`; return the number of events dropped."""
    if (max_age is None) == (max_bytes is None):
        raise DataError("retain needs one limit", allowed="max_age='90d', or max_bytes=10_000_000_000")
    most = 0 if max_bytes is None else _check_bytes(max_bytes)
    with writer.maintaining() as catalog:
        listed = catalog.segments()
        if max_age is not None:
            ahead = {seq_no for seq_no, _ in catalog.ahead_marks()}
            latest = [_latest(sealed, segment, ahead) for segment in listed]
            newest = timestamp_us(now) if now is not None else _newest(writer, latest, ahead)
            oldest = newest - parse_duration(max_age).microseconds
            kept = next((i for i, time in enumerate(latest) if time >= oldest), len(listed))
        else:
            kept = _first_within(most - writer.tail_bytes, listed)
        going = listed[:kept]
        if going:
            last = going[-1].last
            catalog.change_segments(dropped=going, gaps=[MissingRange(1, last, "retained")])
            _remove(sealed, going)
            catalog.forget_marks(last)
        return sum(segment.rows for segment in going)


def _check_bytes(max_bytes: object) -> int:
    if not is_integer(max_bytes) or max_bytes < 0:
        raise DataError(f"max_bytes={short_repr(max_bytes, 200)}", allowed="a whole number of bytes")
    return max_bytes


def _first_within(room: int, listed: Sequence[Segment]) -> int:
    """Return the place of the first of the last segments that together take no more bytes than `room`."""
    for place in range(len(listed), 0, -1):
        room -= listed[place - 1].bytes
        if room < 0:
            return place
    return 0


def _groups(segments: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Yield runs of at least two neighbours that fit into one segment; segments that are half full are left
    alone.
    """
    group: list[Segment] = []
    for segment in segments:
        small = segment.rows <= writing.ROWS_A_SEGMENT // 2
        rows = sum(s.rows for s in group) + segment.rows
        follows = bool(group) and segment.first == group[-1].last + 1
        if not (small and follows and rows <= writing.ROWS_A_SEGMENT):
            if len(group) > 1:
                yield group
            group = []
        if small:
            group.append(segment)
    if len(group) > 1:
        yield group


def _frames(sealed: SealedEvents, group: list[Segment]) -> Iterator[pl.DataFrame]:
    for segment in group:
        for frame in sealed.segment_frames(segment, list(EVENT_COLUMNS), writing.ROWS_A_GROUP):
            yield frame.drop("seq_no")


def _newest(writer: LogWriter, latest: list[int], ahead: set[int]) -> int:
    numbered = enumerate(list(writer.rows.rows), writer.rows.first)
    times = [row.timestamp for seq_no, row in numbered if row.timestamp is not None and seq_no not in ahead]
    return max(times + latest, default=0)


def _latest(sealed: SealedEvents, segment: Segment, ahead: set[int]) -> int:
    """Return the time (µs) of a segment's newest event, ignoring events dated in the future."""
    inside = [seq_no for seq_no in ahead if segment.first <= seq_no <= segment.last]
    if not inside:
        return segment.statistics.max_time
    latest = segment.statistics.min_time
    for frame in sealed.segment_frames(segment, ["seq_no", "timestamp"], writing.ROWS_A_GROUP):
        times = frame.filter(~pl.col("seq_no").is_in(inside))["timestamp"].to_physical()
        latest = max([latest, *times.drop_nulls().top_k(1).to_list()])
    return latest


def _remove(sealed: SealedEvents, segments: list[Segment] | tuple[Segment, ...]) -> None:
    for segment in segments:
        (sealed.folder / segment.name).unlink(missing_ok=True)
