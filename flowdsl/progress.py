"""Progress reporting for long-running operations (tqdm bar, notebook line, or callback)

Operations that may take longer than a second run in a `track` block, and report to it several times a second.
Nested operations have no bar of their own.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from typing import Any, Final, TypeVar

Progress = bool | Callable[[int, int | None], None] | None
"""True or False shows or hides progress; None shows it on a terminal or in a notebook; a function is called
with the number of events done and of all events (None if unknown)."""
Tick = Callable[[int], None]
"""Callback for the number of events (or rows, or deliveries) done since the last call; 0 is a heartbeat."""

# seconds before a bar appears; shorter waits need none
DELAY: Final = 0.5
# interval in which an idle bar is redrawn, in seconds
_BEAT: Final = 0.25
# width of a bar in a notebook, in characters
_WIDTH: Final = 100

T = TypeVar("T")


class ProgressReporter:
    """Base reporter, called with the amount done since the last call; `total` is None if unknown."""

    # True if a bar may be visible
    seen = False

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self.done = 0

    def __call__(self, done: int) -> None:
        """Report the amount done since the last call."""

    def advance_to(self, done: int, total: int | None = None) -> None:
        """Advance to an amount done in all, as a nested `progress` callback; a second pass counts only what
        exceeds the first.
        """
        self(max(done - self.done, 0))

    def part(self, worth: float) -> ProgressReporter:
        """Return a reporter for part of the work, each unit of which is worth `worth` units of the whole."""
        return _Part(self, worth)

    def finish(self) -> None:
        """Report the rest as done, including what was skipped or lost in rounding."""

    def close(self) -> None:
        """Close the bar."""


class _Part(ProgressReporter):
    """Reporter for a part of the work."""

    def __init__(self, whole: ProgressReporter, worth: float) -> None:
        super().__init__()
        self._whole, self._worth, self._reported = whole, worth, 0
        self.seen = whole.seen

    def __call__(self, done: int) -> None:
        self.done += done
        now = int(self._worth * self.done)
        self._whole(now - self._reported)
        self._reported = now


class _CallbackReporter(ProgressReporter):
    """Reporter that calls a function of the user."""

    def __init__(
        self, progress: Callable[[int, int | None], None], total: int | None, outer: ProgressReporter | None
    ) -> None:
        super().__init__(total)
        self._progress, self._outer = progress, outer
        self.seen = outer is not None and outer.seen

    def __call__(self, done: int) -> None:
        self.done += done
        if done:
            if self.total is not None:
                self.total = max(self.total, self.done)
            self._progress(self.done, self.total)
        elif self._outer is not None:
            self._outer(0)

    def finish(self) -> None:
        if self.total is not None and self.done < self.total:
            self(self.total - self.done)


class _NestedReporter(ProgressReporter):
    """Nested operation: forwards a heartbeat to the outer reporter."""

    def __init__(self, outer: ProgressReporter) -> None:
        super().__init__()
        self._outer = outer
        self.seen = outer.seen

    def __call__(self, done: int) -> None:
        self._outer(0)


class _BarReporter(ProgressReporter):
    """Bar that appears after a delay."""

    seen = True

    def __init__(self, total: int | None, what: str, unit: str, delay: float) -> None:
        super().__init__(total)
        self._what, self._unit = what, unit
        self._begun = time.time()
        self._due = time.monotonic() + delay
        self._shown: Any = None
        self._line: _NotebookLine | None = None
        self._drawn = 0.0

    def __call__(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if self._shown is None:
            if now >= self._due:
                self._show()
                self._drawn = now
            return
        self._shown.total = self.total
        self._shown.update(done)
        if now >= self._drawn + _BEAT:
            # tqdm redraws only bars that moved
            self._shown.refresh()
            self._drawn = now

    def _show(self) -> None:
        # imported late: slow to import, and rarely needed
        from tqdm.std import tqdm

        self._line = _NotebookLine() if _in_notebook() else None
        self._shown = tqdm(
            total=self.total,
            initial=0,
            unit=f" {self._unit}",
            unit_scale=True,
            desc=self._what,
            leave=False,
            file=self._line or sys.stderr,
            ncols=None if self._line is None else _WIDTH,
            delay=1e-9,
        )
        # count the amount and the time before the bar appeared
        self._shown.start_t = self._begun
        self._shown.n = self._shown.last_print_n = self.done
        self._shown.refresh()

    def close(self) -> None:
        if self._shown is not None:
            self._shown.close()
        if self._line is not None:
            self._line.clear()


class _NotebookLine:
    """File of one line in a notebook, which each write replaces, and which is empty at the end.

    A bar of ipywidgets would stay in the saved notebook: its text in the outputs, and its parts in the widget
    state.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self._output: Any = None

    def write(self, text: str) -> None:
        """Show a line; the blanks that would erase the previous one are stripped."""
        from IPython.display import display

        line = text.strip()
        if line and self._output is None:
            shown = {"text/plain": line}
            self._output = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        elif line:
            self._output.update({"text/plain": line}, raw=True)

    def flush(self) -> None:
        """Do nothing; lines are shown at once."""

    def clear(self) -> None:
        """Empty the output; a single output cannot be removed."""
        if self._output is not None:
            self._output.update({}, raw=True)


# current reporter of this thread
_CURRENT: ContextVar[ProgressReporter | None] = ContextVar("flowdsl_progress", default=None)


@contextlib.contextmanager
def track(
    progress: Progress, total: int | None, what: str = "replay", unit: str = "events"
) -> Iterator[ProgressReporter]:
    """Report progress within a block; yield the reporter to call with the amount done."""
    follower = _follower(progress, total, what, unit)
    token = _CURRENT.set(follower)
    try:
        yield follower
        follower.finish()
    finally:
        _CURRENT.reset(token)
        follower.close()


def _follower(progress: Progress, total: int | None, what: str, unit: str) -> ProgressReporter:
    outer = _CURRENT.get()
    if callable(progress):
        return _CallbackReporter(progress, total, outer)
    if progress is not True and outer is not None:
        return _NestedReporter(outer)
    seen = (sys.stderr is not None and sys.stderr.isatty()) or _in_notebook()
    if progress is True or (progress is None and seen):
        return _BarReporter(total, what, unit, 0.0 if progress is True else DELAY)
    return ProgressReporter(total)


def wait_with_progress(future: Future[T]) -> T:
    """Wait for a future while refreshing the progress bar."""
    current = _CURRENT.get()
    if current is not None:
        current(0)
        while wait([future], _BEAT).not_done:
            current(0)
    return future.result()


# so many items are reported at a time
_GROUP: Final = 1 << 14


def count_items(items: Iterable[T], tick: Tick) -> Iterator[T]:
    """Yield the items, and report them in groups."""
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if not number % _GROUP:
            tick(_GROUP)
    tick(number % _GROUP)


def run_in_background(work: Callable[[], T]) -> T:
    """Run a call that cannot report progress; use a thread so that the bar keeps refreshing."""
    current = _CURRENT.get()
    if current is None or not current.seen:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-background") as pool:
        return wait_with_progress(pool.submit(work))


def heartbeat(done: int = 0) -> None:
    """Send a heartbeat to the current reporter of this thread, if any."""
    current = _CURRENT.get()
    if current is not None:
        current(0)


def noop(done: int) -> None:
    """Ignore progress."""


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return hasattr(shell, "kernel")
