"""Number of versions of the log that are current, counted a slice of ids at a time so that no chunk waits."""

from __future__ import annotations

import numpy as np

from flowdsl.graph.entities import Numbers
from flowdsl.graph.versions import VersionStore

# ids that are looked through at a time
SCANNED = 1 << 18


class LiveCount:
    """Number of ids with a version of the log, counted some at a time."""

    def __init__(self) -> None:
        self._at = self._sum = self._begun = self._before = 0
        self._last: tuple[int, int] | None = None

    def at_most(self, current: Numbers, versions: VersionStore) -> int | None:
        """Count the next `SCANNED` ids, and return an upper bound: the count of the last complete pass and
        all versions added since; None before the first pass is complete.
        """
        size = versions.size
        if self._at == 0:
            self._begun = size
        some = current[self._at : self._at + max(SCANNED, 4 * (size - self._before))]
        self._sum += int(np.count_nonzero(some >= versions.base))
        self._at, self._before = self._at + len(some), size
        if self._at >= len(current):
            self._last, self._at, self._sum = (self._sum, self._begun), 0, 0
        return None if self._last is None else self._last[0] + size - self._last[1]
