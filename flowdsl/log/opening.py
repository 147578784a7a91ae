"""What a log's folder holds when somebody opens it: after a crash, too, and after damage."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.catalog import Catalog, has_catalog
from flowdsl.log.durable import read_own
from flowdsl.log.segments import PREFIX
from flowdsl.log.tail import NAME as TAIL
from flowdsl.log.tail import scan

REPAIR: Final = "verify() says what is lost, verify(repair=True) sets it aside and goes on"

_logger = logging.getLogger("flowdsl.log")


def remove_leftovers(folder: Path, catalog: Catalog) -> None:
    """Remove files that a crash left: segments that were never listed, or no longer are, and unfinished files."""
    listed = {segment.name for segment in catalog.segments()}
    unfinished = [*folder.glob(f".{PREFIX}*"), *folder.glob(f".{TAIL}.part")]
    for path in [*unfinished, *(path for path in segment_files(folder) if path.name not in listed)]:
        path.unlink(missing_ok=True)


def lacks_catalog(folder: Path) -> bool:
    """Whether a folder was a log and its catalog is gone."""
    return not has_catalog(folder) and (folder / TAIL).is_file() and bool(segment_files(folder))


def segment_files(folder: Path) -> list[Path]:
    """The files of a folder that have the name of a segment, in the order of their events."""
    return sorted(folder.glob(f"{PREFIX}*.parquet"))


def found_tail(folder: Path, catalog: Catalog) -> tuple[int, list[EventRow]]:
    """The rows of the tail that are in no segment, and the number of the first of them."""
    path = folder / TAIL
    found = scan(read_own(path)) if path.is_file() else None
    if found is None or found.head is None or found.bad:
        what = "is missing" if found is None else "is damaged"
        raise DataError(f"{TAIL} {what}", place=str(path), hint=REPAIR)
    if found.torn:
        _logger.warning("%s: %d bytes of an append that was not acknowledged are dropped", path, found.torn)
    sealed = catalog.last_sealed()
    rows = [row for line in found.good if line.last > sealed for row in line.rows()]
    begin = next((line.first for line in found.good if line.last > sealed), max(found.last, sealed) + 1)
    return (sealed + 1, rows[sealed + 1 - begin :]) if begin <= sealed else (begin, rows)
