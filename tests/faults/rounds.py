"""Run under `faulty.so`: cycles of append, seal, ack and compact, in each of which one call to the system fails.

Prints one line a round, as JSON: what failed, what the library said, and what is wrong afterwards (nothing, it is
hoped) in the folder as it is, and as a power cut would have left it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog

WRITE, SYNC, RENAME = 1, 2, 3
AT = "2026-01-01T00:00:00Z"
faulty = ctypes.CDLL(None)


class Cycle:
    """What one cycle asked for, and what the log promised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.submitted: set[str] = set()
        self.promised: dict[str, int] = {}
        self.positions = {0}
        self.errors: list[str] = []

    def run(self) -> None:
        """Append one by one and in lists, seal by itself and on demand, acknowledge, append a frame, compact."""
        with ParquetEventLog(self.folder, seal_rows=8) as log:
            for number in range(5):
                self.append(log, [f"{number}-{i}" for i in range(3)])
            self.tried(log.seal)
            self.ack(log, 2)
            self.append(log, ["one"])
            self.append(log, [f"f{i}" for i in range(12)], columnar=True)
            self.tried(log.compact)
            self.ack(log, 4)
            self.append(log, ["last"])

    def append(self, log: ParquetEventLog, ids: list[str], columnar: bool = False) -> None:
        self.submitted |= set(ids)
        events: Any = [entity_created("user", name, {"n": name}) for name in ids]
        if columnar:
            events = pl.DataFrame({"kind": ["entity.created"] * len(ids), "timestamp": [AT] * len(ids),
                                   "entity_type": ["user"] * len(ids), "entity_id": ids})  # fmt: skip
        last = self.tried(lambda: log.append(events) if columnar else log.append(events, AT))
        if last is not None:
            for number, name in enumerate(ids, last - len(ids) + 1):
                self.promised[name] = number

    def ack(self, log: ParquetEventLog, seq_no: int) -> None:
        # one that failed may have been kept all the same
        self.positions.add(seq_no)
        if self.tried(lambda: (log.ack("c", seq_no), True)) is not None:
            self.positions = {seq_no}

    def tried(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except DataError as error:
            self.errors.append(str(error))
            return None

    def wrong(self, folder: Path) -> str | None:
        """What is not as it was promised."""
        log = ParquetEventLog(folder, seal_rows=8)
        try:
            found = {row["entity_id"]: row["seq_no"] for b in log.read() for row in b.to_pylist()}
            numbers = [n for b in log.read() for n in b.column("seq_no").to_pylist()]
            if numbers != sorted(set(numbers)) or len(found) != len(numbers):
                return f"numbers or events stand twice: {numbers}"
            lost = {name: n for name, n in self.promised.items() if found.get(name) != n}
            if lost:
                return f"acknowledged and lost: {lost}"
            if set(found) - self.submitted:
                return f"invented: {set(found) - self.submitted}"
            if log.position("c") not in self.positions:
                return f"position {log.position('c')}, not one of {self.positions}"
            last = log.append(entity_created("user", "after", {}), AT)
            if last <= max(numbers, default=0) or log.last_seq_no() != last:
                return f"the next event got the number {last}"
            verified = log.verify()
            if not verified.ok:
                return str(verified)
        finally:
            log.close()
        return None


def left_by_a_power_cut(shadow: Path, folder: Path) -> None:
    """The folder as it was last synced."""
    folder.mkdir()
    names = shadow / "names"
    for line in names.read_text().splitlines() if names.exists() else ():
        key, name = line.split(" ", 1)
        if (shadow / key).exists():
            shutil.copy(shadow / key, folder / name)
        else:
            (folder / name).touch()


def one_round(base: Path, kind: int, at: int, lasting: bool) -> dict[str, Any]:
    """One cycle in which the call `at` of a kind fails (and all after it, if `lasting`)."""
    folder, shadow = base / "log", base / "shadow"
    folder.mkdir()
    shadow.mkdir()
    cycle, told = Cycle(folder), Told()
    logging.getLogger("flowdsl.log").addHandler(told)
    faulty.faulty_shadow(str(shadow).encode())
    faulty.faulty_arm(str(folder).encode(), kind, at, lasting)
    try:
        cycle.run()
    finally:
        counts = [faulty.faulty_count(i) for i in range(4)]
        retried, folders = faulty.faulty_retried(), faulty.faulty_folders()
        faulty.faulty_arm(b"", 0, 0, 0)
        faulty.faulty_shadow(b"")
    logging.getLogger("flowdsl.log").removeHandler(told)
    left_by_a_power_cut(shadow, base / "cut")
    wrong = cycle.wrong(base / "cut") if cycle.promised else None
    return {
        "counts": counts, "errors": cycle.errors + told.texts, "retried": retried, "folders": folders, "promised": len(cycle.promised),
        "after a power cut": wrong, "as it is": cycle.wrong(folder),
    }  # fmt: skip


class Told(logging.Handler):
    """Keeps what is logged: a failure that costs nothing, such as a segment that could not be written yet."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def main() -> None:
    step = int(sys.argv[1])
    for lasting in (False, True):
        for kind in (WRITE, SYNC, RENAME):
            at = calls = 1
            while at <= calls:
                with tempfile.TemporaryDirectory() as base:
                    report = one_round(Path(base), kind, at, lasting)
                if at == 1:
                    with tempfile.TemporaryDirectory() as base:
                        calls = one_round(Path(base), 0, 0, False)["counts"][kind]
                print(json.dumps({"kind": kind, "at": at, "lasting": lasting, **report}), flush=True)
                at += step


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
    os._exit(0)
