"""Lock of the writer: on a file that names its holder, and on the folder it is in.

The file may be removed, and a new one would be locked by another process: the folder is locked as well, where
the file system can, and who holds the lock looks after each sync whether the file is still the one that was
locked.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError, FlowError
from flowdsl.log.forks import watch
from flowdsl.log.fsync import open_own, read_own

WRITER: Final = "writer.lock"
# how long a new writer waits for one that is closing, in seconds
_GOING: Final = 0.2
_SAID: Final = re.compile(rb"(\d{1,20}) (\d{1,20}) ([0-9a-z-]{1,64}) ([0-9a-f]{0,64}) [0-9a-f]{8}\n")


class FileLock:
    """Lock held by this process until `close`; `refused` makes the error if another process holds it.

    What it says can be read by others: the process, and a number that its holder keeps there.
    """

    def __init__(self, path: Path, refused: Callable[[str], FlowError], going: float = _GOING) -> None:
        self.path = path.absolute()
        self._process = os.getpid()
        self._handles = [open_own(path, os.O_RDWR | os.O_CREAT, alone=True)]
        watch(self)
        try:
            self._take(refused, going)
            self._file = _file(os.fstat(self._handles[0]))
            # it may have been removed between the two
            self.check()
            # its content is lost only when something newer is stored
            self.before = read_note(path)
            kept = self.before or LockNote(0, 0, "", "")
            os.pwrite(self._handles[0], replace(kept, process=self._process).encode(), 0)
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise an error if the lock was lost, since another process may hold its replacement."""
        lost = self.lost_reason()
        if lost:
            raise lost

    def lost_reason(self) -> DataError | None:
        """Return why the lock was lost, or None."""
        if self._process != os.getpid():
            return DataError(
                f"opened by process {self._process}, of which this one was forked off",
                place=str(self.path.parent),
                hint="open it anew in this process",
            )
        try:
            there = _file(os.stat(self.path, follow_symlinks=False))
        except OSError:
            there = None
        if there == self._file:
            return None
        what = "removed" if there is None else "replaced"
        return DataError(
            f"{self.path.name} was {what} while this process held it, so that others may write here",
            place=str(self.path.parent),
            hint="close() and open it again; what was acknowledged before is as safe as its files are",
        )

    def store(self, number: int, whose: str = "", *, exact: bool = True) -> None:
        """Store a number in the file without syncing it. `exact` means that any greater number would be
        stored too.
        """
        if not self._handles:
            # at the end of the program objects go in any order: the lock is gone
            return
        note = LockNote(self._process, number, whose, _boot() if exact else "")
        # a shorter text leaves the end of a longer one behind it, which is never read
        os.pwrite(self._handles[0], note.encode(), 0)

    def close(self) -> None:
        """Release the lock."""
        handles, self._handles = self._handles, []
        for handle in reversed(handles):
            os.close(handle)

    def after_fork(self) -> None:
        """Leave the lock to the parent; closing a copied handle neither unlocks nor keeps it locked."""
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handles", None):
            self.close()

    def _take(self, refused: Callable[[str], FlowError], going: float) -> None:
        end = time.monotonic() + going
        while not _lock(self._handles[0]):
            # a reader that asks `has_writer` holds it for a moment as well
            if time.monotonic() > end:
                raise refused(_holder(self._handles[0]))
            time.sleep(0.005)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._handles.append(folder)
        # not every file system locks folders
        with contextlib.suppress(OSError):
            while not _lock(folder):
                if time.monotonic() > end:
                    raise refused(f"a process whose {self.path.name} was removed")
                time.sleep(0.005)


def lock_writer(folder: Path) -> FileLock:
    """Lock a folder for its only writer; raise `DataError` if another process holds the lock."""

    def refused(by: str) -> DataError:
        return DataError(
            f"the log is being written by {by}",
            place=str(folder),
            allowed="one writer at a time, any number of readers",
            hint="close() the other one, or end that process",
        )

    return FileLock(folder / WRITER, refused)


def note(path: Path, number: int) -> None:
    """Store a number in a lock file that is not held; a holder stores its own."""
    try:
        handle = open_own(path, os.O_RDWR, alone=True)
    except (OSError, DataError):
        return
    try:
        kept = read_note(path)
        if kept is not None and _lock(handle):
            os.pwrite(handle, replace(kept, number=number).encode(), 0)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class LockNote:
    """Content of a lock file: its last holder, the number it stored, and the boot id of the machine."""

    process: int
    number: int
    whose: str
    boot: str

    def encode(self) -> bytes:
        """Return the content of the file."""
        text = f"{self.process} {self.number} {self.whose or '-'} {self.boot}"
        return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()

    @property
    def is_exact(self) -> bool:
        """Return True if nothing stored later can be lost: the machine has not restarted since."""
        return bool(self.boot) and self.boot == _boot()


def read_note(path: Path) -> LockNote | None:
    """Read a lock file; return None if it does not exist or is damaged."""
    try:
        content = read_own(path, 400)
    except (OSError, DataError):
        return None
    found = _SAID.match(content)
    if found is None:
        return None
    whose = found[3].decode()
    note = LockNote(int(found[1]), int(found[2]), "" if whose == "-" else whose, found[4].decode())
    return note if content.startswith(note.encode()) else None


def has_writer(folder: Path) -> bool:
    """Return True if a process is writing in a folder."""
    return _is_held(folder / WRITER) or _is_held(folder)


def has_lost_lock(folder: Path) -> bool:
    """Return True if a process is writing in a folder whose lock file was removed."""
    # a writer takes the lock of the file first, and releases it last
    return not _is_held(folder / WRITER) and _is_held(folder) and not _is_held(folder / WRITER)


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        return not _lock(handle, shared=True)
    except OSError:
        return False
    finally:
        os.close(handle)


def _lock(handle: int, *, shared: bool = False) -> bool:
    """Try to lock an open file or folder; return whether it worked."""
    # Windows, where no log has locks, lacks the module
    import fcntl

    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> str:
    process = os.pread(handle, 20, 0).partition(b" ")[0].decode(errors="replace").strip() or "unknown"
    return "this process, through another object" if process == str(os.getpid()) else f"process {process}"


def _file(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


@functools.cache
def _boot() -> str:
    """Return the boot id of the machine, or ""."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""
