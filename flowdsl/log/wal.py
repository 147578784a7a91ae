"""Write-ahead log `tail.log`: events that are in no segment yet, one line per append.

A line is its checksum, the number of its first event, how many there are, and their fields as JSON. The head
of the file says up to where it is good: what `append` has returned for ends there. A bad line before that
place is damage; what is behind it was never acknowledged, and is skipped where it is not whole.
Damage before later whole lines is never passed over: its numbers are known.
"""

from __future__ import annotations

import json
import os
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError
from flowdsl.events import EventRow
from flowdsl.log.buffer import TailRows
from flowdsl.log.fsync import create_file, open_own, put_in_place, read_own, sync, write_whole
from flowdsl.log.locks import has_writer

NAME: Final = "tail.log"
HEAD: Final = 160
_HEAD: Final = re.compile(
    rb"flowdsl tail 2 ([0-9a-f]{32}) ([sn]) (\d{20}) (\d{20}) (\d{20}) ([0-9a-f]{8}) *\n"
)
_LINE: Final = re.compile(rb"([0-9a-f]{8}) (\d+) (\d+) ")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_ROW_SIZE: Final = len(_encode([None] * len(EventRow._fields)))


@dataclass(frozen=True)
class WalHeader:
    """Header of a tail: its first event, where it ends, the last event before that, and the log's
    identity.
    """

    first: int
    end: int
    last: int
    synced: bool
    identity: str

    def encode(self) -> bytes:
        """Return the bytes of the header."""
        how = "s" if self.synced else "n"
        # what changes comes last, so that a write that ends early has changed nothing
        text = f"flowdsl tail 2 {self.identity} {how} {self.first:020} {self.end:020} {self.last:020} "
        whole = f"{text}{zlib.crc32(text.encode()):08x}"
        return f"{whole:<{HEAD - 1}}\n".encode()


@dataclass(frozen=True)
class WalRecord:
    """Line of a tail: its position and events; `events` is None if it is damaged."""

    begin: int
    end: int
    first: int
    count: int
    events: bytes | None

    @property
    def last(self) -> int:
        """Number of its last event."""
        return self.first + self.count - 1

    def rows(self) -> list[EventRow]:
        """Return its events."""
        return [EventRow(*fields) for fields in json.loads(self.events or b"[]")]


@dataclass(frozen=True)
class WalScan:
    """Tail as found on disk: good lines, damaged lines, and the length of a torn end."""

    head: WalHeader | None
    good: list[WalRecord]
    bad: list[WalRecord]
    torn: int

    @property
    def first(self) -> int:
        """Number of the first event, or 0 if unknown."""
        return self.head.first if self.head else self.good[0].first if self.good else 0

    @property
    def last(self) -> int:
        """Number of the last event; if header and end are lost, an upper bound."""
        last = self.good[-1].last if self.good else self.first - 1
        if self.head:
            return max(last, self.head.last)
        unknown = [
            line.end - line.begin for line in self.bad if not self.good or line.begin > self.good[-1].begin
        ]
        return last + sum(size // _ROW_SIZE + 1 for size in unknown)

    @property
    def is_torn_only(self) -> bool:
        """True if no acknowledged append can be affected by the damage.

        That is what is behind the end that the head gives, and the very end of a tail that is not synced.
        """
        if self.head is None:
            return False
        end = self.head.end if self.head.synced else max([HEAD, *(line.end for line in self.good)])
        return all(line.begin >= min(end, self.head.end) for line in self.bad)


def encode_events(rows: Sequence[EventRow]) -> bytes:
    """Encode events as the JSON of a line."""
    return _encode(rows).encode()


def encode_line(first: int, count: int, events: bytes) -> bytes:
    """Encode a line of a tail.

    >>> encode_line(1, 0, b"[]")
    b'3bd64d38 1 0 []\\n'
    """
    content = b"%d %d %b" % (first, count, events)
    return b"%08x %b\n" % (zlib.crc32(content), content)


class _TailFile:
    """Open file of a tail, -1 once it is closed."""

    _handle = -1

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        self.close()


class WalWriter(_TailFile):
    """Writer of a new tail, used by one thread at a time; the file is in place when this returns."""

    def __init__(
        self, folder: Path, first: int, rows: Sequence[EventRow], identity: str, *, synced: bool
    ) -> None:
        self.first = first
        self.synced = synced
        self._identity = identity
        hidden = folder / f".{NAME}.part"
        self._handle = create_file(hidden)
        try:
            line = encode_line(first, len(rows), encode_events(rows)) if rows else b""
            self.end = HEAD + len(line)
            head = WalHeader(first, self.end, first + len(rows) - 1, synced, identity)
            write_whole(self._handle, head.encode() + line, 0)
            # also where appends are not synced: a rename must never put an empty file in place of a full one
            sync(self._handle)
            put_in_place(hidden, folder / NAME)
            self._path = folder / NAME
        except BaseException:
            self.close()
            raise

    def append(self, lines: bytes, last: int) -> None:
        """Append lines durably, and advance the header to `last`."""
        write_whole(self._handle, lines, self.end)
        if self.synced:
            sync(self._handle)
        end = self.end + len(lines)
        # this write is not waited for: the lines are safe, and a reader without it finds them by their
        # checksums
        head = WalHeader(self.first, end, last, self.synced, self._identity)
        write_whole(self._handle, head.encode(), 0)
        self.end = end

    def check(self) -> None:
        """Raise an error if the file was removed, since what is written to it would be lost."""
        if not os.fstat(self._handle).st_nlink:
            raise DataError(
                f"{NAME} was removed while it was written",
                place=str(self._path),
                hint="what it held is written anew at the next append; this append is not in the log",
            )

    def cut(self) -> None:
        """Remove what a failed append may have left at the end."""
        os.ftruncate(self._handle, self.end)


class WalReader(_TailFile):
    """Reader of a tail that another process or object writes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._head = WalHeader(1, HEAD, 0, True, "")
        self._head_read = b""
        self._seen = HEAD
        self._rows = TailRows(1)

    def last(self) -> int:
        """Return the number of the last event."""
        with self._lock:
            self._look()
            return self._head.last

    def head(self) -> WalHeader:
        """Return the present header."""
        with self._lock:
            self._look()
            return self._head

    def rows(self) -> TailRows:
        """Return the present rows."""
        with self._lock:
            self._look()
            if self._head.end > self._seen:
                self._take(os.pread(self._handle, self._head.end - self._seen, self._seen))
            return self._rows

    def _look(self) -> None:
        """Reload the header; reopen the file if it was replaced."""
        new = self._handle < 0 or os.fstat(self._handle).st_ino != os.stat(self._path).st_ino
        if new:
            self.close()
            self._handle = open_own(self._path, os.O_RDONLY)
        elif os.pread(self._handle, HEAD, 0) == self._head_read:
            return
        head = self._read_head()
        self._head_read = head.encode()
        if new:
            self._seen, self._rows = HEAD, TailRows(head.first)
            if os.fstat(self._handle).st_size > head.end and not has_writer(self._path.parent):
                head = self._extend(head)
            self._head = head
        elif head.end > self._head.end:
            self._head = head

    def _read_head(self) -> WalHeader:
        for _ in range(50):
            head = parse_head(os.pread(self._handle, HEAD, 0))
            if head is not None:
                return head
            # the writer may have been in the middle of it
        raise _damage(self._path, "its head is damaged")

    def _extend(self, head: WalHeader) -> WalHeader:
        """Return a header that includes what a crashed writer had written but not confirmed."""
        found = scan(read_own(self._path))
        if found.bad or not found.good:
            return head
        return replace(head, end=max(found.good[-1].end, head.end), last=max(found.last, head.last))

    def _take(self, content: bytes) -> None:
        expected = self._rows.last + 1
        for line in _lines(content, self._seen):
            if line.events is None or line.first != expected:
                raise _damage(self._path, f"damaged at byte {line.begin}, event {expected}")
            self._rows.add(line.rows())
            self._seen = line.end
            expected += line.count
        if self._seen < self._head.end:
            raise _damage(
                self._path, f"it ends at byte {self._seen}, event {expected}: it went on to {self._head.last}"
            )


def parse_head(content: bytes) -> WalHeader | None:
    """Parse the header of a tail; return None if it is damaged."""
    found = _HEAD.fullmatch(content)
    if found is None:
        return None
    first, end, last = (int(found[i]) for i in (3, 4, 5))
    head = WalHeader(first, end, last, found[2] == b"s", found[1].decode())
    return head if head.encode() == content else None


def scan(content: bytes) -> WalScan:
    """Read all of a tail, whatever state it is in."""
    head = parse_head(content[:HEAD])
    good: list[WalRecord] = []
    bad: list[WalRecord] = []
    gap: int | None = None
    torn = 0
    expected = head.first if head else 0
    for line in _lines(content[HEAD:], HEAD):
        if line.events is None or line.first < expected:
            gap = line.begin if gap is None else gap
            continue
        expected = expected or line.first
        if gap is not None or line.first > expected:
            begin = line.begin if gap is None else gap
            bad.append(WalRecord(begin, line.begin, expected, line.first - expected, None))
            gap = None
        good.append(line)
        expected = line.last + 1
    lost = max(head.last + 1 - expected, 0) if head else 0
    if gap is not None or lost:
        begin = len(content) if gap is None else gap
        if head and not lost and begin >= head.end:
            # never acknowledged, and nothing behind it was either
            torn = len(content) - begin
        else:
            bad.append(WalRecord(begin, len(content), expected, lost, None))
    return WalScan(head, good, bad, torn)


def _lines(content: bytes, offset: int) -> Iterator[WalRecord]:
    """Yield the lines of a tail; a damaged or unfinished one has no events."""
    begin = 0
    while begin < len(content):
        end = content.find(b"\n", begin) + 1
        whole = end > 0
        end = end or len(content)
        found = _LINE.match(content, begin, end) if whole else None
        if found and int(found[1], 16) == zlib.crc32(memoryview(content)[begin + 9 : end - 1]):
            events = content[found.end() : end - 1]
            yield WalRecord(offset + begin, offset + end, int(found[2]), int(found[3]), events)
        else:
            yield WalRecord(offset + begin, offset + end, 0, 0, None)
        begin = end


def _damage(path: Path, what: str) -> DataError:
    return DataError(
        what, place=str(path), hint="verify() says what is lost, verify(repair=True) sets it aside"
    )
