"""Work beside the notebook's own thread, of which only the latest counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

Cancelled = Callable[[], bool]
Job = Callable[[Cancelled], None]


class LatestOnlyExecutor:
    """Runs one job at a time in a thread: a newer job takes the place of one that waits, and cancels one that runs.

    A job is called with a function that says whether it was cancelled; what it shows afterwards is for itself to leave out.
    The thread ends when there is nothing to do. What a job raises goes to `failed`.

    >>> said = []
    >>> latest = LatestOnlyExecutor(failed=print)
    >>> latest.submit(lambda cancelled: said.append("done"))
    >>> latest.settle()
    True
    >>> said
    ['done']
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._waiting: Job | None = None
        self._number = 0
        self._busy = False

    def submit(self, job: Job) -> None:
        """Run this job as soon as the thread is free, and no older one any more."""
        with self._changed:
            self._waiting = job
            self._number += 1
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name="flowdsl-widget").start()

    def cancel(self) -> None:
        """Let nothing wait, and tell what runs to stop."""
        with self._changed:
            self._waiting = None
            self._number += 1

    def settle(self, timeout: float | None = 60) -> bool:
        """Wait until everything is done; whether that came within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                job, number = self._waiting, self._number
                self._waiting = None
                if job is None:
                    self._busy = False
                    self._changed.notify_all()
                    return
            try:
                job(lambda number=number: self._outdated(number))  # type: ignore[misc]
            except Exception as error:
                self._failed(error)

    def _outdated(self, number: int) -> bool:
        # at the end of the program too: a thread that goes on then takes it down with it
        return self._number != number or not threading.main_thread().is_alive()
