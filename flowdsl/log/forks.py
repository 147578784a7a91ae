"""Forked processes: a child abandons what its parent had open, and opens its own files and locks.

A lock that was taken is shared by both sides of a fork, an open file has one place for both, and a SQLite
connection must not be used, nor even closed, on the other side.
"""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from typing import Any, Final, Protocol


class Forkable(Protocol):
    """Object that holds files or locks."""

    def after_fork(self) -> None:
        """Abandon everything that belongs to the parent; called in the child, which has no other thread."""


_WATCHED: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_QUIET: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_held: Final[list[Any]] = []
_logger = logging.getLogger("flowdsl.log")


def watch(held: Forkable) -> None:
    """Call `held.after_fork` in children that are forked from now on."""
    _WATCHED.add(held)


def abandon(connection: Any) -> None:
    """Make sure that a connection opened by the parent is never closed."""
    if connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def hold_forks(lock: Any) -> None:
    """Prevent forks while another thread holds this lock: SQLite's own locks would stay locked in the child.

    Who holds it must not wait for another lock meanwhile.
    """
    _QUIET.add(lock)


def _before() -> None:
    _held.extend(lock for lock in list(_QUIET) if lock.acquire())


def _after_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_in_child() -> None:
    _after_in_parent()
    for held in list(_WATCHED):
        try:
            held.after_fork()
        except Exception:
            # the other objects must still be released
            _logger.exception("%r: what the parent has open is not released", held)


# Windows has no forks
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
