"""Type tags of JSON values, and the `MISSING` sentinel."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.values.missing import MISSING as MISSING

Index = npt.NDArray[np.integer[Any]]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Tags = npt.NDArray[np.uint8]


class Tag(IntEnum):
    """Type of a JSON value. Integers beyond 64 bits are floats, as in production."""

    MISSING = 0
    NULL = 1
    BOOL = 2
    INT = 3
    FLOAT = 4
    TEXT = 5
    ARRAY = 6
    OBJECT = 7


def tag_of(value: Any) -> Tag:
    """Return the type of a Python value."""
    if value is MISSING:
        return Tag.MISSING
    if value is None:
        return Tag.NULL
    if isinstance(value, (bool, np.bool_)):
        return Tag.BOOL
    if isinstance(value, (int, np.integer)):
        return Tag.INT if -(2**63) <= value < 2**63 else Tag.FLOAT
    if isinstance(value, (float, np.floating)):
        return Tag.FLOAT
    if isinstance(value, str):
        return Tag.TEXT
    return Tag.OBJECT if hasattr(value, "keys") else Tag.ARRAY


def uniform(tags: Tags) -> Tag | Tags:
    """Collapse tags to a single tag if all are the same."""
    if len(tags) and (tags == tags[0]).all():
        return Tag(int(tags[0]))
    return tags
