"""Handle of a log's folder in this process: a reader, and the writer from the first append on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError
from flowdsl.log.buffer import TailRows
from flowdsl.log.catalog import NAME as CATALOG
from flowdsl.log.catalog import Catalog, has_catalog
from flowdsl.log.errors import reading
from flowdsl.log.forks import watch
from flowdsl.log.recovery import REPAIR, check_reading, lacks_catalog
from flowdsl.log.wal import WalReader
from flowdsl.log.writer import Durability, Limits, LogWriter

# seconds between two looks of a reader into a log that another process writes: at first, and after `_IDLE`
# looks that found nothing
_POLL: Final = 0.001
_IDLE_POLL: Final = 0.005
_IDLE: Final = 50


class LogFolder:
    """Log that may not exist yet, opened when it is needed."""

    def __init__(self, folder: Path, durability: Durability, limits: Limits) -> None:
        self.folder = folder
        self.sealed_before = 0
        self._durability: Durability = durability
        self._limits = limits
        self._opening = threading.RLock()
        self._writer: LogWriter | None = None
        self._reader: tuple[Catalog, WalReader] | None = None
        watch(self)

    def writer(self) -> LogWriter:
        """Return the writer; raise `DataError` if another process has it."""
        with self._opening:
            if self._writer is None:
                self._writer = LogWriter(self.folder, self._durability, self._limits)
            return self._writer

    @property
    def writing(self) -> LogWriter | None:
        """The writer, if this process has it already."""
        return self._writer

    def catalog(self) -> Catalog | None:
        """Return the catalog, also of a log that another process has created since; None if there is no
        log.
        """
        writer = self._writer
        if writer is not None and writer.catalog is not None:
            return writer.catalog
        opened = self._opened()
        return opened[0] if opened else None

    def catalog_to_change(self) -> Catalog:
        """Return the catalog for consumers, creating an empty log if there is none."""
        if self.catalog() is None:
            LogWriter(self.folder, self._durability, self._limits).close()
        catalog = self.catalog()
        assert catalog is not None
        return catalog

    def last(self) -> int:
        """Return the number of the last event, or 0."""
        found = 0
        if self._writer is None:
            with reading(str(self.folder), REPAIR):
                opened = self._opened()
                found = max(opened[1].last(), self.sealed_before) if opened else 0
        # a writer opened meanwhile may have written an event that it has not yet handed to readers
        writer = self._writer
        return found if writer is None else writer.last

    def held(self) -> tuple[Catalog | None, TailRows]:
        """Return the catalog and the rows of the tail.

        The tail is read before the catalog is asked for segments: what is sealed in between is then in both.
        """
        writer = self._writer
        if writer is not None and writer.catalog is not None:
            return writer.catalog, writer.rows
        with reading(str(self.folder), REPAIR):
            opened = self._opened()
            return (opened[0], opened[1].rows()) if opened else (None, TailRows(1))

    def wait(self, after: int, timeout: float | None) -> bool:
        """Wait for events after `after`; return whether there are any."""
        end = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        looks = 0
        while self.last() <= after:
            left = end - time.monotonic()
            if left <= 0:
                return False
            writer = self._writer
            if writer is not None:
                writer.wait(after, left)
            else:
                time.sleep(min(left, _POLL if looks < _IDLE else _IDLE_POLL))
                looks += 1
        return True

    def close(self) -> None:
        """Close the files."""
        with self._opening:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._reader is not None:
                for part in self._reader:
                    part.close()
                self._reader = None

    def after_fork(self) -> None:
        """Reopen as a reader, which may become the writer once the parent has ended."""
        if self._writer is not None:
            self._writer.after_fork()
        if self._reader is not None:
            self._reader[0].after_fork()
            self._reader[1].close()
        self._opening, self._writer, self._reader = threading.RLock(), None, None

    def __del__(self) -> None:
        if hasattr(self, "_reader"):
            self.close()

    def _opened(self) -> tuple[Catalog, WalReader] | None:
        with self._opening:
            if self._reader is None:
                if lacks_catalog(self.folder):
                    raise DataError(f"{CATALOG} is missing", place=str(self.folder), hint=REPAIR)
                if not has_catalog(self.folder):
                    return None
                tail = WalReader(self.folder)
                try:
                    catalog = check_reading(self.folder, tail)
                except BaseException:
                    tail.close()
                    raise
                self.sealed_before = catalog.last_sealed()
                self._reader = catalog, tail
            return self._reader
