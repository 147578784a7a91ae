"""Repair of a log: damaged parts are set aside, nothing is guessed, and no event number is ever reused."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from flowdsl.log.catalog import (
    CHECKED,
    Catalog,
    MissingRange,
    has_catalog,
    is_identity,
    make_catalog,
    new_identity,
    row_checksum,
)
from flowdsl.log.catalog import NAME as CATALOG
from flowdsl.log.columns import KIND
from flowdsl.log.fsync import make_folder, read_own, sync_folder
from flowdsl.log.locks import LockNote, lock_writer
from flowdsl.log.recovery import (
    QUARANTINE,
    free_name,
    holdings,
    read_noted,
    segment_files,
    subtract_spans,
    tidy,
    whose,
)
from flowdsl.log.rows import frame_of
from flowdsl.log.segments import Segment, numbers_in, write_segments
from flowdsl.log.verification import Corruption, Verification, find_segments, inspect, segment_damage, usable
from flowdsl.log.wal import NAME as TAIL
from flowdsl.log.wal import WalScan, WalWriter, scan
from flowdsl.progress import ProgressReporter

# more events than a tail can hold
_MORE_THAN_A_TAIL: Final = 1 << 22


def repair(folder: Path, follower: ProgressReporter) -> Verification:
    """Check a log as its only writer, and move what is damaged to `quarantine`; return the damage found.

    Segments that are there and that the catalog does not know are taken in again. The events that are lost
    are given up: their numbers are a gap that `problems` and a warning at each reading name, and are not used
    again.
    """
    lock = lock_writer(folder)
    try:
        found = inspect(folder, follower, note=lock.before)
        places = {Path(damage.place).name for damage in found.damage}
        if CATALOG in places:
            _rebuild_catalog(folder, lock.before)
            # only now is it known which segments there are
            found = replace(found, damage=found.damage + inspect(folder, follower, note=lock.before).damage)
        catalog = Catalog(folder)
        try:
            tail = Tail.of(folder, catalog, lock.before)
            taken = _take_in(folder, catalog, tail)
            _set_aside_damaged(folder, catalog, found.damage, taken)
            # with the rows of the tail in segments, too, what is in no file shows
            if taken or not tail.is_whole or tail.last < max(tail.known, catalog.last_sealed()):
                _renew_tail(folder, catalog, tail)
            seen = (tail.found.first, tail.found.last) if tail.found else (1, 0)
            holes = holdings(folder, [], catalog, seen, 0, alone=False).holes
            catalog.change_segments(gaps=[MissingRange(first, last, "lost") for first, last in holes])
            tidy(folder, catalog, (1, 0))
            lock.store(max(tail.known, catalog.last_sealed()), catalog.identity)
        finally:
            catalog.close()
        return replace(found, repaired=True)
    finally:
        lock.close()


@dataclass(frozen=True)
class Tail:
    """Tail as found; `known` is the last noted number, `exact` is whether none can be after it."""

    found: WalScan | None
    known: int
    exact: bool

    @classmethod
    def of(cls, folder: Path, catalog: Catalog, note: LockNote | None) -> Tail:
        """Read the tail of a folder."""
        path = folder / TAIL
        found = scan(read_own(path)) if path.is_file() else None
        numbers = [read_noted(note, catalog), *catalog.numbers_given()]
        if found is not None and found.head is not None and found.head.identity != catalog.identity:
            found = None
        exact = note is not None and note.whose == catalog.identity and note.is_exact
        return cls(found, max(numbers), exact)

    @property
    def is_whole(self) -> bool:
        """True if nothing is damaged."""
        return self.found is not None and self.found.head is not None and not self.found.bad

    @property
    def last(self) -> int:
        """Last number in it, as far as known."""
        return self.found.last if self.found else 0

    def most(self, catalog: Catalog) -> int | None:
        """Last number that was acknowledged, or None if unknown.

        Segments behind it are what an append left that did not end: all of it or nothing is in the log.
        """
        known = max(self.known, self.last, catalog.last_sealed())
        return known if self.is_whole or self.exact else None


def mend_tail(folder: Path, catalog: Catalog, note: LockNote | None) -> None:
    """Record what an unacknowledged torn end has lost, so that the log can be written immediately."""
    tail = Tail.of(folder, catalog, note)
    found = tail.found
    if found is None or found.head is None or not found.is_torn_only:
        return
    if found.bad or (not found.head.synced and tail.known > max(tail.last, catalog.last_sealed())):
        _renew_tail(folder, catalog, tail)


def _take_in(folder: Path, catalog: Catalog, tail: Tail) -> list[Segment]:
    """Add segments of this log whose events are in no other file; return them.

    Of those that hold others as well new ones are made; what cannot be used is set aside.
    """
    seen = (tail.found.first, tail.found.last) if tail.is_whole and tail.found else (1, 0)
    unknown = holdings(folder, os.listdir(folder), catalog, seen, 0, alone=True).unknown
    listed = catalog.segments()
    missing = [segment for segment in listed if not (folder / segment.name).is_file()]
    held = [(gap.first, gap.last) for gap in catalog.gaps()]
    held += [(segment.first, segment.last) for segment in listed if segment not in missing]
    most = tail.most(catalog)
    taken: list[Segment] = []
    for path in sorted(unknown, key=lambda p: (numbers_in(p.name)[0], -numbers_in(p.name)[1])):
        segment = usable(path, catalog.identity)
        first, last = numbers_in(path.name)
        parts = list(subtract_spans([(first, last if most is None else min(last, most))], held))
        if segment is not None:
            whole = parts == [(first, last)]
            taken += [segment] if whole else _parts_of(path, segment, parts, catalog.identity)
            held += parts
        if segment not in taken:
            _set_aside(path)
            path.unlink()
    if taken:
        gone = [s for s in missing if any(t.first <= s.last and s.first <= t.last for t in taken)]
        catalog.change_segments(listed=taken, dropped=gone)
    return taken


def _parts_of(path: Path, segment: Segment, parts: list[tuple[int, int]], identity: str) -> list[Segment]:
    """Write the events of some parts of a file to segments of their own; a damaged file has none."""
    written: list[Segment] = []
    for begin, end in parts if segment.crc >= 0 else ():
        rows = pl.DataFrame(pq.read_table(path)).slice(begin - segment.first, end - begin + 1)
        frame = rows.drop("seq_no").with_columns(pl.col("kind").cast(KIND))
        written += write_segments(path.parent, iter([frame]), begin, identity)
    return written


def _set_aside(path: Path) -> str:
    """Copy a damaged file to the quarantine; return its name there."""
    folder = path.parent / QUARANTINE
    make_folder(folder, inside=True)
    aside = free_name(folder / path.name)
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, aside, follow_symlinks=False)
    sync_folder(folder)
    return f"{QUARANTINE}/{aside.name}"


def _set_aside_damaged(
    folder: Path, catalog: Catalog, found: tuple[Corruption, ...], taken: list[Segment]
) -> None:
    """Set aside the listed segments of what was found, and those taken in that are damaged."""
    known = {segment.name for segment in catalog.segments()}
    for segment in {one.segment for one in found if one.segment and one.segment.name in known}:
        _set_aside_segment(folder, catalog, segment, [one for one in found if one.segment == segment])
    for segment in taken:
        damage = list(segment_damage(folder, segment))
        if damage:
            _set_aside_segment(folder, catalog, segment, damage)


def _set_aside_segment(folder: Path, catalog: Catalog, segment: Segment, damage: list[Corruption]) -> None:
    path = folder / segment.name
    reason = f"quarantined: {_set_aside(path)}" if path.is_file() else "its file was missing"
    identity = catalog.identity
    kept: list[Segment] = []
    begin = segment.first
    for part in sorted(damage, key=lambda d: d.first):
        if part.first > begin:
            kept += write_segments(folder, _rows_of(path, segment, begin, part.first - 1), begin, identity)
        begin = part.last + 1
    if begin <= segment.last:
        kept += write_segments(folder, _rows_of(path, segment, begin, segment.last), begin, identity)
    catalog.change_segments(
        listed=kept, dropped=[segment], gaps=[MissingRange(d.first, d.last, reason) for d in damage]
    )
    path.unlink(missing_ok=True)


def _rows_of(path: Path, segment: Segment, first: int, last: int) -> Iterator[pl.DataFrame]:
    """Return the events of undamaged row groups; every page is checked."""
    file = pq.ParquetFile(path, page_checksum_verification=True)
    begin = segment.first
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if first <= begin and begin + rows - 1 <= last:
            frame = pl.DataFrame(file.read_row_group(number))
            yield frame.drop("seq_no").with_columns(pl.col("kind").cast(KIND))
        begin += rows


def _renew_tail(folder: Path, catalog: Catalog, tail: Tail) -> None:
    """Write the good rows of a tail to segments, record what is lost, and start a new tail after all
    numbers.
    """
    found = tail.found
    reason = "lost with the tail"
    if not tail.is_whole and (folder / TAIL).is_file():
        reason = f"quarantined: {_set_aside(folder / TAIL)}"
    segments, gaps, _ = catalog.extents()
    taken = [*gaps, *((first, last) for _, first, last in segments)]
    kept: list[Segment] = []
    for line in found.good if found else ():
        for first, last in subtract_spans([(line.first, line.last)], taken):
            rows = line.rows()[first - line.first : last - line.first + 1]
            kept += write_segments(folder, iter([frame_of(rows)]), first, catalog.identity)
    sealed = max([catalog.last_sealed(), *(segment.last for segment in kept)])
    last = max(sealed, tail.known, tail.last)
    taken += [(segment.first, segment.last) for segment in kept]
    lost = [MissingRange(begin, end, reason) for begin, end in subtract_spans([(1, last)], taken)]
    if (found is None or found.head is None) and not tail.exact:
        # numbers that may have been given
        lost.append(
            MissingRange(
                last + 1, last + _MORE_THAN_A_TAIL, f"{reason}; it is unknown whether there were any"
            )
        )
    catalog.change_segments(listed=kept, gaps=lost)
    WalWriter(folder, catalog.last_sealed() + 1, [], catalog.identity, synced=True).close()


def _rebuild_catalog(folder: Path, note: LockNote | None) -> None:
    """Build a new catalog from the segments and the undamaged rows of the old one."""
    path = folder / CATALOG
    rows: dict[str, list[tuple[Any, ...]]] = {}
    if has_catalog(folder):
        _set_aside(path)
        rows = {
            table: list(_good_rows(path, table))
            for table in ("identity", "consumers", "gaps", "clock_marks", "ahead_marks")
        }
        path.unlink()
        path.with_name(f"{CATALOG}-journal").unlink(missing_ok=True)
        sync_folder(folder)
    identity = _identity_of(folder, rows.pop("identity", []), note)
    make_catalog(folder, identity or new_identity())
    catalog = Catalog(folder)
    try:
        segments = find_segments(folder, identity)
        known = {segment.name for segment in segments}
        kept = [(segment.first, segment.last) for segment in segments]
        for other in segment_files(folder):
            if other.name not in known and list(subtract_spans([numbers_in(other.name)], kept)):
                _set_aside(other)
                other.unlink()
        begins = [1, *(segment.last + 1 for segment in segments)]
        holes = [
            MissingRange(begin, segment.first - 1, "lost with the catalog")
            for begin, segment in zip(begins, segments, strict=False)
            if segment.first > begin
        ]
        catalog.change_segments(listed=segments, gaps=holes)
        catalog.restore(rows)
    finally:
        catalog.close()


def _identity_of(folder: Path, rows: list[tuple[Any, ...]], note: LockNote | None) -> str | None:
    """Return the identity of a log without catalog: from what is left of it, the tail, the lock, or most
    segments.
    """
    identities: list[Any] = [name for (name,) in rows]
    if (folder / TAIL).is_file() and (head := scan(read_own(folder / TAIL)).head) is not None:
        identities.append(head.identity)
    if note is not None:
        identities.append(note.whose)
    identities += [name for name, _ in Counter(map(whose, segment_files(folder))).most_common()]
    return next((name for name in identities if is_identity(name)), None)


def _good_rows(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        for *row, crc in connection.execute(f"SELECT {CHECKED[table]}, row_crc FROM {table}"):
            if crc == row_checksum(tuple(row)):
                yield tuple(row)
