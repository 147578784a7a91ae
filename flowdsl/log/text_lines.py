"""Text files as pieces of whole lines, plain or compressed, in UTF-8; and work on pieces that threads do
ahead.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.progress import wait_with_progress
from flowdsl.values.json_types import Ints

S = TypeVar("S")
T = TypeVar("T")
# large enough that the beginning of each costs nothing, small enough that a few are little memory
PIECE: Final = 1 << 23
_THREADS: Final = 2


def open_file(path: Path) -> BinaryIO:
    """Open a file that may be compressed."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if magic[:3] == b"BZh":
        return io.BufferedReader(bz2.open(path, "rb"))
    if magic == b"\xfd7zXZ\0":
        return io.BufferedReader(lzma.open(path, "rb"))
    codec = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}.get(magic[:4])
    if codec is None and path.suffix.lower() == ".br":
        # brotli has no mark of its own
        codec = "brotli"
    if codec is not None:
        return io.BufferedReader(pa.input_stream(str(path), compression=codec))
    return path.open("rb")


def whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Return the content of a file in pieces that end with lines, without a byte order mark.

    A file that begins with the mark of UTF-16 is read as that.
    """
    rest: list[bytes] = []
    held = b""
    for chunk in _utf8(file):
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest.append(chunk)
            continue
        if held:
            yield held
        held = b"".join([*rest, memoryview(chunk)[:end]])
        rest = [chunk[end:]]
    if last := b"".join([held, *rest]):
        yield last


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8 text."""
    try:
        _strings(data, np.array([0, len(data)])).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def bounds_of(data: bytes) -> Ints:
    """Return where each line begins, and where the last one ends.

    >>> bounds_of(b"a\\nb").tolist()
    [0, 2, 3]
    """
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    if data and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    return np.concatenate([[0], ends]).astype(np.int64, copy=False)


def lines_of(data: bytes, bounds: Ints) -> pl.Series:
    """Return the lines of UTF-8 text with their ends, without a copy of them.

    >>> lines_of(b"a\\nb", bounds_of(b"a\\nb")).to_list()
    ['a\\n', 'b']
    """
    found = pl.from_arrow(_strings(data, bounds))
    assert isinstance(found, pl.Series)
    return found


def _strings(data: bytes, bounds: Ints) -> pa.LargeStringArray:
    return pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))


def in_threads(work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Return what `work` makes of each item, in their order; threads are a few items ahead."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="flowdsl-read") as pool:
        waiting: deque[Future[T]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > _THREADS:
                yield wait_with_progress(waiting.popleft())
        while waiting:
            yield wait_with_progress(waiting.popleft())


def _utf8(file: BinaryIO) -> Iterator[bytes]:
    first = file.read(max(PIECE, 64))
    if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        decode = codecs.getincrementaldecoder("utf-16")("replace").decode
        while first:
            yield decode(first).encode()
            first = file.read(PIECE)
        yield decode(b"", True).encode()
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    while chunk := file.read(PIECE):
        yield chunk
