"""Canonical JSON text of values, as Rust's serde_json prints it; a runtime without types compares these
texts.

Numbers have the shortest digits that read back the same; floats keep `.0`, and have an exponent, without plus
and padding, from 1e16 up and below 1e-5. Objects are compact with their keys sorted.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.masks import where_present

_QUOTED: Final = json.JSONEncoder(ensure_ascii=False).encode


def spell(column: Column) -> pl.Series:
    """Return each value as text: strings as they are, everything else as JSON, null where it is missing."""
    if column.all_(Tag.TEXT):
        return column.text_series()
    texts = column.to_json()
    strings = np.flatnonzero(column.is_(Tag.TEXT))
    if len(strings):
        texts = texts.scatter(strings, column.text_series()[strings])
    floats = np.flatnonzero(column.is_(Tag.FLOAT))
    if len(floats) and column.floats is not None:
        texts = texts.scatter(floats, [number_text(x) for x in column.floats[floats].tolist()])
        if column.wide is not None:
            wide = np.flatnonzero(where_present(column.wide) & column.is_(Tag.FLOAT))
            texts = texts.scatter(wide, column.wide[wide])
    nested = np.flatnonzero(column.is_(Tag.ARRAY, Tag.OBJECT))
    if len(nested):
        texts = texts.scatter(nested, [json_text(json.loads(t)) for t in texts[nested].to_list()])
    return texts


def value_text(value: Any) -> str:
    """Return one value as text, as `spelled` does.

    >>> [value_text(v) for v in ("a", 1, 1.0, 1e16, 0.00001, None, True, {"b": [1.5], "a": "x"})]
    ['a', '1', '1.0', '1e16', '0.00001', 'null', 'true', '{"a":"x","b":[1.5]}']
    """
    return value if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """Return a JSON value as compact JSON with sorted keys."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _QUOTED(value)
    if isinstance(value, int):
        # beyond 64 bits there are only floats
        return str(value) if -(2**63) <= value < 2**64 else number_text(float(value))
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_QUOTED(k)}:{json_text(v)}" for k, v in sorted(value.items())) + "}"
    return "[" + ",".join(map(json_text, value)) + "]"


def number_text(value: float) -> str:
    """Return a float as JSON text, or null where JSON cannot represent it.

    >>> [number_text(x) for x in (-0.0, 1e15, 1.5e16, 1e-5, 1.25e-7)]
    ['-0.0', '1000000000000000.0', '1.5e16', '0.00001', '1.25e-7']
    """
    if not math.isfinite(value):
        return "null"
    text = repr(value)
    if "e" not in text:
        return text
    mantissa, _, exponent = text.partition("e")
    if exponent == "-05":
        sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return f"{sign}0.0000{digits.replace('.', '')}"
    return f"{mantissa}e{int(exponent)}"
