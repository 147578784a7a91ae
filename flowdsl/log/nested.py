"""Nested `data` and `metadata` (structs, lists, maps) as JSON text."""

from __future__ import annotations

import polars as pl

from flowdsl.events import JSON_COLUMNS


def as_json_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with its `data` and `metadata` as JSON text where they are nested.

    DuckDB writes it: Polars has no JSON for maps at the top, nor for bytes, and it stops on them.

    >>> as_json_text(pl.DataFrame({"data": [{"a": 1}, None]}))["data"].to_list()
    ['{"a":1}', None]
    """
    nested = [name for name in JSON_COLUMNS if name in frame.columns and frame.schema[name].is_nested()]
    if not nested:
        return frame
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    connection.register("nested", frame.select(nested).to_arrow())
    columns = ", ".join(f"CAST(to_json({name}) AS VARCHAR) AS {name}" for name in nested)
    text = pl.DataFrame(connection.sql(f"SELECT {columns} FROM nested").to_arrow_table())
    return frame.with_columns(text.get_columns())
