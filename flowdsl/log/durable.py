"""Files of a log's folder that outlive a power cut, belong to their owner alone, and have one writer.

A file whose sync failed is never synced again: the system may have thrown the bytes away and say "done" the next
time. Whoever meets such a failure writes a new file.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError

_LOCK: Final = "writer.lock"
# how long a new writer waits for one that is just going, in seconds
_GOING: Final = 0.2


def make_folder(folder: Path) -> None:
    """A folder for its owner alone; one that is there stays as it is."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def created(path: Path) -> int:
    """The handle of a new empty file for its owner alone; what was under the name is gone."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def sync(handle: int) -> None:
    """Make the bytes of an open file outlive a power cut."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(handle, full)
    else:
        os.fdatasync(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(hidden: Path, path: Path) -> None:
    """Give a finished file its name, in place of what had it, for good."""
    os.replace(hidden, path)
    sync_folder(path.parent)


def write_whole(handle: int, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset`."""
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def lock_writer(folder: Path) -> int:
    """The handle that makes its holder the only writer of a folder, until it is closed; `DataError` if there is one."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(handle)
        raise
    return handle


def has_writer(folder: Path) -> bool:
    """Whether somebody writes in a folder at this moment."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(handle: int, folder: Path) -> None:
    end = time.monotonic() + _GOING
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # a reader that asks `has_writer` holds it for a moment as well
            if time.monotonic() < end:
                time.sleep(0.005)
                continue
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
        whose = "this process, through another object" if holder == str(os.getpid()) else f"process {holder}"
        raise DataError(
            f"the log is being written by {whose}",
            place=str(folder),
            allowed="one writer at a time, any number of readers",
            hint="close() the other one, or end that process",
        )
