"""Frames of any library as tables of events, read repeatedly or once as a stream."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa

from flowdsl.arguments import is_integer
from flowdsl.events import JSON_COLUMNS, json_text
from flowdsl.frames import is_dataset, is_frame, to_polars
from flowdsl.log.columns import SCHEMA
from flowdsl.log.sources import DatasetTable, FrameTable, LazyTable, RawTable

# A frame of failed events (`result.errors`) has these in addition to the columns of an event table.
_OF_ERRORS = {"seq_no", "flow", "step", "operator", "error"}


def frame_table(source: Any) -> RawTable | None:
    """Return a frame of any library as a table, or None if `source` is not a frame.

    Only columns of an event table are taken.
    """
    if isinstance(source, pl.LazyFrame):
        return LazyTable(source)
    if is_dataset(source) and hasattr(source, "get_fragments"):
        return DatasetTable(source)
    frame = polars_frame(source)
    if frame is None:
        return None
    if set(frame.columns) >= _OF_ERRORS:
        # an event that failed in several flows occurs several times
        frame = frame.unique("seq_no", keep="first", maintain_order=True)
    return FrameTable(frame)


def polars_frame(
    source: Any, wanted: Callable[[str], bool] | None = None, json_names: Collection[str] = JSON_COLUMNS
) -> pl.DataFrame | None:
    """Return a frame in memory as a Polars frame, without a copy where possible; None if it is not a frame.

    Only the columns that are `wanted` are looked at, by default those of an event table; `json_names` hold
    JSON.
    """
    if not is_frame(source):
        return None

    def named(name: str) -> bool:
        return name in SCHEMA or name in _OF_ERRORS

    return to_polars(
        source, "frame", wanted or named, lambda name, column: _of_one_type(name, column, json_names)
    )


def _of_one_type(name: str, column: Any, json_names: Collection[str]) -> Any:
    """Convert Python objects of a pandas column to text, for columns that hold JSON or text."""
    if name in json_names:
        # a struct would give every object the fields of all the others
        texts = [value if isinstance(value, str) else json_text(value, name, "frame") for value in column]
        return pa.array(texts, pa.large_string())
    types = set(map(type, column))
    if any(issubclass(one, (enum.Enum, UUID)) for one in types):
        column = column.map(_plain)
        types = set(map(type, column))
    # numbers among texts are ids in these columns, and values in others
    return column.map(_plain_id) if name in SCHEMA and {int, str} <= types else column


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    return str(value) if isinstance(value, UUID) else value


def _plain_id(value: Any) -> Any:
    return str(value) if is_integer(value) else value
