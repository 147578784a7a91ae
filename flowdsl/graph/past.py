"""Copies of large arrays without a pause: of what an array was or will be, made while it is used."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Convert = Callable[[Array], Array]
# arrays of so many rows are copied ahead of need
LARGE: Final = 1 << 20
# rows that are copied at a time
COPIED: Final = 1 << 17


class Past:
    """Array as it was, while its owner goes on to change it.

    The owner notes the value at a place before it changes it, and never notes it too late: whoever copies
    the array first and reads the notes then can undo what it sees of changes, on any thread.
    """

    def __init__(self, array: Array) -> None:
        self._array = array
        self._notes: list[tuple[Array, Array]] = []
        self._lock = threading.Lock()
        self.settled = False

    def note(self, places: Array, values: Array) -> None:
        """Note the values at places that are about to change."""
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
        """Those in use that are not copies yet."""
        if self._known:
            self._known = [ref for ref in self._known if (past := ref()) is not None and not past.settled]
        return [past for ref in self._known if (past := ref()) is not None]

    def note(self, array: Array, places: Array) -> None:
        """Note the values at places of the array that are about to change."""
        for past in self.pending:
            past.note(places, array[places])

    def leave(self) -> None:
        """Leave an array to its pasts: the owner goes on with another one."""
        self._known = []


class Copying:
    """Copy of an array, larger or of other numbers, that is made some rows at a time while the array is used.

    Rows that change meanwhile are noted, and copied again at the end.
    """

    def __init__(self, size: int, array: Array, fill: object) -> None:
        self._copy = np.empty(size, array.dtype)
        self._fill = fill
        self._at = 0
        self._changed: list[Array] = []

    def __len__(self) -> int:
        return len(self._copy)

    def note(self, places: Array) -> None:
        """Note which places have changed."""
        self._changed.append(places)

    def step(self, array: Array, most: int | None = None, convert: Convert | None = None) -> bool:
        """Copy some rows, the values of which `convert` may change; return True once all are copied."""
        at, end = self._at, min(self._at + (most or COPIED), len(self._copy))
        some = array[at:end]
        self._copy[at : at + len(some)] = some if convert is None else convert(some)
        # new memory is slow where it is written to for the first time
        self._copy[at + len(some) : end] = self._fill
        self._at = end
        return end == len(self._copy)

    def finish(self, array: Array, convert: Convert | None = None) -> Array:
        """Return the copy, complete."""
        self.step(array, len(self._copy), convert)
        for places in self._changed:
            self._copy[places] = array[places] if convert is None else convert(array[places])
        return self._copy


def lacks_room(size: int, array: Array) -> bool:
    """Return True if it is time to begin with a larger copy, so that it is there when it is needed."""
    return len(array) >= LARGE and size * 8 > len(array) * 7


def room(size: int, have: int) -> int:
    """Return how large a table becomes that lacks room: less than twice as large where that takes long.

    >>> room(5, 4), room(1, 1 << 20) == (1 << 20) + (1 << 18)
    (8, True)
    """
    return max(size, 2 * have if have < LARGE else have + have // 4)
