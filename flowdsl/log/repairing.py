"""Setting aside what is damaged in a log: nothing is guessed at, and no number of an event is ever used twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from flowdsl.log.catalog import CHECKED, Catalog, Gap, has_catalog, row_checksum
from flowdsl.log.catalog import NAME as CATALOG
from flowdsl.log.columns import KIND
from flowdsl.log.durable import make_folder, sync_folder
from flowdsl.log.opening import remove_leftovers, segment_files
from flowdsl.log.rows import frame_of
from flowdsl.log.segments import Segment, identity_in, write_segments
from flowdsl.log.tail import NAME as TAIL
from flowdsl.log.tail import TailFile, scan
from flowdsl.log.verifying import Damage, Verification, found_segments, inspect
from flowdsl.log.writing import lock_writer
from flowdsl.progress import Follower

QUARANTINE: Final = "quarantine"
# more events than a tail can hold
_MORE_THAN_A_TAIL: Final = 1 << 22


def repair(folder: Path, follower: Follower) -> Verification:
    """Check a log as its only writer, and put what is damaged into the folder `quarantine`; what was found.

    The events in it are given up: their numbers are a gap that `problems` and a warning at each reading name.
    """
    lock = lock_writer(folder)
    try:
        found = inspect(folder, follower)
        places = {Path(damage.place).name for damage in found.damage}
        if CATALOG in places:
            _rebuild_catalog(folder)
            # only now is it known which segments there are
            found = replace(found, damage=found.damage + inspect(folder, follower).damage)
        catalog = Catalog(folder)
        try:
            for segment in {damage.segment for damage in found.damage if damage.segment}:
                _set_aside_segment(
                    folder, catalog, segment, [d for d in found.damage if d.segment == segment]
                )
            holes = [d for d in found.damage if d.place == str(folder)]
            catalog.change_segments(gaps=[Gap(d.first, d.last, "lost") for d in holes])
            if TAIL in places:
                _set_aside_tail(folder, catalog)
            remove_leftovers(folder, catalog)
        finally:
            catalog.close()
        return replace(found, repaired=True)
    finally:
        lock.close()


def _set_aside(path: Path) -> str:
    """Keep a damaged file in the folder for such; the name it has there. It stays where it is, too."""
    folder = path.parent / QUARANTINE
    make_folder(folder, inside=True)
    name = path.name
    number = 1
    while (folder / name).exists():
        number += 1
        name = f"{path.name}.{number}"
    try:
        os.link(path, folder / name)
    except OSError:
        shutil.copy2(path, folder / name)
    sync_folder(folder)
    return f"{QUARANTINE}/{name}"


def _set_aside_segment(folder: Path, catalog: Catalog, segment: Segment, damage: list[Damage]) -> None:
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
        listed=kept, dropped=[segment], gaps=[Gap(d.first, d.last, reason) for d in damage]
    )
    path.unlink(missing_ok=True)


def _rows_of(path: Path, segment: Segment, first: int, last: int) -> Iterator[pl.DataFrame]:
    """The events of whole row groups, each page held against its checksum."""
    file = pq.ParquetFile(path, page_checksum_verification=True)
    begin = segment.first
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if first <= begin and begin + rows - 1 <= last:
            frame = pl.DataFrame(file.read_row_group(number))
            yield frame.drop("seq_no").with_columns(pl.col("kind").cast(KIND))
        begin += rows


def _set_aside_tail(folder: Path, catalog: Catalog) -> None:
    path = folder / TAIL
    sealed = catalog.last_sealed()
    if not path.is_file():
        gap = Gap(
            sealed + 1, sealed + _MORE_THAN_A_TAIL, "lost with the tail; how many events, nothing tells"
        )
        catalog.change_segments(gaps=[gap])
        TailFile(folder, gap.last + 1, [], synced=True).close()
        return
    name = _set_aside(path)
    found = scan(path.read_bytes())
    last = max(found.last, sealed)
    if not found.first:
        last = sealed + max(path.stat().st_size // 40, 1)
    kept: list[Segment] = []
    gaps: list[Gap] = []
    begin = sealed + 1
    for line in found.good:
        if line.last <= sealed:
            continue
        if line.first > begin:
            gaps.append(Gap(begin, line.first - 1, f"quarantined: {name}"))
        rows = line.rows()[max(sealed + 1 - line.first, 0) :]
        first = max(line.first, sealed + 1)
        kept += write_segments(folder, iter([frame_of(rows)]), first, catalog.identity)
        begin = line.last + 1
    if begin <= last:
        gaps.append(Gap(begin, last, f"quarantined: {name}"))
    catalog.change_segments(listed=kept, gaps=gaps)
    TailFile(folder, last + 1, [], synced=True).close()


def _rebuild_catalog(folder: Path) -> None:
    """A new catalog of the segments that are there, with those rows of the old one that have their right checksum."""
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
    catalog = Catalog(folder)
    try:
        segments = found_segments(folder)
        known = {segment.name for segment in segments}
        for other in segment_files(folder):
            if other.name not in known:
                _set_aside(other)
        begins = [1, *(segment.last + 1 for segment in segments)]
        holes = [
            Gap(begin, segment.first - 1, "lost with the catalog")
            for begin, segment in zip(begins, segments, strict=False)
            if segment.first > begin
        ]
        catalog.change_segments(listed=segments, gaps=holes)
        known_as = [name for (name,) in rows.pop("identity", [])] or _identities(folder, segments)
        if known_as:
            catalog.restore_identity(known_as[0])
        catalog.restore(rows)
    finally:
        catalog.close()


def _identities(folder: Path, segments: Iterable[Segment]) -> list[str]:
    """The logs that segments say they belong to."""
    found = (identity_in(folder / segment.name) for segment in segments)
    return [name for name in found if name is not None]


def _good_rows(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(path)
        try:
            for *row, crc in connection.execute(f"SELECT {CHECKED[table]}, row_crc FROM {table}"):
                if crc == row_checksum(tuple(row)):
                    yield tuple(row)
        finally:
            connection.close()
