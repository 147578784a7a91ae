"""How far something is that takes its time: a bar with events a second and the time left, where somebody can see one.

Whatever may take longer than a second runs in a `following` block, and tells it what is done, in pieces that take a
fraction of a second. What runs inside of such a block has no bar of its own.
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
"""Whether progress is shown: True, False, None (where there is a terminal or a notebook), or a function that is called with
the events done and the events in all (None: not known)."""
Tick = Callable[[int], None]
"""What is called with the events (or rows, or deliveries) done since the last call; with 0 to say that work goes on."""

# shorter waits are over before a bar is read
DELAY: Final = 0.5
# how often a bar is drawn anew that does not move, in seconds
_BEAT: Final = 0.25
# characters of a bar in a notebook, which has no width of its own
_WIDTH: Final = 100

T = TypeVar("T")


class ProgressReporter:
    """A `Tick` of something that is followed. `total` is how much there is to do, None while that is not known."""

    # whether somebody may be looking at a bar
    seen = False

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self.done = 0

    def __call__(self, done: int) -> None:
        """So much was done since the last call."""

    def heard(self, done: int, total: int | None = None) -> None:
        """What something within is to tell as its `progress`: what is done in all; of a second one only what is more."""
        self(max(done - self.done, 0))

    def part(self, worth: float) -> ProgressReporter:
        """The follower of a part of the work, each unit of which is worth so much of the whole."""
        return _Part(self, worth)

    def finish(self) -> None:
        """All is done, also what was not told: left out, or lost in rounding."""

    def close(self) -> None:
        """Nothing more comes."""


class _Part(ProgressReporter):
    """A part of something that is followed."""

    def __init__(self, whole: ProgressReporter, worth: float) -> None:
        super().__init__()
        self._whole, self._worth, self._told = whole, worth, 0
        self.seen = whole.seen

    def __call__(self, done: int) -> None:
        self.done += done
        now = int(self._worth * self.done)
        self._whole(now - self._told)
        self._told = now


class _CallbackReporter(ProgressReporter):
    """Tells a function of the user's."""

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
    """Inside of something that is followed: that hears that work goes on."""

    def __init__(self, outer: ProgressReporter) -> None:
        super().__init__()
        self._outer = outer
        self.seen = outer.seen

    def __call__(self, done: int) -> None:
        self._outer(0)


class _BarReporter(ProgressReporter):
    """A bar, from the first tick on that comes after a while."""

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
            # it does so by itself only where it moved
            self._shown.refresh()
            self._drawn = now

    def _show(self) -> None:
        # imported late: it is slow to import, and most things are over before
        from tqdm.std import tqdm

        self._line = _NotebookLine() if _in_notebook() else None
        self._shown = tqdm(
            total=self.total, initial=0, unit=f" {self._unit}", unit_scale=True, desc=self._what, leave=False,
            file=self._line or sys.stderr, ncols=None if self._line is None else _WIDTH, delay=1e-9,
        )  # fmt: skip
        # what was done before counts, and so does the time that it took
        self._shown.start_t = self._begun
        self._shown.n = self._shown.last_print_n = self.done
        self._shown.refresh()

    def close(self) -> None:
        if self._shown is not None:
            self._shown.close()
        if self._line is not None:
            self._line.clear()


class _NotebookLine:
    """A file of one line in a notebook: what is written takes the place of what was, and at the end nothing is left.

    A bar of ipywidgets would be kept in the saved notebook when it is over: its line of text in the outputs, and its
    parts among the state of the widgets.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self._output: Any = None

    def write(self, text: str) -> None:
        """Show a line; blanks over what was there are of no use here."""
        from IPython.display import display

        line = text.strip()
        if line and self._output is None:
            self._output = display({"text/plain": line}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        elif line:
            self._output.update({"text/plain": line}, raw=True)

    def flush(self) -> None:
        """It is shown already."""

    def clear(self) -> None:
        """Leave an output of which nothing is shown: a single one cannot be taken away."""
        if self._output is not None:
            self._output.update({}, raw=True)


# whatever is followed in this thread
_CURRENT: ContextVar[ProgressReporter | None] = ContextVar("flowdsl_progress", default=None)


@contextlib.contextmanager
def following(
    progress: Progress, total: int | None, what: str = "replay", unit: str = "events"
) -> Iterator[ProgressReporter]:
    """What to call with what was done since the last call, so that `progress` is told."""
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


def awaited(future: Future[T]) -> T:
    """What a thread gives, waited for with the bar alive meanwhile."""
    current = _CURRENT.get()
    if current is not None:
        current(0)
        while wait([future], _BEAT).not_done:
            current(0)
    return future.result()


def counted(items: Iterable[T], tick: Tick, size: int = 1 << 14) -> Iterator[T]:
    """The same items; `tick` hears of them, so many at a time."""
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if not number % size:
            tick(size)
    tick(number % size)


def beside(work: Callable[[], T]) -> T:
    """What one long step gives that cannot tell how far it is: a thread does it where there is a bar to keep alive."""
    current = _CURRENT.get()
    if current is None or not current.seen:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-beside") as pool:
        return awaited(pool.submit(work))


def beat(done: int = 0) -> None:
    """Say to what is followed in this thread, if anything is, that work goes on, and no more."""
    current = _CURRENT.get()
    if current is not None:
        current(0)


def silent(done: int) -> None:
    """A `Tick` that nobody hears."""


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return hasattr(shell, "kernel")
