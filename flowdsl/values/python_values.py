"""JSON of the values that Python programs hold: decimals, UUIDs, dates, enums, numbers of NumPy and pandas.

They become what a column of a frame with such values becomes, so that a mapping and a frame of the same
content are the same data.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
from collections.abc import Callable
from decimal import Decimal
from numbers import Integral
from typing import Any, Final, TypeGuard
from uuid import UUID

from flowdsl.text import type_text

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode_json(value: Any, name: str = "") -> str:
    """Return a Python value as compact JSON text; `name` begins the paths in errors.

    NaN and pandas' other missing values are null, as in frames.

    Raises
    ------
    ValueError
        if a value has no JSON form; it names the path to it

    Examples
    --------
    >>> encode_json({"price": Decimal("1.50"), "day": dt.date(2026, 1, 2), "size": float("nan")})
    '{"price":1.5,"day":"2026-01-02","size":null}'
    """
    try:
        return _encode(value)
    except (TypeError, ValueError):
        return _encode(_plain(value, name))


def is_missing(value: object) -> bool:
    """Return True for None, NaN, NaT and the missing value of pandas.

    >>> is_missing(float("nan")), is_missing(0)
    (True, False)
    """
    if type(value).__name__ in ("NoneType", "NAType", "NaTType"):
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float) and math.isnan(value)


def is_whole_number(value: object) -> TypeGuard[int | Decimal]:
    """Return True for whole numbers, and for decimals without fractions, as columns of those are whole, too.

    >>> is_whole_number(Decimal("12")), is_whole_number(Decimal("12.0"))
    (True, False)
    """
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return isinstance(exponent, int) and exponent >= 0
    return isinstance(value, Integral) and not isinstance(value, bool)


def from_numpy(value: Any) -> Any:
    """Return what a scalar or an array of NumPy is in Python, where it is anything; digits of times beyond
    microseconds are cut, which NumPy itself would count in nanoseconds.
    """
    kind = value.dtype.kind if hasattr(value, "tolist") else None
    if kind not in ("M", "m"):
        return value.tolist() if kind else value
    if value.ndim:
        return list(value)
    fine = value.dtype.str.endswith(("ns]", "ps]", "fs]", "as]"))
    found = value.astype(f"{kind}8[us]").tolist() if fine else value.tolist()
    return value if isinstance(found, int) else found


def _plain(value: Any, path: str) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, dict):
        return {_key(key, path): _plain(inner, _member(path, key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
    if isinstance(value, enum.Enum):
        return _plain(value.value, path)
    return _plain_scalar(value, path)


def _plain_scalar(value: Any, path: str) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal):
        return _number(value, path)
    if isinstance(value, (dt.date, dt.time, dt.timedelta)):
        return _time_text([value])
    if isinstance(value, UUID):
        return str(value)
    return _foreign(value, path)


def _time_text(value: Any) -> str | None:
    """Return the text of the only time in a list or an array."""
    # events can be made without loading Polars
    import polars as pl

    from flowdsl.values.json_conversion import as_text

    text: str | None = as_text(pl.Series(value))[0]
    return text


def _foreign(value: Any, path: str) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError(f"{_place(path)}holds bytes; decode them to text")
    if isinstance(value, (set, frozenset)):
        raise ValueError(f"{_place(path)}holds a set, which has no order; make it a list")
    plain = _from_library(value)
    if plain is not value:
        return _plain(plain, path)
    raise ValueError(f"{_place(path)}holds a value of type {type(value).__name__}, which has no JSON form")


def _from_library(value: Any) -> Any:
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        # Python has no nanoseconds, and columns keep them
        fine = str(getattr(value, "dtype", "")).endswith("[ns]") and not value.ndim
        return _time_text(value.reshape(1)) if fine else from_numpy(value)
    for method in ("tolist", "to_list") if library in ("pandas", "polars") else ():
        if hasattr(value, method):
            return getattr(value, method)()
    return value


def _number(value: Decimal, path: str) -> float | int:
    if not value.is_finite():
        raise ValueError(f"{_place(path)}holds {value}, which has no JSON form")
    number = float(value)
    if math.isinf(number):
        raise ValueError(f"{_place(path)}holds a number beyond any float")
    return int(value) if is_whole_number(value) else number


def _key(key: Any, path: str) -> Any:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, (UUID, dt.date)):
        return str(key)
    if key is None or isinstance(key, (str, int, float, bool)):
        return key
    raise ValueError(f"{_place(path)}has a key that is {type_text(key)}, not text")


def _member(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _place(path: str) -> str:
    return f"{path} " if path else ""


def with_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with what is in its dicts and lists, however deep, changed.

    >>> with_leaves({"a": [1, {"b": 2}]}, lambda number: -number)
    {'a': [-1, {'b': -2}]}
    """
    if isinstance(value, dict):
        return {name: with_leaves(inner, change) for name, inner in value.items()}
    return [with_leaves(inner, change) for inner in value] if isinstance(value, list) else change(value)
