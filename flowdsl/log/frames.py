"""Frames of any library as a table in memory: pandas, Polars, Arrow, DuckDB relations, Arrow streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from flowdsl.errors import DataError
from flowdsl.events import JSON_COLUMNS, TEXT_COLUMNS, json_text
from flowdsl.log.border import reading
from flowdsl.log.columns import SCHEMA
from flowdsl.log.raw import FrameTable, LazyTable, RawTable

if TYPE_CHECKING:
    import pandas as pd

# A frame of failed events (`result.errors`) has these beside the columns of an event table.
_OF_ERRORS = {"seq_no", "flow", "step", "operator", "error"}


def frame_table(source: Any, *, all_columns: bool = False) -> RawTable | None:
    """A frame of whatever library as a table, or None where `source` is no frame.

    Only columns of an event table are taken, unless `all_columns` asks for the others too.
    """
    if isinstance(source, pl.LazyFrame):
        with reading("frame", "collect() the lazy frame to see what is wrong with it"):
            return LazyTable(source, dict(source.collect_schema()))
    frame = polars_frame(source, all_columns)
    if frame is None:
        return None
    if set(frame.columns) >= _OF_ERRORS:
        # an event that failed in several flows stands there several times
        frame = frame.unique("seq_no", keep="first", maintain_order=True)
    return FrameTable(frame)


def polars_frame(source: Any, all_columns: bool = False) -> pl.DataFrame | None:
    """A frame held in memory as a Polars frame, without a copy where the library allows that; None for no frame."""

    def wanted(name: Any) -> bool:
        return all_columns or name in SCHEMA or name in _OF_ERRORS

    with reading("frame", "give the column one type"):
        if isinstance(source, pl.DataFrame):
            return source
        if _is_pandas(source):
            return _from_pandas(source, wanted)
        if hasattr(source, "to_arrow_table") and hasattr(source, "columns"):
            return _from_relation(source, wanted)
        if isinstance(source, pa.Table):
            names = [name for name in source.column_names if wanted(name)]
            return pl.DataFrame(source.select(names))
        if hasattr(source, "__arrow_c_stream__"):
            return polars_frame(pa.RecordBatchReader.from_stream(source).read_all(), all_columns)
        if isinstance(source, pa.RecordBatch):
            return polars_frame(pa.Table.from_batches([source]), all_columns)
    return None


def _is_pandas(source: Any) -> bool:
    return (
        type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "iloc") and source.ndim == 2
    )


def _from_pandas(source: pd.DataFrame, wanted: Callable[[Any], bool]) -> pl.DataFrame:
    columns: dict[str, Any] = {}
    for name in source.columns:
        if not wanted(name):
            continue
        column = source[name]
        if column.ndim != 1:
            raise DataError(
                f"column {name!r} stands more than once", place="frame", hint="rename one of them"
            )
        columns[str(name)] = _arrow_column(name, column)
    frame = pl.DataFrame(pa.table(columns))
    return frame if columns else pl.DataFrame({}, height=len(source))


def _arrow_column(name: Any, column: Any) -> Any:
    if column.dtype == object and name in JSON_COLUMNS:
        # a struct would give every object the fields of all the others
        values = [v if v is None or isinstance(v, str) else _json_cell(v, name) for v in column]
        return pa.array(values, pa.large_string())
    if column.dtype == object and name in TEXT_COLUMNS:
        column = column.map(lambda v: str(v) if isinstance(v, int) and not isinstance(v, bool) else v)
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"column {name!r} holds values of several types: {str(error).splitlines()[0][:160]}",
            place="frame",
            hint="make the column text, or give it one type",
        ) from error


def _json_cell(value: Any, name: str) -> str | None:
    return None if isinstance(value, float) and value != value else json_text(value, name, "frame")


def _from_relation(source: Any, wanted: Callable[[Any], bool]) -> pl.DataFrame:
    names = [name for name in source.columns if wanted(name)]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    return pl.DataFrame(source.project(", ".join(quoted or ["1"])).to_arrow_table())
