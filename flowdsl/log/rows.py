"""Event mappings as frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from flowdsl.errors import warn_once
from flowdsl.events import EventRow, event_row
from flowdsl.log.columns import SCHEMA, TIME

ROW_SCHEMA: dict[str, Any] = {name: SCHEMA[name] for name in EventRow._fields}


def rows_frame(events: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return events as a frame in their order, without `seq_no`; raise `DataError` with its place for the
    first invalid one.

    >>> row = {"kind": "entity", "action": "deleted", "entity_type": "user", "entity_id": 7}
    >>> rows_frame([row])["entity_id"][0]
    '7'
    """
    with warn_once():
        return frame_of([event_row(event, place=f"event {i}") for i, event in enumerate(events)])


def frame_of(rows: Sequence[EventRow], first: int | None = None) -> pl.DataFrame:
    """Return rows as a frame with the types of an event table, without `seq_no` or numbered from `first`."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(ROW_SCHEMA)
    series = []
    if first is not None:
        series.append(pl.int_range(first, first + len(rows), dtype=pl.Int64, eager=True).alias("seq_no"))
    for (name, dtype), values in zip(ROW_SCHEMA.items(), columns, strict=True):
        if name == "timestamp":
            series.append(pl.Series(name, values, dtype=pl.Int64).cast(TIME))
        else:
            series.append(pl.Series(name, values, dtype=dtype))
    return pl.DataFrame(series)


def event_rows(frame: pl.DataFrame) -> Iterable[tuple[int, EventRow]]:
    """Return (`seq_no`, row) of each event of a frame with all columns of an event table."""
    from flowdsl.log.nested_columns import as_json_text

    plain = as_json_text(frame).with_columns(
        pl.col("timestamp").to_physical(), pl.col("kind").cast(pl.String)
    )
    for seq_no, *fields in plain.select("seq_no", *EventRow._fields).iter_rows():
        yield seq_no, EventRow(*fields)
