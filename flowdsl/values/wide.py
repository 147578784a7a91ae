"""Integers from 2^63 to 2^64 - 1: computed with as floats; their digits are kept as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from flowdsl.values.json_types import Tag, Tags


def wide_digits(values: Sequence[Any], tags: Tags) -> pl.Series | None:
    """Return the digits of integers that need all 64 bits."""
    floats = np.flatnonzero(tags == Tag.FLOAT).tolist()
    found = {
        row: str(values[row])
        for row in floats
        if isinstance(values[row], (int, np.integer)) and 2**63 <= values[row] < 2**64
    }
    return pl.Series([found.get(row) for row in range(len(values))], dtype=pl.String) if found else None


def widened(floats: list[Any], wide: pl.Series) -> list[Any]:
    """Return the numbers with those that need all 64 bits as integers."""
    return [
        number if digits is None else int(digits)
        for number, digits in zip(floats, wide.to_list(), strict=True)
    ]
