"""Event sources from whatever users pass as a log."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import polars as pl

from flowdsl.errors import DataError, FlowError, without_warnings
from flowdsl.log.blocks import first_rows
from flowdsl.log.catalog import has_catalog
from flowdsl.log.columns import NotAnEventTableError
from flowdsl.log.formats import format_of, is_zip
from flowdsl.log.frames import frame_table
from flowdsl.log.guess import guess
from flowdsl.log.parquet import ParquetEventLog
from flowdsl.log.rows import rows_frame
from flowdsl.log.scan_cache import cache_of
from flowdsl.log.source import EventSource, LogLike, is_source
from flowdsl.log.sources import FrameTable, ParquetFiles, files_of
from flowdsl.log.table import EventTable
from flowdsl.paths import path_of
from flowdsl.values.python_values import is_whole_number

# columns named in a message
_NAMED: Final = 12


def open_log(log: LogLike) -> EventSource:
    """Open any log for the engine.

    Parquet files and frames are read in place; their invalid rows are skipped and listed in `problems`. A
    list is numbered by (timestamp, position).

    Parameters
    ----------
    log
        A log, a path, glob or folder of Parquet files, a frame of any library, or a list of events.

    Returns
    -------
    EventSource
        The events.

    Raises
    ------
    DataError
        If it is none of these, or an event of a list is invalid.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame(
    ...     {
    ...         "kind": ["entity.deleted"],
    ...         "timestamp": ["2024-01-01T00:00:00Z"],
    ...         "entity_type": ["user"],
    ...         "entity_id": ["ann"],
    ...     }
    ... )
    >>> [chunk["seq_no"].to_list() for chunk in open_log(frame).chunks([], 100)]
    [[1]]
    """
    if is_source(log):
        return log
    try:
        if isinstance(log, (str, os.PathLike)):
            return _open_path(path_of(log))
        table = frame_table(log)
        if table is not None:
            return EventTable(table, cache_of(log))
    except NotAnEventTableError as error:
        raise _with_proposal(error, log) from None
    if isinstance(log, Iterable) and not isinstance(log, (Mapping, bytes)):
        return _open_list(log)
    raise DataError(
        f"{type(log).__name__} is not an event log",
        allowed="a log, a path or glob of Parquet files, a frame, an Arrow stream, a list of events",
        hint="read_events(…) reads files of other shapes",
    )


def _names_left(stream: Any) -> list[str]:
    names = getattr(getattr(stream, "schema", None), "names", None)
    return names if isinstance(names, list) else []


def _with_proposal(error: NotAnEventTableError, source: Any) -> NotAnEventTableError:
    """Return the error with the columns that the source has, and a call that would read it, where one can be
    guessed.
    """
    named, hint = error.what, error.hint
    with without_warnings(), suppress(FlowError):
        with suppress(FlowError):
            hint = f"this may read it:\n{guess(source).code}"
        rows, _ = first_rows(source, 1)
        # a stream that was read has its schema left
        columns = list(rows[0]) if rows else _names_left(source)
        if columns and " among " in named:
            named = f"{named.partition(' among ')[0]} among {', '.join(map(repr, columns[:_NAMED]))}"
    return NotAnEventTableError(named, place=error.place, allowed=error.allowed, hint=hint)


def _open_path(path: Path) -> EventSource:
    if has_catalog(path):
        return ParquetEventLog(path)
    try:
        files = files_of(path)
    except DataError as error:
        # a folder without Parquet files may hold others
        raise NotAnEventTableError(
            error.what, place=error.place, allowed=error.allowed, hint=error.hint
        ) from None
    form = "zip" if is_zip(files[0]) else format_of(files[0]).name
    if form != "parquet":
        raise NotAnEventTableError(
            f"a file of {form} is not replayed in place",
            place=str(path),
            allowed="logs and files of Parquet",
            hint="read_events(path, …) reads it; guess(path) proposes a call",
        )
    return EventTable(ParquetFiles(files))


def _is_event(event: object) -> bool:
    """Return True for an event, and for what is not a row at all, which is reported elsewhere."""
    return not isinstance(event, Mapping) or "kind" in event or isinstance(event.get("event"), Mapping)


def _is_seq_no(value: object) -> bool:
    return is_whole_number(value) and 0 < int(value) < 1 << 63


def _open_list(events: Iterable[Any]) -> EventSource:
    events = list(events)
    if events and not any(map(_is_event, events)):
        names = dict.fromkeys(str(name) for event in events[:_NAMED] for name in event)
        missing = NotAnEventTableError(
            f"the rows are not events: no 'kind' among {', '.join(map(repr, list(names)[:_NAMED]))}",
            place="list",
            allowed="events as link_created(…) and the others make them, with a timestamp",
            hint="read_events(rows, columns={'kind': …, 'timestamp': …}) reads rows of other shapes",
        )
        raise _with_proposal(missing, events)
    frame = rows_frame(events)
    untimed = frame["timestamp"].is_null()
    if untimed.any():
        raise DataError(
            "an event without timestamp",
            place=f"event {untimed.arg_true()[0]}",
            hint='give {"timestamp": …, "event": …}, or append it to a MemoryEventLog with a timestamp',
        )
    numbers = [event.get("seq_no") for event in events]
    if any(number is not None for number in numbers):
        for place, number in enumerate(numbers):
            if not _is_seq_no(number):
                raise DataError(
                    f"seq_no is {number!r}",
                    place=f"event {place}",
                    allowed="whole numbers from 1 on, for all events or for none",
                )
        frame = frame.with_columns(pl.Series("seq_no", numbers, dtype=pl.Int64))
    return EventTable(FrameTable(frame, place="list"))
