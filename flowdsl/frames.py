"""Any frame as a Polars frame: pandas, pyarrow, DuckDB relations, and whatever speaks the Arrow stream protocol."""

from __future__ import annotations

import sys
from typing import Any

import polars as pl

from flowdsl.errors import DataError


def is_frame(value: object) -> bool:
    """Whether `to_polars` takes it."""
    return (
        isinstance(value, (pl.DataFrame, pl.LazyFrame))
        or hasattr(value, "__arrow_c_stream__")
        or _is_pandas(value)
    )


def to_polars(value: Any, what: str) -> pl.DataFrame:
    """The same rows as a Polars frame, without a copy where the columns are Arrow's; `what` names it in errors."""
    try:
        if isinstance(value, pl.DataFrame):
            return value
        if isinstance(value, pl.LazyFrame):
            collected: pl.DataFrame = value.collect()
            return collected
        if _is_pandas(value):
            converted: pl.DataFrame = pl.from_pandas(value)
            return converted
        if hasattr(value, "__arrow_c_stream__"):
            return pl.DataFrame(value)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{what} cannot be read as columns: {_first_line(error)}", hint="give each column one type"
        ) from error
    raise DataError(
        f"{what} is a {type(value).__name__}, which is no frame",
        allowed="pandas, polars or pyarrow tables, DuckDB relations, anything with the Arrow stream protocol",
    )


def _is_pandas(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
