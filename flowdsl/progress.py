"""How far something is that takes its time: a bar with events a second and the time left, where somebody can see one."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Progress = bool | Callable[[int, int | None], None] | None
"""Whether progress is shown: True, False, None (where there is a terminal or a notebook), or a function that is called with
the events done and the events in all (None: not known)."""

# shorter waits are over before a bar is read
DELAY = 0.5


@contextlib.contextmanager
def following(
    progress: Progress, total: int | None, what: str = "replay", unit: str = "events"
) -> Iterator[Callable[[int], None] | None]:
    """What to call with what was done since the last call, so that `progress` is told; None where nobody listens."""
    if progress is False:
        yield None
    elif callable(progress):
        done = 0

        def told(events: int) -> None:
            nonlocal done
            done += events
            progress(done, total)

        yield told
    else:
        with bar(total, always=progress is True, what=what, unit=unit) as tick:
            yield tick


@contextlib.contextmanager
def bar(
    total: int | None, *, always: bool, what: str = "replay", unit: str = "events"
) -> Iterator[Callable[[int], None] | None]:
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
            shown = _tqdm()(total=total, initial=0, unit=f" {unit}", unit_scale=True, desc=what, leave=False)
            shown.update(done)
        elif shown is not None:
            shown.update(events)

    try:
        yield tick
    finally:
        if shown is not None:
            shown.close()


def _tqdm() -> Callable[..., Any]:
    # without ipywidgets a notebook has a bar of text, and no warning
    if _in_notebook() and importlib.util.find_spec("ipywidgets") is None:
        from tqdm.std import tqdm
    else:
        from tqdm.auto import tqdm
    made: Callable[..., Any] = tqdm
    return made


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return hasattr(shell, "kernel")
