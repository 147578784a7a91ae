"""The processes of a session of Spark, as the system knows them: their time, their memory, and their end."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int | None = None) -> dict[int, str]:
    """Return the processes that a process has started, and those that they have, with their command lines."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {}, [pid or os.getpid()]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            waiting.append(child)
            found[child] = _command(child)
    return found


def executors() -> list[int]:
    """Return the executors that the session of this process runs."""
    return [
        pid for pid, command in descendants().items()
        if "CoarseGrainedExecutorBackend" in command and "java" in command.split(" ")[0]
    ]  # fmt: skip


def workers() -> list[int]:
    """Return the Python processes below this one."""
    return [pid for pid, command in descendants().items() if "pyspark" in command and "java" not in command]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Return the fields of a process from its state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def processor(pid: int) -> float:
    """Return the seconds that a process and those of its children that have ended have used."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICKS if fields else 0.0


def most_held(pid: int) -> int:
    """Return the most bytes that a process has held so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


class Watch:
    """Watches the processes below this one while a piece of work runs."""

    def __init__(self) -> None:
        self.largest_worker = 0
        self.processor = self.python = 0.0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._before = self._times()
        self._own = time.process_time()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        after = self._times()
        own = time.process_time() - self._own
        java = {pid for pid, command in descendants().items() if "java" in command.split(" ")[0]}
        spent = {pid: after[pid] - self._before.get(pid, 0.0) for pid in after}
        self.processor = own + sum(spent.values())
        self.python = own + sum(time for pid, time in spent.items() if pid not in java)

    def _times(self) -> dict[int, float]:
        return {pid: processor(pid) for pid in descendants()}

    def _watch(self) -> None:
        # the system keeps the most that a process held
        while not self._ends.wait(1.0):
            self.largest_worker = max([self.largest_worker, *map(most_held, workers())])


class Killer:
    """Ends one executor with SIGKILL in the middle of each stage that lasts."""

    def __init__(self, session: Any, after: float = 1.0) -> None:
        self.killed: list[int] = []
        self._tracker = session.sparkContext.statusTracker()
        self._after = after
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop ending executors."""
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        since: dict[int, float] = {}
        while not self._ends.wait(0.05):
            now = time.monotonic()
            for stage in self._tracker.getActiveStageIds():
                info = self._tracker.getStageInfo(stage)
                if stage in self.killed or info is None or not info.numActiveTasks:
                    continue
                if now - since.setdefault(stage, now) < self._after:
                    continue
                running = executors()
                if len(running) > 1:
                    os.kill(running[0], signal.SIGKILL)
                    self.killed.append(stage)
