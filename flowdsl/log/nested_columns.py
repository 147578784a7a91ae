"""Conversion of nested `data` and `metadata` (structs, lists, maps) to JSON text."""

from __future__ import annotations

import polars as pl

from flowdsl.events import JSON_COLUMNS
from flowdsl.values.json_conversion import nested_json


def as_json_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with nested `data` and `metadata` as JSON text.

    >>> as_json_text(pl.DataFrame({"data": [{"a": 1}, None]}))["data"].to_list()
    ['{"a":1}', None]
    """
    nested = [name for name in JSON_COLUMNS if name in frame.columns and frame.schema[name].is_nested()]
    return frame.with_columns(nested_json(frame[name]).alias(name) for name in nested)
