"""Memory arenas of the threads of a live run."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

# M_ARENA_MAX of glibc's mallopt
_ARENA_MAX: Final = -8
# arenas for all threads
_ARENAS: Final = 2


def share_arenas() -> None:
    """Limit glibc to few arenas for all threads, unless the environment says otherwise.

    By itself each of them gets a place of its own, and what one frees there is of no use to the others: what
    a run over ever new ids holds would grow for as long as it takes until all of them have met the largest
    batch.
    """
    if not sys.platform.startswith("linux") or "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)
