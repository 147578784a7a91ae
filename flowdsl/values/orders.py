"""Orders of integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stable_order(keys: Ints) -> Ints:
    """Return the order that sorts keys and keeps equal ones as they were: one sort of (key, position) in
    an integer.

    >>> stable_order(np.array([7, 3, 7, 3])).tolist()
    [1, 3, 0, 2]
    """
    if not len(keys):
        return np.zeros(0, np.int64)
    bits = int(len(keys) - 1).bit_length()
    low = int(keys.min())
    if (int(keys.max()) - low).bit_length() + bits >= 63:
        return np.argsort(keys, kind="stable")
    packed = (keys - low) << bits | np.arange(len(keys))
    packed.sort()
    return packed & ((1 << bits) - 1)
