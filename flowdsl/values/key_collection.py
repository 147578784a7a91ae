"""Incremental garbage collection of table keys that nothing refers to any more.

A round begins when the table has twice the keys that were left by the last one. What is referred to at that
moment is noted, array by array, and whatever the table is asked for from then on: since nothing else can come
to be referred to, the other keys are of no use. All of it is done in steps, each of so much work as there
were new keys, times a factor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.values.interner import HashTable
from flowdsl.values.json_types import Mask

Numbers = npt.NDArray[np.integer[Any]]
# fewer keys than this are not worth a round
LEAST = 1 << 14
# what is looked at for each new key, at the least in a step, and at the most: about 5 ms
_EACH: Final = 16
FEWEST = 1 << 11
MOST = 1 << 20


@dataclass(frozen=True)
class Inside:
    """Codes contained in other numbers, decoded some at a time."""

    numbers: Sequence[int] | Numbers
    read: Callable[[Any], Numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, some: slice) -> Inside:
        return Inside(self.numbers[some], self.read)

    def codes(self) -> Numbers:
        """Decode the codes."""
        numbers = self.numbers
        if isinstance(numbers, range):
            return self.read(np.arange(numbers.start, numbers.stop))
        return self.read(numbers if isinstance(numbers, np.ndarray) else np.array(numbers, np.int64))


class Forgetting:
    """Collection rounds over one table."""

    def __init__(
        self,
        table: HashTable,
        held: Callable[[], Iterable[Numbers | Inside]],
        forget: Callable[[Numbers], None],
        *,
        first: int = 0,
    ) -> None:
        """Take a table and `held`, which yields arrays of referenced codes that must not change; codes below
        `first` are ignored.

        `forget` is called with codes; `first` is the code of the first key of the table.
        """
        self._table = table
        self._held = held
        self._forget = forget
        self._first = first
        self._begin_at = LEAST
        self._asked: Mask | None = None
        self._left: deque[Numbers | Inside] = deque()
        # where the search for what was not asked for is
        self._at = 0
        self._before = len(table)
        self.rounds = 0

    def step(self, *, may_begin: bool = True) -> None:
        """Do a bounded amount of work. Nothing else may use the codes meanwhile; a round only starts if
        `may_begin`.
        """
        table = self._table
        new, self._before = abs(table.in_use - self._before), table.in_use
        work = min(max(_EACH * new, FEWEST), MOST)
        table.tidy(work)
        if self._asked is None:
            if not may_begin or table.in_use < self._begin_at:
                return
            self._asked, self._left, self._at = table.watch(), deque(self._held()), 0
        work = self._note(self._asked, work)
        if work > 0:
            self._search(self._asked, work)
        self._before = table.in_use

    def _note(self, asked: Mask, work: int) -> int:
        """Mark referenced codes; return the work that is left."""
        while self._left and work > 0:
            held = self._left.popleft()
            some, rest = held[:work], held[work:]
            codes = (some.codes() if isinstance(some, Inside) else some) - self._first
            asked[codes[(codes >= 0) & (codes < len(asked))]] = True
            work -= len(some) + 1
            if len(rest):
                self._left.appendleft(rest)
        return work

    def _search(self, asked: Mask, work: int) -> None:
        end = min(self._at + work, len(asked))
        useless = self._at + np.flatnonzero(~asked[self._at : end])
        if len(useless):
            self._forget(useless + self._first)
        self._at = end
        if end == len(asked):
            self._table.unwatch()
            self._asked = None
            self._begin_at = max(LEAST, 2 * self._table.in_use)
            self.rounds += 1
