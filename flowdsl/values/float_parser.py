"""Floats as production parses them from JSON: fast, but for long numbers not always the nearest float.

Its reader takes the digits as one whole number of 64 bits, leaves out those for which there is no room, and
multiplies or divides by a power of ten: right for up to 15 digits and small exponents, else sometimes off in
the last place.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag

_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
# in JSON text: a number with more digits than are always right, or with an exponent
_LONG: Final = r"[0-9][0-9.]{15}|[0-9][eE]"
_MOST: Final = 2**64 - 1
_POWERS: Final = tuple(float(f"1e{exponent}") for exponent in range(309))


def read_float(text: str) -> float:
    """Return the float that production parses from the text of a number.

    >>> read_float("0.45566510149066475"), read_float("0.1"), read_float("1e22")
    (0.4556651014906647, 0.1, 1e+22)
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        return float(text)
    sign, whole, fraction, exponent = found.groups()
    power, digits = int(exponent or 0), 0
    for place, digit in enumerate(whole):
        if digits * 10 + int(digit) > _MOST:
            # digits before the point count, be they what they may
            power += len(whole) - place
            fraction = ""
            break
        digits = digits * 10 + int(digit)
    for digit in fraction or "":
        if digits * 10 + int(digit) > _MOST:
            break
        digits, power = digits * 10 + int(digit), power - 1
    value = _scale(float(digits), power)
    return -value if sign else value


def _scale(value: float, power: int) -> float:
    while power < -308 and value:
        value, power = value / 1e308, power + 308
    if power < 0:
        return value / _POWERS[-power] if value else value
    return value * _POWERS[power] if power <= 308 else math.inf if value else value


def as_read(column: Column) -> Column:
    """Return the column as production sees it after a round trip through JSON."""
    floats, nested = column.floats, column.nested
    if floats is not None:
        floats = _floats_as_read(floats, column.is_(Tag.FLOAT))
    if nested is not None:
        nested = _nested_as_read(nested)
    if floats is column.floats and nested is column.nested:
        return column
    return column.having(floats=floats, nested=nested)


def _floats_as_read(floats: Any, there: Any) -> Any:
    # up to 15 digits that are exact when scaled: those are read right, and are most of all
    scaled = floats * 1e6
    short = (np.abs(floats) < 1e9) & (np.rint(scaled) / 1e6 == floats)
    rows = np.flatnonzero(there & ~short & np.isfinite(floats))
    if not len(rows):
        return floats
    distinct, places = np.unique(floats[rows], return_inverse=True)
    read = np.array([read_float(repr(value)) for value in distinct.tolist()])
    changed = floats.copy()
    changed[rows] = np.where(np.isfinite(read), read, distinct)[places]
    # unique takes -0 and 0 for one
    return np.copysign(changed, floats)


def _nested_as_read(nested: pl.Series) -> pl.Series:
    rows = nested.str.contains(_LONG).fill_null(value=False).arg_true()
    if not len(rows):
        return nested
    texts = [
        json.dumps(json.loads(text, parse_float=read_float), ensure_ascii=False, separators=(",", ":"))
        for text in nested[rows].to_list()
    ]
    return nested.scatter(rows, texts)
