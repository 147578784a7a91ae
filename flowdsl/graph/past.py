"""What an array was when a copy of it was asked for, without the copy: what changes in it since is noted."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


class Past:
    """Array as it was, while its owner goes on to change it.

    The owner notes what stands at a place before it changes it, and never notes it too late: whoever copies
    the array first and reads the notes then can undo what it sees of changes, on any thread.
    """

    def __init__(self, array: Array) -> None:
        self._array = array
        self._notes: list[tuple[Array, Array]] = []
        self._lock = threading.Lock()
        self.settled = False

    def note(self, places: Array, values: Array) -> None:
        """Note what stands at places that are about to change."""
        self._notes.append((places, values))

    def read(self) -> Array:
        """Return the array; it must not be changed. Only for the thread of the owner, unless it is
        settled.
        """
        return self.settle() if self._notes else self._array

    def settle(self) -> Array:
        """Make the copy, which the owner has nothing to do with any more."""
        with self._lock:
            if not self.settled:
                array = self._array.copy()
                for places, values in reversed(self._notes):
                    array[places] = values
                self._array, self.settled, self._notes = array, True, []
            return self._array


class Pasts:
    """The pasts of one array that still need notes."""

    def __init__(self) -> None:
        self._known: list[weakref.ref[Past]] = []

    def make(self, array: Array) -> Past:
        """Return the past of an array as of now."""
        past = Past(array)
        self._known.append(weakref.ref(past))
        return past

    @property
    def pending(self) -> list[Past]:
        """Those that somebody has, and that are no copies yet."""
        if self._known:
            self._known = [ref for ref in self._known if (past := ref()) is not None and not past.settled]
        return [past for ref in self._known if (past := ref()) is not None]

    def note(self, array: Array, places: Array) -> None:
        """Note what stands at places of the array that are about to change."""
        for past in self.pending:
            past.note(places, array[places])

    def leave(self) -> None:
        """Leave an array to its pasts: the owner goes on with another one."""
        self._known = []


def room(size: int, have: int) -> int:
    """Return how large a table becomes that lacks room: less than twice as large where that takes long.

    >>> room(5, 4), room(1, 1 << 20) == (1 << 20) + (1 << 18)
    (8, True)
    """
    return max(size, 2 * have if have < _LARGE else have + have // 4)


_LARGE = 1 << 20
