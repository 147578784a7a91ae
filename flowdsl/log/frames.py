"""Frames of any library as tables of events, read repeatedly or once as a stream."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa

from flowdsl.events import JSON_COLUMNS, TEXT_COLUMNS, json_text
from flowdsl.frames import is_dataset, is_frame, to_polars
from flowdsl.log.columns import SCHEMA
from flowdsl.log.errors import reading
from flowdsl.log.sources import DatasetTable, FrameTable, LazyTable, RawTable

# A frame of failed events (`result.errors`) has these beside the columns of an event table.
_OF_ERRORS = {"seq_no", "flow", "step", "operator", "error"}


def frame_table(source: Any) -> RawTable | None:
    """Return a frame of any library as a table, or None if `source` is not a frame.

    Only columns of an event table are taken.
    """
    if isinstance(source, pl.LazyFrame):
        with reading("frame", "collect() the lazy frame to see what is wrong with it"):
            return LazyTable(source, dict(source.collect_schema()))
    if is_dataset(source) and hasattr(source, "get_fragments"):
        return DatasetTable(source)
    frame = polars_frame(source)
    if frame is None:
        return None
    if set(frame.columns) >= _OF_ERRORS:
        # an event that failed in several flows stands there several times
        frame = frame.unique("seq_no", keep="first", maintain_order=True)
    return FrameTable(frame)


def polars_frame(source: Any, all_columns: bool = False) -> pl.DataFrame | None:
    """Return a frame in memory as a Polars frame, without a copy where possible; None if it is not a
    frame.
    """
    if not is_frame(source):
        return None

    def wanted(name: str) -> bool:
        return all_columns or name in SCHEMA or name in _OF_ERRORS

    return to_polars(source, "frame", wanted, _of_one_type)


def _of_one_type(name: str, column: Any) -> Any:
    """Convert Python objects of a pandas column to text, for columns that hold JSON or text."""
    if name in JSON_COLUMNS:
        # a struct would give every object the fields of all the others
        texts = [
            value if value is None or isinstance(value, str) else _json_cell(value, name) for value in column
        ]
        return pa.array(texts, pa.large_string())
    if name in TEXT_COLUMNS:
        return column.map(
            lambda value: (
                str(value) if isinstance(value, (int, UUID)) and not isinstance(value, bool) else value
            )
        )
    return column


def _json_cell(value: Any, name: str) -> str | None:
    # NaN and NaT are no values, and alone in not being equal to themselves
    if isinstance(value, float | dt.datetime) and value != value:
        return None
    return json_text(value, name, "frame")
