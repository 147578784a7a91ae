"""Ranges of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.values.json_types import Ints


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Return `counts[i]` consecutive integers from each `starts[i]`, concatenated.

    >>> ranges(np.array([3, 10, 7]), np.array([2, 0, 3])).tolist()
    [3, 4, 7, 8, 9]
    """
    ends = np.cumsum(counts)
    numbers: Ints = np.repeat(starts - (ends - counts), counts)
    numbers += np.arange(len(numbers))
    return numbers


def is_everything(index: npt.NDArray[np.integer[Any]], size: int) -> bool:
    """Return True if an index takes each of `size` rows in order.

    >>> is_everything(np.array([0, 1, 2]), 3), is_everything(np.array([0, 2, 1]), 3)
    (True, False)
    """
    if len(index) != size:
        return False
    return not size or bool(index[0] == 0 and index[-1] == size - 1 and (np.diff(index) == 1).all())
