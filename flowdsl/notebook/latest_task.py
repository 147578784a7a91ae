"""Background executor that runs only the most recent job."""

from __future__ import annotations

import threading
from collections.abc import Callable

Cancelled = Callable[[], bool]
Job = Callable[[Cancelled], None]


class LatestOnlyExecutor:
    """Executor of one job at a time in a thread; a newer job replaces a waiting one and cancels a running
    one.

    A job gets a function that returns True once the job is cancelled; after that it must not show anything.
    The thread ends when there is nothing to do. Errors of a job are passed to `failed`.

    >>> results = []
    >>> latest = LatestOnlyExecutor(failed=print)
    >>> latest.submit(lambda cancelled: results.append("done"))
    >>> latest.settle()
    True
    >>> results
    ['done']
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._waiting: Job | None = None
        self._number = 0
        self._busy = False

    def submit(self, job: Job) -> None:
        """Run this job as soon as the thread is free, in place of older ones."""
        with self._changed:
            self._waiting = job
            self._number += 1
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name="flowdsl-widget").start()

    def cancel(self) -> None:
        """Drop the waiting job and cancel the running one."""
        with self._changed:
            self._waiting = None
            self._number += 1

    def settle(self, timeout: float | None = 60) -> bool:
        """Wait until no job runs or waits; return False after `timeout` seconds."""
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
                job(lambda number=number: self._is_outdated(number))  # type: ignore[misc]
            except Exception as error:
                self._failed(error)

    def _is_outdated(self, number: int) -> bool:
        # also at the end of the program, which a running thread would crash
        return self._number != number or not threading.main_thread().is_alive()
