"""Duplicate events, recognized by their ids and skipped by an append with `duplicates="drop"`.

A log in memory remembers about 40 bytes for each id. A log in a folder keeps the ids of each segment as
sorted digests in a file next to it (16 bytes an id, in the folder `ids`), made at the first request and
only looked into after that; in memory it has those of what is not sealed yet. The files are no part of the
log: what is missing or damaged is made again.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.arguments import choice_of
from flowdsl.events import EventRow
from flowdsl.log.fsync import create_file, make_folder, put_in_place, write_whole
from flowdsl.log.problems import RowProblems
from flowdsl.log.repeats import Repeated
from flowdsl.values.interner import UNKNOWN, HashTable, hashes
from flowdsl.values.json_types import Mask

if TYPE_CHECKING:
    from flowdsl.log.segments import Segment
    from flowdsl.log.source import EventSource

Duplicates = Literal["keep", "drop"]
FOLDER: Final = "ids"
_SIZE: Final = 16
_READ: Final = 1 << 17
_HEAD: Final = b"flowdsl ids 1 "
_HEAD_SIZE: Final = len(_HEAD) + 8 + 1

Digests = npt.NDArray[np.bytes_]


def check_duplicates(duplicates: object) -> None:
    """Reject anything but "keep" and "drop"."""
    choice_of(duplicates, "duplicates", get_args(Duplicates))


class KnownIds:
    """Ids of the events of a log that are not in files."""

    def __init__(self, log: EventSource) -> None:
        self._log = log
        self._recent = HashTable()
        self._seen = 0

    def has(self, ids: pl.Series) -> Mask:
        """Return a mask of the ids that the log has."""
        self._catch_up()
        found: Mask = self._recent.find(*hashes([ids])[0]) != UNKNOWN
        return found

    def _catch_up(self) -> None:
        for chunk in self._log.chunks(("event_id",), _READ, self._seen):
            self._recent.insert(*hashes([chunk["event_id"].drop_nulls()])[0])
            self._seen = int(chunk["seq_no"][-1])


class KnownIdsInFiles(KnownIds):
    """Ids of the events of a log in a folder; those of its segments are indexed in files."""

    def __init__(self, log: EventSource, folder: Path, segments: Callable[[], Sequence[Segment]]) -> None:
        super().__init__(log)
        self._segments = segments
        self._folder = folder / FOLDER
        self._files: dict[str, Digests] = {}

    def has(self, ids: pl.Series) -> Mask:
        """Return a mask of the ids that the log has."""
        self._look_up(self._segments())
        found = super().has(ids)
        digests = _digests(ids)
        for known in self._files.values():
            at = np.searchsorted(known, digests)
            if len(known):
                found |= known.take(at, mode="clip") == digests
        return found

    def _look_up(self, segments: Sequence[Segment]) -> None:
        """Make the id files of these segments where they are missing."""
        names = {f"{s.first}-{s.last}": s for s in segments}
        if names.keys() == self._files.keys():
            return
        make_folder(self._folder)
        for name in self._files.keys() - names.keys():
            del self._files[name]
        for path in self._folder.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)
        for name, segment in names.items():
            if name not in self._files:
                path = self._folder / name
                known = _read(path)
                if known is None:
                    _write(path, self._ids_of(segment))
                    known = _read(path)
                assert known is not None
                self._files[name] = known
        # what was in memory is in files now
        self._recent, self._seen = HashTable(), segments[-1].last if segments else 0

    def _ids_of(self, segment: Segment) -> Digests:
        parts = []
        for chunk in self._log.chunks(("event_id",), _READ, segment.first - 1):
            inside = chunk.filter(pl.col("seq_no") <= segment.last)
            parts.append(_digests(inside["event_id"].drop_nulls()))
            if int(chunk["seq_no"][-1]) >= segment.last:
                break
        return np.sort(np.concatenate(parts or [np.zeros(0, "S16")]))


class Fresh:
    """Filter of one append: accepts new events and records the rest."""

    def __init__(self, known: KnownIds, problems: RowProblems, *, among: bool) -> None:
        self.dropped = 0
        self._known = known
        self._problems = problems
        self._here = Repeated() if among else None
        self._row = 0

    def rows(self, rows: list[EventRow]) -> list[EventRow]:
        """Return the events that are new."""
        ids = pl.Series("event_id", [row.event_id for row in rows], dtype=pl.String)
        gone = self._gone(ids)
        return [row for i, row in enumerate(rows) if i not in gone]

    def frames(self, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Yield the new events of frames."""
        for frame in frames:
            gone = self._gone(frame["event_id"]) if "event_id" in frame.columns else None
            yield frame if not gone else frame.filter(~pl.int_range(pl.len()).is_in(list(gone)))

    def _gone(self, ids: pl.Series) -> set[int]:
        there = ids.is_not_null().to_numpy()
        places = np.flatnonzero(there)
        known = places[self._known.has(ids.gather(places))] if len(places) else places
        why = {int(i): "is in the log already" for i in known}
        if self._here is not None:
            why |= {i: "repeats an earlier one" for i in self._here.rows(ids) if i not in why}
        for i in sorted(why):
            name = ids[i]
            self._problems.add(
                "append", self._row + i, "duplicate", f"event_id {name!r} {why[i]}: left out", name
            )
        self._row += len(ids)
        self.dropped += len(why)
        return set(why)


def _digests(ids: pl.Series) -> Digests:
    digests = [hashlib.blake2b(name.encode(), digest_size=_SIZE).digest() for name in ids.to_list()]
    return np.frombuffer(b"".join(digests), dtype=f"S{_SIZE}")


def _write(path: Path, digests: Digests) -> None:
    hidden = path.with_name(f".{path.name}.part")
    content = digests.astype(f"S{_SIZE}").tobytes()
    handle = create_file(hidden)
    try:
        write_whole(handle, b"%b%08x\n%b" % (_HEAD, zlib.crc32(content), content), 0)
    finally:
        os.close(handle)
    put_in_place(hidden, path)


def _read(path: Path) -> Digests | None:
    """Map the digests of a file into memory; return None if it does not exist or is damaged."""
    if not path.is_file() or (path.stat().st_size - _HEAD_SIZE) % _SIZE:
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD_SIZE)
    found: Any = np.zeros(0, f"S{_SIZE}")
    if path.stat().st_size > _HEAD_SIZE:
        found = np.memmap(path, dtype=f"S{_SIZE}", mode="r", offset=_HEAD_SIZE)
    return found if head == b"%b%08x\n" % (_HEAD, zlib.crc32(found)) else None
