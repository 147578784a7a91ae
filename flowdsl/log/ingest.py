"""Input of appends as checked frames: mappings, frames of any library, other logs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import polars as pl
import pyarrow as pa

from flowdsl.errors import DataError, warn_once
from flowdsl.events import EVENT_COLUMNS, EventRow, event_row, timestamp_us
from flowdsl.frames import FrameLike, rows_in
from flowdsl.log.columns import SCHEMA, SchemaCoercer, readable, row_in_python
from flowdsl.log.frames import frame_table
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.problems import RowProblems
from flowdsl.log.rows import ROW_SCHEMA
from flowdsl.log.source import EventSource, is_source
from flowdsl.log.sources import RawTable, StreamTable
from flowdsl.log.table import merge_small
from flowdsl.log.validation import FAR, drop_rows, excerpt, faults
from flowdsl.progress import Tick, count_items, noop

_BLOCK: Final = 131_072
_FEW: Final = 1_000


EventsLike: TypeAlias = "Mapping[str, Any] | Iterable[Mapping[str, Any]] | FrameLike | EventSource"
"""One event, several, a frame with the columns of an event table, or another log."""


def rows_of(events: Any, timestamp: datetime | str | None, tick: Tick = noop) -> list[EventRow] | None:
    """Return event mappings as rows with a time: `timestamp`, else the event's own, else now. None for frames
    and logs.

    This is the one place where flowdsl reads the machine's clock: an event that is appended live happens now.
    """
    if (
        _is_columnar(events)
        or isinstance(events, (str, bytes, os.PathLike))
        or not isinstance(events, Iterable)
    ):
        return None
    at = None if timestamp is None else timestamp_us(timestamp)
    if isinstance(events, Mapping):
        rows = [event_row(events)]
    else:
        with warn_once():
            rows = [event_row(event, place=f"event {i}") for i, event in enumerate(count_items(events, tick))]
    now = timestamp_us(datetime.now(UTC)) if at is None else at
    return [row if at is None and row.timestamp is not None else row._replace(timestamp=now) for row in rows]


def frames_of(events: Any, timestamp: object, problems: RowProblems) -> Iterator[pl.DataFrame]:
    """Yield the events of a frame or log as checked frames; rows that are not events go to `problems`.

    Each has the columns of an event table but `seq_no`, with `data` and `metadata` as JSON text.
    """
    if timestamp is not None:
        raise DataError(
            "timestamp= is for events, and a frame has a column of them", hint="set the column timestamp"
        )
    if is_source(events):
        for chunk in events.chunks(EVENT_COLUMNS, _BLOCK):
            good = readable(chunk)
            if good.height < chunk.height:
                for seq_no in chunk.filter(~chunk["seq_no"].is_in(good["seq_no"].to_list()))["seq_no"]:
                    problems.add("log", seq_no, "broken", FAR, f"event {seq_no}")
            yield as_json_text(good).select(list(ROW_SCHEMA))
        return
    table = StreamTable(events) if isinstance(events, pa.RecordBatchReader) else frame_table(events)
    if table is None:
        raise DataError(
            f"{type(events).__name__} cannot be appended",
            allowed="an event, a list of events, a frame, an Arrow stream, a log",
            hint="open_log(path) or read_events(path) reads files",
        )
    yield from merge_small(_check(table, problems), _BLOCK)


def are_few(events: Any) -> bool:
    """Return True if the append is certain to be quick."""
    return isinstance(events, Mapping) or (isinstance(events, (list, tuple)) and len(events) <= _FEW)


def count_of(events: Any) -> int | None:
    """Return the number of events to append, or None if unknown."""
    return events.count() if is_source(events) else rows_in(events)


def _is_columnar(events: Any) -> bool:
    arrow = ("__arrow_c_stream__", "__arrow_c_array__", "collect_schema")
    return is_source(events) or any(hasattr(events, name) for name in arrow)


def _check(table: RawTable, problems: RowProblems) -> Iterator[pl.DataFrame]:
    shaper = SchemaCoercer()
    for place, schema in table.schemas().items():
        shaper.admit(schema, place)
    for piece in table.pieces([name for name in EVENT_COLUMNS if name != "seq_no"], _BLOCK):
        shaped = as_json_text(shaper.shape(piece.frame, piece.place))
        reasons = faults(piece.frame, shaped)
        for row in sorted(reasons):
            text = excerpt(row_in_python(piece.frame, row))
            problems.add(piece.place, piece.row + row, "broken", reasons[row], text)
        yield drop_rows(shaped, reasons).select(
            name if name in shaped.columns else pl.lit(None, SCHEMA[name]).alias(name) for name in ROW_SCHEMA
        )
