"""Durable files of a log's folder, private to their owner and never links out of the folder.

A file whose sync failed is never synced again: the system may have thrown the bytes away and say "done" the
next time. After such a failure a new file is written.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError

_NO_OTHER: Final = "remove it, or put the file itself there: links would lead out of the folder"


def make_folder(folder: Path, *, inside: bool = False) -> None:
    """Create a folder for its owner only; an existing one is kept, but `inside` of a log it must not be a
    link.
    """
    _refuse_windows(folder)
    if inside and folder.is_symlink():
        raise DataError("is a symbolic link", place=str(folder), allowed="a folder", hint=_NO_OTHER)
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def _refuse_windows(folder: Path) -> None:
    if not hasattr(os, "O_NOFOLLOW"):
        raise DataError(
            "a log in a folder needs the file locks of Linux or macOS",
            place=str(folder),
            hint="MemoryEventLog works everywhere, and so do replays of files and frames",
        )


def open_own(path: Path, flags: int, *, alone: bool = False) -> int:
    """Open a file of a log, which must be a regular file: no link, no pipe.

    `alone`: nor one that has another name, somewhere else.
    """
    _refuse_windows(path.parent)
    try:
        # a pipe would wait for its other end
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            raise
        raise _no_file(path) from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or (alone and found.st_nlink > 1):
        os.close(handle)
        raise _no_file(path)
    return handle


def read_own(path: Path, most: int = -1) -> bytes:
    """Read the first bytes of a file of a log, or all of them."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read(most)


def check_own(path: Path) -> None:
    """Reject anything that has the name of a log's file and is not one; it need not exist."""
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise _no_file(path)


def _no_file(path: Path) -> DataError:
    try:
        is_link = path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
    except OSError:
        is_link = False
    what = "is a link to another file" if is_link else "is not a file"
    return DataError(what, place=str(path), allowed="a file with this one name", hint=_NO_OTHER)


def create_file(path: Path) -> int:
    """Create a new empty file for its owner only, replacing what had its name."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def sync(handle: int) -> None:
    """Flush an open file to disk."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(handle)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(hidden: Path, path: Path) -> None:
    """Rename a finished file durably, replacing what had the name."""
    os.replace(hidden, path)
    sync_folder(path.parent)


def write_whole(handle: int, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset`."""
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
