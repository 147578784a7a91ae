"""Recovery when a log is opened: after a crash, after damage, and in a copy made while it was written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.catalog import NAME as CATALOG
from flowdsl.log.catalog import Catalog, has_catalog
from flowdsl.log.fsync import make_folder, put_in_place, read_own
from flowdsl.log.locks import WRITER, LockNote, read_note
from flowdsl.log.segments import FOREIGN, PREFIX, identity_in, numbers_in
from flowdsl.log.wal import HEAD, WalHeader, WalReader, parse_head, scan
from flowdsl.log.wal import NAME as TAIL

REPAIR: Final = "verify() says what is lost, verify(repair=True) sets it aside and goes on"
QUARANTINE: Final = "quarantine"
Span = tuple[int, int]

_logger = logging.getLogger("flowdsl.log")


@dataclass(frozen=True)
class Holdings:
    """Places of event numbers: missing ones, segments that hold events found nowhere else, and the rest."""

    holes: list[Span]
    unknown: list[Path]
    spare: list[Path]

    def check(self, folder: Path) -> None:
        """Raise an error if acknowledged events are missing."""
        if not self.holes:
            return
        found = [
            path
            for path in self.unknown
            if list(subtract_spans([numbers_in(path.name)], self.holes)) != [numbers_in(path.name)]
        ]
        why = (
            f"; {len(found)} segments that {CATALOG} does not know are there, {found[0].name} the first: it "
            "is older than they are"
            if found
            else f"; {CATALOG} or {TAIL} is not as it was left, or of another time"
        )
        raise DataError(
            f"{spans_text(self.holes)} are in no file that counts{why}", place=str(folder), hint=REPAIR
        )


def holdings(
    folder: Path, names: Iterable[str], catalog: Catalog, tail: Span, floor: int, *, alone: bool
) -> Holdings:
    """Return where the numbers are, given the files `names`, the span of the tail, and the last noted number
    `floor`.

    `alone`: there is no writer meanwhile, so that a file that is listed and not there is missing.
    """
    extents, gaps, sealed = catalog.extents()
    listed = {name for name, _, _ in extents}
    there = set(names)
    held = [*gaps, tail, *((first, last) for name, first, last in extents if not alone or name in there)]
    counted = [*gaps, tail, *((first, last) for _, first, last in extents)]
    end = max(floor, sealed, tail[1])
    unknown: list[Path] = []
    spare: list[Path] = []
    for name in sorted(there - listed):
        span = numbers_in(name)
        if span[1]:
            (unknown if list(subtract_spans([span], held)) else spare).append(folder / name)
    return Holdings(list(subtract_spans([(1, end)], counted)), unknown, spare)


def subtract_spans(spans: Iterable[Span], taken: Iterable[Span]) -> Iterator[Span]:
    """Return the parts of spans that no other span covers.

    >>> list(subtract_spans([(1, 9)], [(3, 4), (4, 5), (8, 20)]))
    [(1, 2), (6, 7)]
    """
    taken = sorted(span for span in taken if span[0] <= span[1])
    for first, last in spans:
        begin = first
        for low, high in taken:
            if low > last:
                break
            if low > begin:
                yield begin, low - 1
            begin = max(begin, high + 1)
        if begin <= last:
            yield begin, last


def spans_text(spans: list[Span]) -> str:
    """Return event numbers in words.

    >>> spans_text([(1, 3), (7, 7)])
    'events 1 to 3, 7'
    """
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in spans]
    more = f" and {len(texts) - 10} more stretches" if len(texts) > 10 else ""
    return f"events {', '.join(texts[:10])}{more}"


def read_noted(note: LockNote | None, catalog: Catalog) -> int:
    """Return the last number that the writer noted in its lock; 0 if it is another log's or damaged."""
    return note.number if note is not None and note.whose == catalog.identity else 0


def tidy(folder: Path, catalog: Catalog, tail: Span, *, mine: bool = False) -> None:
    """Remove leftovers of a crash whose events are elsewhere; move files with other events to `quarantine`.

    `mine`: this process has been the only one since it looked, so that what is not listed has failed and
    goes, too.
    """
    for path in [
        *folder.glob(f".{PREFIX}*"),
        *folder.glob(f".{TAIL}.part"),
        *folder.glob(f".{CATALOG}.part*"),
    ]:
        path.unlink(missing_ok=True)
    found = holdings(folder, os.listdir(folder), catalog, tail, 0, alone=True)
    spare, aside = (found.spare + found.unknown, []) if mine else (found.spare, found.unknown)
    for path in spare:
        path.unlink(missing_ok=True)
    for path in aside:
        if numbers_in(path.name)[1] > tail[1]:
            make_folder(folder / QUARANTINE, inside=True)
            put_in_place(path, free_name(folder / QUARANTINE / path.name))
            _logger.warning("%s: no append that ended has written it: it goes to %s", path, QUARANTINE)


def free_name(path: Path) -> Path:
    """Return the path, with a number appended if it exists."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def lacks_catalog(folder: Path) -> bool:
    """Return True if a folder was a log whose catalog is lost."""
    # a writer may make it while the other files are looked at
    return not has_catalog(folder) and _was_log(folder) and not has_catalog(folder)


def _was_log(folder: Path) -> bool:
    """Return True if the files of a folder are those of a log that had a catalog."""
    note = read_note(folder / WRITER)
    if note is not None and note.number:
        return True
    tail = folder / TAIL
    if not tail.is_file():
        # segments know whose they are: those of a log are not read as if they were any files
        return any(map(whose, segment_files(folder)))
    head = parse_head(read_own(tail, HEAD))
    # a tail that was just begun is what a crash leaves of a log that was just made
    return head is None or head.first > 1 or head.last > 0 or bool(segment_files(folder))


def segment_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are named like segments, in event order."""
    return sorted(path for path in folder.glob(f"{PREFIX}*.parquet") if numbers_in(path.name)[1])


def find_tail(folder: Path, catalog: Catalog, note: LockNote | None) -> tuple[int, list[EventRow]]:
    """Return the rows of the tail that are in no segment, and the number of the first one."""
    path = folder / TAIL
    found = scan(read_own(path)) if path.is_file() else None
    if found is None or found.head is None or found.bad:
        what = "is missing" if found is None else "is damaged"
        raise DataError(f"{TAIL} {what}", place=str(path), hint=REPAIR)
    check_whose(folder, found.head, catalog)
    floor = read_noted(note, catalog)
    holdings(folder, os.listdir(folder), catalog, (found.first, found.last), floor, alone=True).check(folder)
    if found.torn:
        _logger.warning("%s: %d bytes of an append that was not acknowledged are dropped", path, found.torn)
    sealed = catalog.last_sealed()
    rows = [row for line in found.good if line.last > sealed for row in line.rows()]
    begin = next((line.first for line in found.good if line.last > sealed), max(found.last, sealed) + 1)
    return (sealed + 1, rows[sealed + 1 - begin :]) if begin <= sealed else (begin, rows)


def check_whose(folder: Path, head: WalHeader, catalog: Catalog) -> None:
    """Reject the tail of another log."""
    if head.identity != catalog.identity:
        raise DataError(f"{TAIL} is that of another log", place=str(folder / TAIL), hint=REPAIR)


def whose(path: Path) -> str | None:
    """Return the identity stored in a segment, or None if there is none or it is damaged."""
    try:
        return identity_in(path)
    except FOREIGN:
        return None


def check_reading(folder: Path, tail: WalReader) -> Catalog:
    """Return the catalog of a log that may be written meanwhile; raise `DataError` if events are missing."""
    catalog = Catalog(folder)
    try:
        # in this order, with the catalog last, so that events written meanwhile are found at least once
        note, names = read_note(folder / WRITER), os.listdir(folder)
        head = tail.head()
        check_whose(folder, head, catalog)
        floor = read_noted(note, catalog)
        holdings(folder, names, catalog, (head.first, head.last), floor, alone=False).check(folder)
    except BaseException:
        catalog.close()
        raise
    return catalog
