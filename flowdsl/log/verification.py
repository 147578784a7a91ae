"""Verification of a whole log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from flowdsl.errors import DataError
from flowdsl.log.catalog import NAME as CATALOG
from flowdsl.log.catalog import Catalog, has_catalog
from flowdsl.log.fsync import check_own
from flowdsl.log.locks import WRITER, LockNote, has_lost_lock, has_writer, read_note
from flowdsl.log.recovery import holdings, read_noted, segment_files, spans_text, subtract_spans
from flowdsl.log.segments import FOREIGN, Segment, checksum_of, describe_segment, identity_in, numbers_in
from flowdsl.log.wal import NAME as TAIL
from flowdsl.log.wal import WalScan, scan
from flowdsl.pluralize import count_text
from flowdsl.progress import ProgressReporter, heartbeat

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Corruption:
    """Damaged part of a log: the file, the events (0: none are lost, or unknown), and what is wrong."""

    place: str
    first: int
    last: int
    what: str
    segment: Segment | None = None


@dataclass(frozen=True)
class Verification:
    """Result of `verify`: how much was checked, what is damaged, and files that belong to nothing.

    `ok` is whether nothing is damaged. With `repair=True`, `damage` is what was found before, and set aside
    (`repaired`).
    """

    segments: int
    events: int
    damage: tuple[Corruption, ...]
    leftovers: tuple[str, ...]
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """True if nothing is damaged."""
        return not self.damage

    @property
    def frame(self) -> pd.DataFrame:
        """Return one row per damaged part: `place`, `first`, `last` (events), `what`."""
        import pandas as pd

        rows = [(d.place, d.first, d.last, d.what) for d in self.damage]
        return pd.DataFrame(rows, columns=["place", "first", "last", "what"])

    def __str__(self) -> str:
        lines = [
            (
                f"{count_text(self.segments, 'segment')} and the tail checked, "
                f"{count_text(self.events, 'event')} whole"
            )
        ]
        lines += [f"{d.place}: {d.what}" for d in self.damage]
        if self.repaired and self.damage:
            lines.append("repaired: what is damaged is set aside, and the log goes on")
        lines += [
            f"{name}: belongs to nothing (a crash left it); the next writer removes it"
            for name in self.leftovers
        ]
        return "\n".join(lines)


def inspect(
    folder: Path, follower: ProgressReporter, lost: DataError | None = None, note: LockNote | None = None
) -> Verification:
    """Check a log without changing it, also while it is written; report the number of events checked to
    `follower`.

    `lost` says how this process lost its right to write, `note` what the last writer noted, where that is not
    there to read.
    """
    note, names = note or read_note(folder / WRITER), os.listdir(folder)
    found = _read_tail(folder)
    damage, segments = _catalog_damage(folder)
    broken_catalog = bool(damage)
    if damage:
        segments = tuple(find_segments(folder))
    in_segments = _segments_damage(folder, segments, follower)
    damage += in_segments
    whole = sum(segment.rows for segment in segments) - sum(d.last - d.first + 1 for d in in_segments)
    if has_catalog(folder) and not broken_catalog:
        damage += _elsewhere(folder, names, found, note)
    damage += tail_damage(folder, found)
    if lost or has_lost_lock(folder):
        what = lost.what if lost else f"{WRITER} was removed while a process writes: others may come in"
        damage.append(Corruption(str(folder / WRITER), 0, 0, what))
    sealed = segments[-1].last if segments else 0
    if found is not None:
        whole += sum(max(line.last - max(line.first - 1, sealed), 0) for line in found.good)
    listed = {segment.name for segment in segments}
    # a writer may be about to list one
    left = [] if has_writer(folder) else [p.name for p in segment_files(folder) if p.name not in listed]
    return Verification(len(segments), whole, tuple(damage), tuple(left))


def _segments_damage(
    folder: Path, segments: Sequence[Segment], follower: ProgressReporter
) -> list[Corruption]:
    follower.total = follower.done + sum(segment.rows for segment in segments)
    damage: list[Corruption] = []
    for segment in segments:
        damage += segment_damage(folder, segment)
        follower(segment.rows)
    return damage


def tail_damage(folder: Path, found: WalScan | None) -> list[Corruption]:
    """Return the damage in a tail."""
    place = str(folder / TAIL)
    if found is None:
        return [Corruption(place, 0, 0, f"{TAIL} is missing, and the events that were in it")]
    damage = []
    if found.head is None:
        damage.append(Corruption(place, 0, 0, "the head of the tail is damaged"))
    for line in found.bad:
        lost = f"events {line.first} to {line.last}" if line.count else "an unknown number of events"
        damage.append(
            Corruption(place, line.first, line.last, f"damaged at bytes {line.begin} to {line.end}: {lost}")
        )
    return damage


def bad_groups(path: Path, segment: Segment) -> list[tuple[int, int, str]] | None:
    """Return the damaged row groups of a segment: first and last event, and what is wrong.

    None where the file's own description of itself cannot be trusted.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        heights = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except FOREIGN:
        return None
    if sum(heights) != segment.rows:
        return None
    bad = []
    begin = segment.first
    for number, height in enumerate(heights):
        columns = ", ".join(_bad_columns(file, number, begin, height))
        heartbeat()
        if columns:
            end = begin + height - 1
            bad.append((begin, end, f"row group {number} (events {begin} to {end}) is damaged in {columns}"))
        begin += height
    return bad


def find_segments(folder: Path, identity: str | None = None) -> list[Segment]:
    """Return the segments of a folder without catalog, after reading every page; of those with the same
    events the larger.
    """
    found = [segment for path in segment_files(folder) if (segment := usable(path, identity)) is not None]
    chosen: list[Segment] = []
    for segment in sorted(found, key=lambda s: (s.first, -s.last)):
        if not chosen or segment.first > chosen[-1].last:
            chosen.append(segment)
    return chosen


def usable(path: Path, identity: str | None = None) -> Segment | None:
    """Return a segment unknown to the catalog, after reading every page; None if it is damaged or of another
    log.
    """
    try:
        check_own(path)
        segment = describe_segment(path)
        whose = identity_in(path)
    except (*FOREIGN, DataError):
        return None
    heartbeat()
    if segment is None or (segment.first, segment.last) != numbers_in(path.name):
        return None
    bad = None if identity not in (None, whose) else bad_groups(path, segment)
    if bad is None:
        return None
    # with a checksum that no file has, the next check finds the damage
    return replace(segment, crc=-1) if bad else segment


def _bad_columns(file: Any, group: int, first: int, rows: int) -> Iterator[str]:
    for name in file.schema_arrow.names:
        try:
            column = file.read_row_group(group, columns=[name]).column(0)
            numbered = name != "seq_no" or column.to_pylist() == list(range(first, first + rows))
            if len(column) != rows or not numbered:
                yield name
        except FOREIGN:
            yield name


def _read_tail(folder: Path) -> WalScan | None:
    path = folder / TAIL
    found = None
    for _ in range(20):
        try:
            found = scan(path.read_bytes())
        except FileNotFoundError:
            return None
        if found.head is not None:
            # a writer may have been at the head
            return found
    return found


def _catalog_damage(folder: Path) -> tuple[list[Corruption], tuple[Segment, ...]]:
    place = str(folder / CATALOG)
    if not has_catalog(folder):
        return [Corruption(place, 0, 0, f"{CATALOG} is missing")], ()
    try:
        with closing(Catalog(folder)) as catalog:
            wrong = catalog.damage()
            return [Corruption(place, 0, 0, what) for what in wrong], () if wrong else catalog.segments()
    except DataError as error:
        return [Corruption(place, 0, 0, error.what)], ()


def segment_damage(folder: Path, segment: Segment) -> Iterator[Corruption]:
    """Return the damage in a segment."""
    path = folder / segment.name
    place = str(path)
    try:
        as_written = checksum_of(path) == (segment.bytes, segment.crc)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and segment not in _catalog_damage(folder)[1]:
            # compacted or dropped during the check
            return
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        text = f"the segment of events {segment.first} to {segment.last} {what}"
        yield Corruption(place, segment.first, segment.last, text, segment)
        return
    if as_written:
        return
    bad = bad_groups(path, segment)
    if not bad:
        # the flipped bit is where no checksum of a page stands for it: in the description of the pages
        bad = [(segment.first, segment.last, f"events {segment.first} to {segment.last} are damaged")]
    for first, last, what in bad:
        yield Corruption(place, first, last, what, segment)


def _elsewhere(
    folder: Path, names: list[str], tail: WalScan | None, note: LockNote | None
) -> list[Corruption]:
    """Return events that are missing from the log's files, and other files that contain them."""
    with closing(Catalog(folder)) as catalog:
        foreign = tail is not None and tail.head is not None and tail.head.identity != catalog.identity
        span = (1, 0) if tail is None or tail.first <= 0 or foreign else (tail.first, tail.last)
        found = holdings(folder, names, catalog, span, read_noted(note, catalog), alone=False)
    damage, holes = [], found.holes
    if foreign:
        damage.append(Corruption(str(folder / TAIL), 0, 0, f"{TAIL} is that of another log"))
    for path in found.unknown:
        inside = numbers_in(path.name)
        if list(subtract_spans([inside], holes)) == [inside]:
            continue
        what = (
            f"{spans_text([inside])} are in a segment that {CATALOG} does not know: repair takes it in again"
        )
        damage.append(Corruption(str(path), *inside, what))
        holes = list(subtract_spans(holes, [inside]))
    damage += [
        Corruption(str(folder), first, last, f"{spans_text([(first, last)])} are in no file")
        for first, last in holes
    ]
    return damage
