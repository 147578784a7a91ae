"""Concatenated ranges of integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return `counts[i]` consecutive integers from each `starts[i]`, concatenated.

    >>> ranges(np.array([3, 10, 7]), np.array([2, 0, 3])).tolist()
    [3, 4, 7, 8, 9]
    """
    before = np.cumsum(counts) - counts
    numbers: npt.NDArray[np.int64] = np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
    return numbers
