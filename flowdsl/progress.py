"""A progress bar with events a second and the time left, where somebody can see one."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

# shorter waits are over before a bar is read
DELAY = 0.5


@contextlib.contextmanager
def bar(total: int | None, *, always: bool) -> Iterator[Callable[[int], None] | None]:
    """What to call with the events done since the last call; None where nobody would see it."""
    if not always and not (sys.stderr.isatty() or _in_notebook()):
        yield None
        return
    shown = None
    done, started = 0, time.monotonic()

    def tick(events: int) -> None:
        nonlocal shown, done
        done += events
        if shown is None and (always or time.monotonic() - started > DELAY):
            # imported late: it is slow to import, and most replays are over before
            from tqdm.auto import tqdm

            shown = tqdm(total=total, initial=0, unit=" events", unit_scale=True, desc="replay", leave=False)
            shown.update(done)
        elif shown is not None:
            shown.update(events)

    try:
        yield tick
    finally:
        if shown is not None:
            shown.close()


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return hasattr(shell, "kernel")
