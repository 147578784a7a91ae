"""Values of the fields of events: Python values converted to what a field holds, and columns of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

import polars as pl

from flowdsl.arguments import is_integer, is_number
from flowdsl.errors import DataError
from flowdsl.events import JSON_COLUMNS, TEXT_COLUMNS, id_text, json_text, timestamp_us
from flowdsl.log.columns import TIME
from flowdsl.log.shape import kind_text
from flowdsl.text import short_repr
from flowdsl.values.python_values import is_missing


def _number(value: Any, name: str) -> int:
    if is_integer(value) and -(2**63) <= value < 2**63:
        return value
    raise DataError(f"{name} is {short_repr(value, 40)}, not an integer")


def is_nothing(value: object) -> bool:
    """Return True for null, empty text, and the missing values of pandas and NumPy.

    >>> is_nothing(float("nan")), is_nothing(0)
    (True, False)
    """
    return is_missing(value) or (isinstance(value, str) and not value)


def _stamps(values: list[Any]) -> pl.Series:
    there = [value for value in values if value is not None]
    if all(isinstance(value, dt.datetime) and value.tzinfo is not None for value in there):
        micros = [None if value is None else timestamp_us(value) for value in values]
        return pl.Series("timestamp", micros, dtype=pl.Int64).cast(TIME)
    if all(map(is_number, there)):
        return pl.Series("timestamp", values, dtype=pl.Int64 if all(map(is_integer, there)) else pl.Float64)
    return pl.Series("timestamp", [_time_text(value) for value in values], dtype=pl.String)


def _time_text(value: object) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, dt.date) else str(value)


CONVERT: Final[dict[str, Callable[[Any, str], Any]]] = {
    "seq_no": _number,
    "timestamp": lambda value, name: _number(value, name) if type(value) is int else value,
    "kind": lambda value, name: id_text(kind_text(value) if isinstance(value, bool) else value, name),
    **dict.fromkeys(TEXT_COLUMNS, id_text),
    **dict.fromkeys(
        JSON_COLUMNS, lambda value, name: value if isinstance(value, str) else json_text(value, name)
    ),
}


def column_of(name: str, values: list[Any]) -> pl.Series:
    """Return values as a column of the type that this field has."""
    if name == "timestamp":
        return _stamps(values)
    return pl.Series(name, values, dtype=pl.Int64 if name == "seq_no" else pl.String)
